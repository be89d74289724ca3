"""Trust in a real run: the tables, the command, the page."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from command import refused
from reader import Reader

from storage import open_run
from storage.run.data import RunData
from tasks.trust.summary import survivors

pytestmark = pytest.mark.slow

KEY = ["model_a", "unit_a", "layer_a", "channel_a", "model_b", "unit_b", "layer_b", "channel_b", "pearson"]


@pytest.fixture(scope="module")
def place(run, tmp_path_factory):
    """A copy of the small run that may be written to."""
    root = tmp_path_factory.mktemp("trust") / "root"
    shutil.copytree(run[0], root)
    return root


def table(root, name: str) -> pd.DataFrame:
    return pd.read_parquet(root / f"tables/{name}.parquet")


def test_every_match_has_a_row_in_the_order_of_the_buddies(run):
    trust, buddies = table(run[0], "trust"), table(run[0], "buddies")
    pd.testing.assert_frame_equal(trust[KEY], buddies[KEY])
    assert trust["p_value"].between(0, 1).all()
    assert (trust["q_value"] >= trust["p_value"] * (1 - 1e-6)).all()
    real = trust[trust["model_b"].isin(["lite0", "mobilenet"])]
    assert real["lift"].notna().all()
    np.testing.assert_allclose(real["lift"], real["pearson"] - real["control_best"], atol=1e-6)
    # The only control has no other to be measured by.
    assert trust.loc[trust["model_b"] == "untrained", "lift"].isna().all()


def test_trusted_is_all_tests_at_once(run):
    trust = table(run[0], "trust")
    expected = (
        (trust["q_value"] <= 0.05) & (trust["pearson_held_out"] > 0.1) & (trust["lift"] > 0)
        & (trust["pearson_partial"] > 0.1) & (trust["excess"] > 0.07) & (trust["pearson_robust"] > 0.1)
    )  # fmt: skip
    assert (trust["trusted"] == expected).all()
    assert 0 < trust["trusted"].sum() < len(trust)


def test_the_papers_dictionary_stays_and_carries_what_was_judged(run):
    root, printed = run
    trust, rosetta, clusters = (table(root, name) for name in ("trust", "rosetta", "clusters"))
    first = ["rosetta", "cluster", "anchor_unit", "model", "unit", "layer", "channel", "pearson", "mean_pearson"]
    assert rosetta.columns[: len(first)].tolist() == first
    assert clusters.columns[:5].tolist() == ["cluster", "size", "anchor_unit", "mean_pearson", "min_pearson"]
    assert rosetta["rosetta"].nunique() == printed["counts"]["rosetta"]
    by_pair = trust.set_index(["model_a", "unit_a", "model_b", "unit_b"])
    for _, rows in rosetta.groupby("rosetta"):
        own, members = rows[rows["model"] == "dcgan"].iloc[0], rows[rows["model"] != "dcgan"]
        for member in members.itertuples():
            judged = by_pair.loc[("dcgan", member.anchor_unit, member.model, member.unit)]
            assert (member.q_value, member.lift, member.pearson_partial) == (
                judged["q_value"],
                judged["lift"],
                judged["pearson_partial"],
            )
            assert member.replicates == judged["replicates"]
        assert own["q_value"] == members["q_value"].max()
        assert own["lift"] == members["lift"].min()
        assert own["pearson_partial"] == members["pearson_partial"].min()
        judged = [by_pair.loc[("dcgan", one.anchor_unit, one.model, one.unit)] for one in members.itertuples()]
        assert rows["trusted"].tolist() == [all(one["trusted"] for one in judged)] * len(rows)
        assert own["replicates"] == members["replicates"].all()
    neurons = rosetta[rosetta["model"] == "dcgan"]
    for cluster in clusters.itertuples():
        assert cluster.trusted_neurons == neurons.loc[neurons["cluster"] == cluster.cluster, "trusted"].sum()


def page_of(root) -> dict:
    """What the page's shell knows of the run."""
    found = re.search(r'id="run">(.*?)</script>', (root / "report/index.html").read_text(), re.DOTALL)
    return json.loads(found[1])


def test_tables_command_page_and_notebook_tell_the_same_numbers(run, rosetta):
    root, printed = run
    neurons = table(root, "rosetta").query("model == 'dcgan'")
    found, trusted = len(neurons), int(neurons["trusted"].sum())
    concepts, some = neurons["cluster"].nunique(), neurons.loc[neurons["trusted"], "cluster"].nunique()
    assert (printed["counts"]["rosetta"], printed["counts"]["trusted"]) == (found, trusted)
    clusters = table(root, "clusters")
    assert (len(clusters), (clusters["trusted_neurons"] > 0).sum()) == (concepts, some)
    assert clusters["trusted_neurons"].sum() == trusted
    page = page_of(root)
    assert [page[key] for key in ("rosetta", "trusted", "concepts", "trusted_concepts")] == [
        found, trusted, concepts, some,
    ]  # fmt: skip
    words = " ".join(Reader((root / "report/trust.html").read_text()).words.split())
    assert f"{trusted} of {found} Rosetta neurons" in words
    told = open_run(root)
    assert (len(told.neurons), told.trusted) == (found, trusted)
    assert f"{trusted} of them trusted" in told._repr_html_()
    assert sum(told.concept(number).trusted for number in clusters["cluster"]) == trusted
    again = rosetta("mine", root / "recipe.toml", "--root", root)
    assert "Nothing to do" in again.stdout
    assert f"{found} Rosetta neurons in {concepts} concepts, {trusted} of the neurons trusted" in again.stdout


def test_survivors_are_counted_the_same(run):
    root, _ = run
    neurons = table(root, "rosetta").query("model == 'dcgan'")
    rows = {row.of: row for row in survivors(RunData.open(root)).rows}
    assert rows["Rosetta neurons"].passing["trusted"] == neurons["trusted"].sum()
    assert rows["concepts"].passing["trusted"] == neurons.loc[neurons["trusted"], "cluster"].nunique()
    assert rows["untrained"].passing["lift"] is None, "no other control to be measured by: not made, not 0"
    of_page = {model["name"]: model["survives"] for model in page_of(root)["models"]}
    for model in ("lite0", "mobilenet", "untrained"):
        assert of_page[model] == rows[model].passing


def test_the_command_judges_again_by_other_knobs_and_only_what_follows(place, rosetta):
    before = {name: table(place, name) for name in ("trust", "rosetta")}
    stamps = {path: path.stat().st_mtime_ns for path in (place / "profiles").rglob("*") if path.is_file()}
    printed = rosetta.json("trust", place, "--set", "trust.partial=0.3")
    after = table(place, "trust")
    pd.testing.assert_frame_equal(after.drop(columns="trusted"), before["trust"].drop(columns="trusted"))
    assert (after["trusted"] == (before["trust"]["trusted"] & (after["pearson_partial"] > 0.3))).all()
    assert {path: path.stat().st_mtime_ns for path in (place / "profiles").rglob("*") if path.is_file()} == stamps
    assert "partial = 0.3" in (place / "recipe.toml").read_text()
    rows = {row["of"]: row for row in printed["rows"]}
    for model in ("lite0", "mobilenet", "untrained"):
        mine = after[after["model_b"] == model]
        assert rows[model]["count"] == len(mine)
        assert rows[model]["trusted"] == mine["trusted"].sum()
        assert rows[model]["chance"] == (mine["q_value"] <= 0.05).sum()
        assert rows[model]["control"] == (model == "untrained")
    assert rows["Rosetta neurons"]["count"] == before["rosetta"]["rosetta"].nunique()


def test_profiles_and_features_that_are_gone_are_made_anew_without_the_weights(place, rosetta):
    before = (place / "tables/trust.parquet").read_bytes()
    recipe = (place / "recipe.toml").read_text()
    (place / "recipe.toml").write_text(recipe.replace("package:gan_face_generate/weights.tar", "/gone/weights.tar"))
    for path in ("profiles", "tables/trust", "features.zarr"):
        shutil.rmtree(place / path)
    (place / "tables/trust.parquet").unlink()
    done = rosetta("trust", place)
    assert done.returncode == 0, done.stderr
    assert "Rosetta neurons" in done.stdout
    assert "beat controls" in done.stdout
    assert "With the images of every model exchanged:" in done.stdout
    assert (place / "tables/trust.parquet").read_bytes() == before
    (place / "recipe.toml").write_text(recipe)


def test_causes_are_joined_once_they_are_measured(run, tmp_path, rosetta):
    root = tmp_path / "root"
    shutil.copytree(run[0], root)
    asked = rosetta("trust", root, "--set", 'trust.tests=["cause"]')
    assert asked.returncode == 0, asked.stderr
    assert f"run rosetta ablate {root}" in asked.stdout + asked.stderr
    assert table(root, "trust")["causal_q"].isna().all()
    few = ("ablate", root, "--neurons", "0:2", "--images", "1", "--random", "3", "--models", "lite0")
    rosetta.json(*few)
    rosetta.json("trust", root)
    trust, causes = table(root, "trust"), table(root, "causes")
    measured = trust[trust["causal_q"].notna()].set_index(["unit_a", "unit_b"])
    expected = causes.set_index(["anchor_unit", "unit"]).rename_axis(measured.index.names)
    columns = ["causal_effect", "causal_p", "causal_q"]
    pd.testing.assert_frame_equal(measured[columns].sort_index(), expected[columns].sort_index())
    assert [stage["outcome"] for stage in rosetta.json(*few)["stages"]] == ["skipped", "skipped"]


def test_what_can_be_wrong_is_one_line(place, here, tmp_path):
    refused(here("trust", tmp_path / "nothing"), "holds no run")
    refused(
        here("trust", place, "--set", "matching.neighbours=3"), "matching.neighbours=3", "only keys of trust can change"
    )
    refused(here("trust", place, "--set", "trust.q=2"), "trust.q", "2")
    refused(here("trust", place, "--set", "trust.que=0.1"), "que", "did you mean")
    (tmp_path / "half").mkdir()
    shutil.copy(place / "recipe.toml", tmp_path / "half/recipe.toml")
    refused(here("trust", tmp_path / "half"), "is not finished", "images.zarr", "rosetta mine")


def test_a_damaged_profile_is_found_by_check(place, rosetta):
    chunk = next(path for path in sorted((place / "profiles").rglob("c/*")) if path.is_file())
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    found = rosetta("check", place, "--json")
    assert found.returncode == 2
    assert any("profiles/" in entry["artifact"] for entry in json.loads(found.stdout)["damaged"])
    chunk.write_bytes(content)
