"""A test of trust is declared once: one more entry shows wherever the others do."""

import pytest
from atlas_files import RECIPE, finished_run, read
from reader import Reader

from rosetta.mining.trust.tests import TESTS, TrustTest
from rosetta.view.trust.page import render_trust
from storage.artifacts import tables
from storage.artifacts.provenance import write_recipe
from storage.filesystem.root import Root
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.write import write_atlas
from tasks.report.trust_page import trust_story
from tasks.trust.summary import survivors

LEAST = 0.9
"""Between what is left of the run's matches."""


@pytest.fixture
def added():
    """A test that reads a column which no other reads."""
    test = TrustTest(
        name="centred",
        word="place",
        question="Is anything left without each unit's mean map?",
        column="pearson_centred",
        limit=LEAST,
        condition="centred r > {limit}",
        heading="beyond place",
        passed="not explained by place",
        failed="place explains it ({value:.2f})",
    )
    TESTS.append(test)
    yield test
    TESTS.remove(test)


def test_one_more_test_is_one_entry(tmp_path, added, capsys):
    root, knobs = Root(str(tmp_path)), RECIPE.trust
    recipe = RECIPE.model_copy(update={"trust": knobs.model_copy(update={"tests": (*knobs.tests, "centred")})})
    finished_run(root, recipe=recipe)
    write_recipe(root, recipe)
    trust, rosetta, clusters = (
        tables.read(root, f"tables/{name}.parquet") for name in ("trust", "rosetta", "clusters")
    )

    # The tables: what is trusted, and the weakest value of a neuron's matches.
    passes = trust["pearson_centred"] > LEAST
    assert not trust.loc[~passes, "trusted"].any()
    assert rosetta.columns[-1] == "pearson_centred"
    neurons, matches = rosetta[rosetta["model"] == "g"], rosetta[rosetta["model"] != "g"]
    weakest = matches.groupby("rosetta")["pearson_centred"].min()
    assert neurons["pearson_centred"].tolist() == weakest[neurons["rosetta"]].tolist()
    beyond = neurons["pearson_centred"] > LEAST
    assert 0 < beyond.sum() < len(neurons)
    assert clusters["trusted_neurons"].sum() == neurons["trusted"].sum() < len(neurons)

    # The counts of what survives, as JSON and as they are printed.
    run = AtlasRun.of(root, recipe)
    found = survivors(run)
    rows = {row["of"]: row for row in found.as_dict()["rows"]}
    mine = trust[(trust["model_a"] == "g") & (trust["model_b"] == "d")]
    assert rows["d"]["centred"] == (mine["pearson_centred"] > LEAST).sum()
    assert rows["Rosetta neurons"]["centred"] == beyond.sum()
    found.print()
    assert "beyond place" in capsys.readouterr().out

    # The dictionary's page.
    shell = write_atlas(run, "a digest")
    assert shell["tests"][-1] == {
        "name": "centred", "word": "place", "passed": "not explained by place", "asked": True,
    }  # fmt: skip
    survives = next(model["survives"] for model in shell["models"] if model["name"] == "d")
    assert survives == {test: rows["d"][test] for test in survives}
    folder = root.local / "report"
    assert sum(read(folder, "concepts")["centred"]) == beyond.sum()
    concepts = [read(folder, f"concept/{concept}") for concept in range(shell["concepts"])]
    failed = [neuron["failures"] for concept in concepts for neuron in concept["neurons"]]
    assert sum("place" in dict(one) for one in failed) == (~beyond).sum()
    assert any(sentence.startswith("place explains it (0.") for one in failed for word, sentence in one)

    # The page about trust.
    words = Reader(render_trust(trust_story(run, "", "a digest"))).words
    for part in (added.question, "centred r > 0.9", "Place", ", place "):
        assert part in words
