"""Comparisons of runs whose dictionaries are known: planted neurons and concepts, layers, chance, order of rows."""

from dataclasses import replace

import compared_runs
import numpy as np
import pytest
from compared_runs import Neuron
from joined_runs import units_of

from rosetta.mining.compare_settings import Comparing
from rosetta.units import Layer, Units
from storage.artifacts.catalogue import COMPARISON_CONCEPTS
from storage.filesystem.root import Root
from tasks.compare.concepts import concept_counts
from tasks.compare.inputs import plan_inputs
from tasks.compare.tables import TABLES, compare, write_tables

SHARED = [Neuron(unit, unit % 3, {"d": unit, "e": unit}, 0.3 + unit / 100, unit < 3) for unit in range(6)]
"""Units of the first layer, in three concepts of two: {0, 3}, {1, 4} and {2, 5}."""
MOVED = [Neuron(30 + unit, 3, {"d": 22, "e": unit}, 0.8) for unit in range(2)]
"""Of the second layer, and of both runs, but with another unit of d."""
FIRST = [*SHARED, *MOVED, Neuron(10, 4, {"d": 7, "e": 9}, 0.9, trusted=True)]
SECOND = [
    *(replace(one, concept=5 - one.concept, strength=one.strength / 2) for one in SHARED),
    *(replace(one, concept=0, members={**one.members, "d": 23}) for one in MOVED),
    *(Neuron(unit, 1, {"d": 1, "e": 1}, 0.2, trusted=True) for unit in (20, 21, 22)),
]
"""The concepts of what is shared are 5, 4 and 3 there."""


@pytest.fixture
def planted(tmp_path):
    return compared(compared_runs.write(tmp_path / "a", FIRST), compared_runs.write(tmp_path / "b", SECOND))


def plan_of(first, second, **settings):
    return plan_inputs(str(first), str(second), None, Comparing(**settings))


def compared(first, second):
    return compare(plan_of(first, second, exchanges=20))


def test_what_stays_is_what_was_planted(planted):
    rows = planted.overlaps.set_index(["of", "by", "layer"])
    counts = {
        key: tuple(row) for key, row in zip(rows.index, rows[["first", "second", "both"]].to_numpy(), strict=True)
    }
    assert counts == {
        ("all", "anchor", "all"): (9, 11, 8),
        ("all", "anchor", "layer.0"): (7, 9, 6),
        ("all", "anchor", "layer.1"): (2, 2, 2),
        ("all", "members", "all"): (9, 11, 6),
        ("all", "members", "layer.0"): (7, 9, 6),
        ("all", "members", "layer.1"): (2, 2, 0),
        ("trusted", "anchor", "all"): (4, 6, 3),
        ("trusted", "anchor", "layer.0"): (4, 6, 3),
        ("trusted", "anchor", "layer.1"): (0, 0, 0),
        ("trusted", "members", "all"): (4, 6, 3),
        ("trusted", "members", "layer.0"): (4, 6, 3),
        ("trusted", "members", "layer.1"): (0, 0, 0),
    }
    whole = rows.loc["all", "anchor", "all"]
    assert whole["jaccard"] == 8 / 12
    assert whole["both_chance"] == pytest.approx(7 * 9 / 30 + 2 * 2 / 10)
    # By all members, a neuron of the first layers is one of 30 × 20 × 25, one of the second of 10 × 11 × 25.
    members = rows.loc["all", "members"]["both_chance"]
    assert members["layer.0"] == pytest.approx(7 * 9 / (30 * 20 * 25))
    assert members["layer.1"] == pytest.approx(2 * 2 / (10 * 11 * 25))
    assert (rows["p_value"] <= 1).all()


def test_neurons_say_where_they_are_and_what_stays_of_them(planted):
    rows = planted.neurons
    assert len(rows) == 12
    assert list(zip(rows["layer"], rows["channel"], strict=True)) == [
        *(("layer.0", channel) for channel in (*range(6), 10, 20, 21, 22)),
        ("layer.1", 0),
        ("layer.1", 1),
    ]
    assert rows["same"].tolist() == [2] * 6 + [0] * 4 + [1] * 2
    assert rows["first"].tolist() == [True] * 7 + [False] * 3 + [True] * 2
    assert rows["second"].tolist() == [True] * 6 + [False] + [True] * 5
    assert rows["cluster_second"].tolist() == [5, 4, 3, 5, 4, 3, -1, 1, 1, 1, 0, 0]
    assert np.isnan(rows["strength_second"][6])
    assert rows["trusted_first"].tolist() == [True] * 3 + [False] * 3 + [True] + [False] * 5


def test_concepts_find_their_partners_whatever_their_numbers(planted):
    rows = planted.concepts
    pairs = list(zip(rows["cluster_first"], rows["cluster_second"], strict=True))
    assert pairs == [(0, 5), (1, 4), (2, 3), (3, 0), (4, -1), (-1, 1)]
    assert rows["overlap"].tolist() == [1, 1, 1, 1, 0, 0]
    assert rows["shared"].tolist() == [2, 2, 2, 2, 0, 0]
    assert rows["size_second"].tolist() == [2, 2, 2, 2, 0, 3]
    assert rows["p_value"][4] == rows["p_value"][5] == 1
    assert (rows["overlap_chance"] <= rows["partner_chance"]).all()
    assert (rows["overlap_chance"][:4] < 0.5).all()
    found = concept_counts(rows)
    assert (found.first, found.second, found.matched, found.same, found.overlap) == (5, 5, 4, 4, 0.8)
    assert 0 < found.matched_chance < 4


def test_strengths_of_what_both_runs_have_are_correlated(planted):
    rows = planted.strengths.set_index(["of", "model"])
    assert rows["count"].to_dict() == {("neurons", "all"): 8, ("buddies", "d"): 6, ("buddies", "e"): 8}
    assert rows.loc[("buddies", "d"), "pearson"] == pytest.approx(1)
    of_neurons = [*(one.strength for one in SHARED), 0.8, 0.8], [*(one.strength / 2 for one in SHARED), 0.8, 0.8]
    row = rows.loc[("neurons", "all")]
    assert row["pearson"] == pytest.approx(np.corrcoef(*of_neurons)[0, 1], abs=1e-6)
    assert row["mean_second"] == pytest.approx(np.mean(of_neurons[1]), abs=1e-6)
    assert row["deviation_chance"] == pytest.approx(1 / np.sqrt(7))


def test_the_order_of_rows_changes_no_byte(tmp_path):
    random = np.random.default_rng(0)
    content = []
    for name in ("one", "other"):
        order = None if name == "one" else random.permutation(3 * len(FIRST))
        first = compared_runs.write(tmp_path / name / "a", FIRST, order=order)
        second = compared_runs.write(tmp_path / name / "b", SECOND)
        plan = replace(plan_of(first, second), root=Root(str(tmp_path / name / "out")))
        write_tables(plan, plan.root)
        content.append([compare(plan).by_artifact()[table].to_csv() for table in TABLES])
    assert content[0] == content[1]
    tables = [[tmp_path / name / "out" / table.path() for table in TABLES] for name in ("one", "other")]
    assert [path.read_bytes() for path in tables[0]] == [path.read_bytes() for path in tables[1]]


def test_a_run_without_neurons_shares_none(tmp_path):
    none, some = compared_runs.write(tmp_path / "a", []), compared_runs.write(tmp_path / "b", SECOND)
    for first, second in ((none, some), (some, none)):
        found = compared(first, second)
        assert (found.overlaps["both"] == 0).all()
        assert found.concepts["overlap"].sum() == 0
        assert len(found.concepts) == 5
        assert found.strengths["count"].sum() == 0
    found = compared(none, compared_runs.write(tmp_path / "c", []))
    assert found.overlaps["jaccard"].isna().all()
    assert list(found.concepts.columns) == [column.name for column in COMPARISON_CONCEPTS.columns]
    assert not len(found.concepts)


def test_layers_and_models_of_one_run_alone_are_left_out(tmp_path):
    first = compared_runs.write(tmp_path / "a", [*SHARED, *MOVED])
    # The second run has the first layers alone, in front of another one, and a model more.
    other = Units((Layer("new", 7, (2, 2)), Layer("layer.0", 30, (2, 2))))
    models = {"d": units_of(20), "e": units_of(25), "f": units_of(9)}
    neurons = [replace(one, unit=one.unit + 7, members={**one.members, "f": 3}) for one in SHARED]
    second = compared_runs.write(tmp_path / "b", neurons, generator=other, models=models)
    plan = plan_of(first, second)
    assert plan.models == ("d", "e")
    found = compare(plan)
    rows = found.overlaps.set_index(["of", "by", "layer"])
    assert rows.loc["all"]["both"].tolist() == [6, 6, 6, 6]
    assert rows.loc["all"]["first"].tolist() == [6, 6, 6, 6]
    assert {one.what: (one.first, one.second) for one in plan.differences} == {
        "discriminative models of one run alone": ("none", "f"),
        "layers of g of one run alone": ("layer.1", "new"),
        "layers of d of one run alone": ("layer.1", "none"),
    }


def test_the_order_of_the_runs_changes_no_count(tmp_path):
    first, second = compared_runs.write(tmp_path / "a", FIRST), compared_runs.write(tmp_path / "b", SECOND)
    one, other = compared(first, second), compared(second, first)
    swapped = {"first": "second", "second": "first"}
    same = one.overlaps.rename(columns=swapped)[other.overlaps.columns]
    assert same.round(12).equals(other.overlaps.round(12))
