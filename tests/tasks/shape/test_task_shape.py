"""The stages of the shape of a run over real stores: their tables follow from the correlations and profiles."""

import logging
from pathlib import Path

import numpy as np
import oracle
import pandas as pd
import pytest
from atlas_files import seen
from described import described
from plans import make, plan_over
from planted import pictures, profiled, write_images, write_maps

from rosetta.mining.buddies import nearest_neighbours
from rosetta.mining.shape.alignment import alignment, exchanged, exchanges, geometry
from rosetta.mining.shape.seeded import seeded
from rosetta.recipe import Trust
from storage.artifacts import catalogue, tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from tasks.correlate.pair import CORRELATE
from tasks.correlate.setting import Setting
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import MATCH
from tasks.plan import Plan
from tasks.shape import assign
from tasks.shape.assign import ASSIGN
from tasks.shape.layers import WRITE_LAYERS
from tasks.shape.rarefy import RAREFY
from tasks.shape.stability import WRITE_STABILITY
from tasks.trust.pair import JUDGE_PAIRS
from tasks.trust.profile import PROFILE
from tasks.trust.table import JOIN_TRUST

STAGES = [ASSIGN, WRITE_STABILITY, WRITE_LAYERS, RAREFY]
CONTROLS, TARGETS = ("untrained",), ("d", "e")
MODELS = ("g", *TARGETS, *CONTROLS)
GRIDS = {model: {"coarse": (4 + number, 5), "fine": (9, 12 - number)} for number, model in enumerate(MODELS)}
IMAGES, SPOTS, NOISE = 40, 4, 5
TRUST = Trust(tests=("chance",), leave_out=("rotation", "maps", "exchange"))


def plan_of(root: Root, keep: str = "matrix", trust: Trust = TRUST) -> Plan:
    return plan_over(root, MODELS, Setting(threads=1, keep=keep), CONTROLS, neighbours=2, trust=trust)


def shaped(folder: Path, keep: str) -> Root:
    """A run whose trained models share spots, layer by layer."""
    root, random = Root(str(folder)), np.random.default_rng(7)
    write_images(root, pictures(random, IMAGES))
    place, bright = random.uniform(0.1, 0.9, (2, SPOTS, IMAGES, 2)), random.uniform(0.2, 2.0, (2, SPOTS, IMAGES))
    for model, layers in GRIDS.items():
        maps = {}
        for number, (layer, grid) in enumerate(layers.items()):
            maps[layer] = random.normal(size=(IMAGES, SPOTS + NOISE, *grid)) * 0.05
            if model not in CONTROLS:
                maps[layer][:, :SPOTS] += seen(place[number], bright[number], grid)
            maps[layer][:, -1] = 0.25  # dead
        write_maps(root, model, maps, block=8)
    stages = (CORRELATE, MATCH, WRITE_FEATURES, PROFILE, JUDGE_PAIRS, ASSIGN, JOIN_TRUST)
    make(plan_of(root, keep), *stages, *STAGES[1:])
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Root:
    return shaped(tmp_path_factory.mktemp("matrix"), "matrix")


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory) -> Root:
    return shaped(tmp_path_factory.mktemp("neighbours"), "neighbours")


def pearson(root: Root, name: str) -> np.ndarray:
    return CorrelationStore.read(root, "g", name).pearson()


def test_units_are_matched_one_to_one(root):
    distances = tables.read(root, catalogue.DISTANCES.path())
    assert list(zip(distances["model_a"], distances["model_b"], strict=True)) == [("g", name) for name in MODELS[1:]]
    for row in distances.itertuples():
        values = pearson(root, row.model_b)
        found = tables.read(root, catalogue.ASSIGNED.path("g", row.model_b))
        assert found["unit_a"].is_unique
        assert found["unit_b"].is_unique
        assert found["pearson"].tolist() == values[found["unit_a"], found["unit_b"]].tolist()
        assert (row.assigned, row.unmatched_a, row.unmatched_b) == (
            len(found), values.shape[0] - len(found), values.shape[1] - len(found)
        )  # fmt: skip
        assert row.distance == pytest.approx(1 - found["pearson"].astype(float).sum() / min(values.shape), abs=1e-6)
        near = nearest_neighbours(values, 2).unit
        counts = np.bincount(near[near >= 0], minlength=values.shape[1])
        assert (row.hub_b, row.hub_occurrences_b) == (counts.argmax(), counts.max())
    # Spots are shared by trained models, and no unit of a random one is.
    assert distances["distance"].argmax() == 2


def test_trust_says_which_matches_are_assigned(root):
    trust = tables.read(root, catalogue.TRUST.path())
    assert trust.loc[trust["model_b"] == "g", "assigned"].isna().all()
    for name in MODELS[1:]:
        found = tables.read(root, catalogue.ASSIGNED.path("g", name))
        pairs = set(zip(found["unit_a"], found["unit_b"], strict=True))
        rows = trust[trust["model_b"] == name]
        expected = [float(pair in pairs) for pair in zip(rows["unit_a"], rows["unit_b"], strict=True)]
        assert rows["assigned"].tolist() == expected
        assert len(rows)


def test_only_what_is_missing_is_matched_again(root, monkeypatch):
    plan = plan_of(root)
    path = catalogue.ASSIGNED.path("g", "d")
    before = {name: root.read_bytes(catalogue.ASSIGNED.path("g", name)) for name in MODELS[1:]}
    distances = root.read_bytes(catalogue.DISTANCES.path())
    root.remove(path)
    root.remove(catalogue.DISTANCES.path())
    pairs = []
    real = assign.assign
    monkeypatch.setattr(assign, "assign", lambda *near: pairs.append(1) or real(*near))
    assert ASSIGN.make(plan) == "done"
    assert len(pairs) == 1
    assert {name: root.read_bytes(catalogue.ASSIGNED.path("g", name)) for name in MODELS[1:]} == before
    assert root.read_bytes(catalogue.DISTANCES.path()) == distances
    assert ASSIGN.make(plan) == "skipped"


def test_the_dictionary_with_each_k(root):
    found = tables.read(root, catalogue.STABILITY.path())
    assert found["neighbours"].tolist() == list(range(1, 21))
    pearsons = {name: pearson(root, name) for name in TARGETS}
    base = {anchor for anchor, _, _ in oracle.rosetta(pearsons, 2)}
    trust = tables.read(root, catalogue.TRUST.path())
    trusted = set(trust.loc[trust["trusted"], ["unit_a", "model_b", "unit_b"]].itertuples(index=False, name=None))
    for row in found.itertuples():
        neurons = oracle.rosetta(pearsons, row.neighbours)
        anchors = {anchor for anchor, _, _ in neurons}
        concepts = oracle.components(sorted(anchors), pearson(root, "g"), row.neighbours)
        assert (row.neurons, row.concepts, row.largest) == (len(neurons), len(concepts), max(map(len, concepts)))
        assert row.jaccard == len(anchors & base) / len(anchors | base)
        matches = [[(anchor, *match) for match in zip(TARGETS, units, strict=True)] for anchor, units, _ in neurons]
        assert row.trusted == sum(trusted.issuperset(neuron) for neuron in matches)


def test_layers_are_compared_by_their_thumbs(root):
    found = tables.read(root, catalogue.LAYERS.path()).set_index(["model_b", "layer_a", "layer_b"])
    of = {}
    for name in MODELS:
        profile = ProfileStore.read(root, name)
        of[name] = geometry([profile.of_layer(layer, "shape") for layer in GRIDS[name]])
    null = exchanged(of["g"], exchanges(40, seeded(0, "layers")))
    for name in MODELS:
        expected = alignment(of["g"], of[name], null)
        for i, layer_a in enumerate(GRIDS["g"]):
            for j, layer_b in enumerate(GRIDS[name]):
                row = found.loc[(name, layer_a, layer_b)]
                for column in ("cka", "cka_null", "rsa", "rsa_null"):
                    assert row[column] == getattr(expected, column)[i, j]
    assert len(found) == 2 * sum(len(layers) for layers in GRIDS.values())
    own = [found.loc[("g", layer, layer), "cka"] for layer in GRIDS["g"]]
    assert own == pytest.approx([1, 1], abs=1e-5)
    assert found["cka_null"].abs().max() < 0.1


def test_neighbours_alone_give_the_same_but_no_draws(root, neighbours):
    for artifact in (catalogue.DISTANCES, catalogue.STABILITY, catalogue.LAYERS):
        pd.testing.assert_frame_equal(tables.read(root, artifact.path()), tables.read(neighbours, artifact.path()))
    assert len(tables.read(neighbours, catalogue.RAREFACTION.path())) == 0
    assert "matching.keep" in tables.attributes(neighbours, catalogue.RAREFACTION.path())["notes"][0]
    assert tables.attributes(root, catalogue.RAREFACTION.path())["notes"] == []


def test_what_is_left_out_is_not_made(root):
    trust = Trust(tests=("chance",), leave_out=("one_to_one", "stability", "layers", "rarefaction"))
    plan = plan_of(root, trust=trust)
    for stage in STAGES:
        assert stage.instances(plan) == []
        assert stage.is_finished(plan)
        assert stage.artifacts(plan) == []


def test_every_table_is_as_the_catalogue_describes_it(root):
    for artifact in (catalogue.DISTANCES, catalogue.STABILITY, catalogue.LAYERS, catalogue.RAREFACTION):
        assert tables.is_present(root, artifact.path())
    assert tables.is_present(root, catalogue.ASSIGNED.path("g", "e"))
    assert not root.exists(catalogue.ASSIGNED.path("g", "g"))


# ---- stores whose correlations are given


def write_pair(root: Root, a: str, b: str, values: np.ndarray) -> None:
    units = [ActivationStore.read(root, name).units for name in (a, b)]
    store = CorrelationStore.create(root, a, b, fingerprint("pair", a=a, b=b), *units, 5)
    store.write((0, 0), values.astype(np.float32))
    store.finish()


def write_models(root: Root, **units: int) -> None:
    for name, count in units.items():
        write_maps(root, name, {"layer": np.random.default_rng(0).normal(size=(4, count, 2, 2))}, block=4)


@pytest.mark.parametrize(("near", "warned"), [(0.9, True), (-0.9, False)])
def test_percolating_concepts_are_warned_of(tmp_path, caplog, near, warned):
    root = Root(str(tmp_path))
    write_models(root, g=12, d=12)
    write_pair(root, "g", "d", np.eye(12) - 0.5)
    chain = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    # A chain of neighbours, or none at all: with NaN no unit is another's neighbour.
    write_pair(root, "g", "g", np.where(chain == 1, near, -0.5) if warned else np.where(chain == 0, 1, np.nan))
    path = catalogue.TRUST.path()
    trust = described(path, pd.DataFrame({"model_a": ["g"], "model_b": ["d"], "trusted": [True]}))
    tables.write(root, path, trust, fingerprint("trust"))
    plan = plan_over(root, ("g", "d"), neighbours=2)
    with caplog.at_level(logging.WARNING, logger="rosetta"):
        make(plan, WRITE_STABILITY)
    notes = tables.attributes(root, catalogue.STABILITY.path())["notes"]
    assert [record.message for record in caplog.records] == notes
    assert len(notes) == warned
    if warned:
        assert "the largest concept holds 12 of 12 Rosetta neurons" in notes[0]
    found = tables.read(root, catalogue.STABILITY.path()).set_index("neighbours")
    assert found.loc[1, "trusted"] == 1, "unit 0 with unit 0"


def test_draws_are_matched_among_themselves(tmp_path):
    root, random = Root(str(tmp_path)), np.random.default_rng(0)
    write_models(root, g=70, d=130)
    values = random.normal(size=(70, 130)).astype(np.float32)
    write_pair(root, "g", "d", values)
    make(plan_over(root, ("g", "d"), neighbours=3), RAREFY)
    found = tables.read(root, catalogue.RAREFACTION.path())
    assert found.groupby("units")["draw"].agg(list).to_dict() == {32: list(range(20)), 64: list(range(20))}
    again = seeded(0, "rarefaction", "g", "d")
    for draw in range(20):
        orders = [again.permutation(count) for count in values.shape]
        drawn = values[np.ix_(*(np.sort(order[:64]) for order in orders))]
        row = found[(found["draw"] == draw) & (found["units"] == 64)]
        assert row["buddies"].item() == len(oracle.buddies(drawn, 3))


def test_too_few_images_for_layers_are_said(tmp_path):
    root = Root(str(tmp_path))
    write_images(root, np.random.default_rng(0).integers(0, 255, size=(3, 8, 8, 3)).astype(np.uint8))
    for name in ("g", "d"):
        write_maps(root, name, {"layer": np.random.default_rng(1).normal(size=(3, 4, 2, 2))}, block=4)
    profiled(root, ("g", "d"), Setting(threads=1))
    make(plan_over(root, ("g", "d")), WRITE_LAYERS)
    assert len(tables.read(root, catalogue.LAYERS.path())) == 0
    assert "3 images are too few" in tables.attributes(root, catalogue.LAYERS.path())["notes"][0]
