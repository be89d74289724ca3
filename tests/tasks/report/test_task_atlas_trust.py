"""What is trusted is the same in a run's tables and all over its page."""

import shutil

import pandas as pd
import pytest
from atlas_files import RECIPE, read
from reader import Reader

from rosetta.mining.trust.tests import TESTS
from rosetta.view.trust.page import render_trust
from storage.artifacts import catalogue, tables
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.write import write_atlas
from tasks.report.trust_page import trust_story
from tasks.trust.summary import survivors


def test_a_neuron_is_trusted_or_not_and_a_concept_counts_its_neurons(made):
    """By hand out of the table of matches; the same in the tables of neurons and concepts and all over the page."""
    root, _, folder, run = made
    trust, rosetta, clusters = (
        tables.read(root, f"tables/{name}.parquet") for name in ("trust", "rosetta", "clusters")
    )
    trusted_pairs = {
        (row.unit_a, row.model_b, row.unit_b) for row in trust[trust["model_a"] == "g"].itertuples() if row.trusted
    }
    trusted: dict[int, set[int]] = {}
    for neuron, rows in rosetta.groupby("rosetta"):
        matches = rows[rows["model"] != "g"]
        whole = all((row.anchor_unit, row.model, row.unit) in trusted_pairs for row in matches.itertuples())
        assert rows["trusted"].tolist() == [whole] * len(rows)
        trusted.setdefault(int(rows["cluster"].iloc[0]), set()).update([neuron] * whole)
    counts = [len(trusted[concept]) for concept in range(run["concepts"])]
    assert clusters["trusted_neurons"].tolist() == counts
    assert "trusted" not in clusters
    concepts = read(folder, "concepts")
    assert concepts["trusted"] == counts
    assert (run["trusted"], run["trusted_concepts"]) == (sum(counts), sum(count > 0 for count in counts))
    for concept in range(run["concepts"]):
        value = read(folder, f"concept/{concept}")
        assert {neuron["rosetta"] for neuron in value["neurons"] if neuron["trusted"]} == trusted[concept]
        settings, own = RECIPE.trust, rosetta[(rosetta["cluster"] == concept) & (rosetta["model"] == "g")]
        assert concepts["chance"][concept] == sum(own["q_value"] <= settings.q)
        assert concepts["replicates"][concept] == sum(own["replicates"])
        assert concepts["lift"][concept] == sum(own["lift"] > 0)
        assert concepts["partial"][concept] == sum(own["pearson_partial"] > settings.partial)
        for neuron in value["neurons"]:
            values = own.loc[own["rosetta"] == neuron["rosetta"]].iloc[0]
            fails = {
                "chance": values["q_value"] > settings.q,
                "halves": not values["replicates"],
                "control": values["lift"] <= 0,
                "pixels": values["pearson_partial"] <= settings.partial,
            }
            assert [word for word, _ in neuron["failures"]] == [word for word, failed in fails.items() if failed]
    assert 0 < run["trusted"] < run["rosetta"]


def test_tables_of_older_versions_make_the_same_page(made, tmp_path):
    """There the rows of a neuron said `trusted` of their own match, and a concept had what its weakest neuron had."""
    root, _, folder, _ = made
    old, here = Root(str(tmp_path / "old")), tmp_path / "report"
    shutil.copytree(root.local, old.local)
    rosetta, clusters = (tables.read(root, f"tables/{name}.parquet") for name in ("rosetta", "clusters"))
    older = rosetta.assign(trusted=rosetta["trusted"] ^ (rosetta["model"] != "g"))
    tables.write(old, catalogue.ROSETTA.path(), older, fingerprint("old"))
    weakest = clusters.drop(columns="trusted_neurons").assign(trusted=False)
    weakest.to_parquet(old.local / catalogue.CLUSTERS.path())
    write_atlas(AtlasRun.of(old, RECIPE), "a digest", Root(str(here)))
    for path in sorted({*folder.rglob("*.js")} - {*(folder / "data" / "table").iterdir()}):
        assert (here / path.relative_to(folder)).read_bytes() == path.read_bytes()


MEASURED = {"held_out": "pearson_held_out", "low": "pearson_low", "high": "pearson_high", "excess": "excess",
            "robust": "pearson_robust", "within": "pearson_within", "one_to_one": "assigned"}  # fmt: skip
"""What the page says of a match beside its correlation, and the column."""


def test_what_was_measured_of_a_match_stands_beside_it(made):
    root, _, folder, run = made
    trust = tables.read(root, catalogue.TRUST.path())
    matches = trust[trust["model_a"] == "g"].set_index(["unit_a", "model_b", "unit_b"])
    models = [model["name"] for model in run["models"]]
    best: dict[str, list[float | None]] = {"pearson_held_out": [], "excess": []}
    for concept in range(run["concepts"]):
        weakest: dict[str, list[float]] = {column: [] for column in best}
        for neuron in read(folder, f"concept/{concept}")["neurons"]:
            anchor, *members = neuron["members"]
            assert {anchor[name] for name in MEASURED} == {None}, "it is about matches"
            rows = [matches.loc[(anchor["unit"], models[one["model"]], one["unit"])] for one in members]
            for member, row in zip(members, rows, strict=True):
                for name, column in MEASURED.items():
                    assert member[name] == (None if pd.isna(row[column]) else pytest.approx(row[column], rel=1e-3))
            for column, values in weakest.items():
                values.append(min(row[column] for row in rows) if all(pd.notna(row[column]) for row in rows) else -9.0)
        for column, values in weakest.items():
            best[column].append(max(values) if max(values) > -9.0 else None)
    concepts = read(folder, "concepts")
    for name, column in (("best_held_out", "pearson_held_out"), ("best_excess", "excess")):
        for told, expected in zip(concepts[name], best[column], strict=True):
            assert told == (None if expected is None else pytest.approx(expected, rel=1e-3))
    assert [test["name"] for test in run["tests"] if test["asked"]] == list(RECIPE.trust.tests)
    assert run["null"].startswith("40 neurons, 8 with images exchanged: false discovery rate 20 % (")


def test_a_run_of_an_older_version_opens_without_what_is_measured_now(made, tmp_path):
    root, _, _, run = made
    old = Root(str(tmp_path / "old"))
    shutil.copytree(root.local, old.local)
    known = {"q_value", "replicates", "lift", "pearson_partial"}
    new = {*MEASURED.values(), "pearson_rotated", "influence", "few_positions", "control_spread"} - known
    for table in (catalogue.TRUST, catalogue.ROSETTA):
        frame = pd.read_parquet(root.local / table.path())
        frame.drop(columns=new & set(frame)).to_parquet(old.local / table.path())
    of_then = (catalogue.BUDDIES, catalogue.TRUST, catalogue.UNITS, catalogue.ROSETTA, catalogue.CLUSTERS)
    for table in set(catalogue.tables_of_run()) - set(of_then):
        old.remove(table.path())
    opened = AtlasRun.of(old, RECIPE)
    assert opened.trust[sorted(new)].isna().all(axis=None)
    shown = write_atlas(opened, "a digest")
    assert shown["tables"] == ["buddies", "trust", "units", "rosetta", "clusters"]
    assert shown["null"] == ""
    assert (shown["trusted"], shown["strongest"]["id"]) == (run["trusted"], run["strongest"]["id"])
    assert set(shown["strongest"]["best_held_out"]) == {None}
    survives = shown["models"][1]["survives"]
    made_then = {test.name for test in TESTS if test.column in known}
    assert {test for test, count in survives.items() if count is not None} == made_then | {"trusted"}
    found = survivors(opened)
    assert all(row.null is None for row in found.rows)
    assert found.rows[-2].passing["trusted"] == run["trusted"]
    # What it was judged by then is trusted, whatever the recipe asks for now.
    now = RECIPE.model_copy(update={"trust": RECIPE.trust.model_copy(update={"tests": ("chance", "excess")})})
    assert survivors(AtlasRun.of(old, now)).rows[-2].passing["trusted"] == run["trusted"]
    words = Reader(render_trust(trust_story(opened, "", "a digest"))).words
    assert words.count("This run has no such numbers.") == 13
