"""Which runs can be compared, and what is said of their differences."""

from dataclasses import replace

import compared_runs
import joined_runs
import numpy as np
import pytest
from compared_runs import GENERATOR, MODELS, Neuron
from joined_runs import Seen, units_of

from flows.compare import plan_compare
from rosetta.errors import UserError
from rosetta.mining.compare_settings import Comparing
from rosetta.naming.notes import Note
from rosetta.units import Layer, Units
from storage.artifacts import notes
from storage.artifacts.catalogue import JOIN_RECORD
from storage.filesystem.root import Root
from storage.run.data import RunData
from tasks.compare.names import concept_names

NEURONS = [Neuron(0), Neuron(1)]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"neighbours": 3}, ("matching.neighbours", "2", "3")),
        ({"latents": 4}, ("images.seed", "0", "4")),
        ({"controls": ["e"]}, ("discriminative models of one run alone", "e", "none")),
        ({"models": {**MODELS, "f": units_of(3)}}, ("discriminative models of one run alone", "none", "f")),
        ({"models": {**MODELS, "d": units_of(20)}}, ("layers of d of one run alone", "layer.1", "none")),
        ({"weights": "x"}, ("weights of g", "670000000000", "780000000000")),
    ],
)
def test_differences_are_named(tmp_path, other, told):
    first = compared_runs.write(tmp_path / "a" / "one", NEURONS)
    second = compared_runs.write(tmp_path / "b" / "one", NEURONS, **other)
    plan = plan_compare(str(first), str(second), None, Comparing())
    assert told in [(one.what, one.first, one.second) for one in plan.differences]
    assert plan.names == ("one-1", "one-2")
    same = plan_compare(str(first), str(compared_runs.write(tmp_path / "c" / "one", NEURONS)), None, Comparing())
    assert same.differences == ()
    assert same.fingerprint.digest != plan.fingerprint.digest


WIDER = replace(GENERATOR, layers=(GENERATOR.layers[0], replace(GENERATOR.layers[1], channels=12)))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"models": {"f": units_of(3)}}, ["no discriminative model in common beside g", "has d, e", "has f"]),
        (
            {"models": {**MODELS, "f": units_of(3)}, "controls": ["d", "e"]},
            ["no discriminative model in common", "has f)"],
        ),
        ({"name": "h"}, ["the units of g name", "those of h", "one anchor"]),
        ({"generator": WIDER}, ["layer layer.1 of g has 10 channels", "and 12 in", "another name"]),
        ({"models": {**MODELS, "e": units_of(26)}}, ["layer layer.0 of e has 25 channels", "and 26 in"]),
        ({"models": {**MODELS, "e": Units((Layer("x", 25, (2, 2)),))}}, ["e has no layer in common"]),
    ],
)
def test_runs_that_do_not_fit_are_one_line(tmp_path, other, words):
    first = compared_runs.write(tmp_path / "a", NEURONS)
    if "name" in other:  # a run of another generator, without neurons
        seen = {name: Seen(units, np.zeros((40, len(units)), np.float32), name) for name, units in MODELS.items()}
        second = joined_runs.write(tmp_path / "b", GENERATOR, np.eye(40, dtype=np.float32), seen, **other)
    else:
        second = compared_runs.write(tmp_path / "b", [], **other)
    message = refused(tmp_path, first, second)
    assert all(word in message for word in words), message


def test_roots_that_are_no_finished_runs_are_one_line(tmp_path):
    first, second = (compared_runs.write(tmp_path / name, NEURONS) for name in "ab")
    assert "stands twice" in refused(tmp_path, first, first)
    assert "stands twice" in refused(tmp_path, first, f"{tmp_path}/./a")
    assert "holds no run" in refused(tmp_path, first, tmp_path / "none")
    Root(str(tmp_path / "joined")).write_bytes(JOIN_RECORD.path(), b"")
    assert "holds no run" in refused(tmp_path, tmp_path / "joined", first)
    assert "holds a join; give the comparison a root of its own" in refused(tmp_path, first, second, "joined")
    assert "holds a run" in refused(tmp_path, first, second, "a")
    assert "needs --root" in refused(tmp_path, first, second, None, replace=True)
    Root(str(second)).remove("tables/rosetta.parquet")
    assert "end the run with rosetta mine first" in refused(tmp_path, first, second)


def refused(folder, first, second, out="out", **more):
    root = None if out is None else str(folder / out)
    with pytest.raises(UserError) as caught:
        plan_compare(str(first), str(second), root, Comparing(), **more)
    assert not (folder / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_concepts_have_the_names_of_notes(tmp_path):
    place = compared_runs.write(tmp_path / "a", NEURONS)
    said = [Note(0, author, "2026-01-01T00:00:00Z", False, "eyes", "", "f.json") for author in ("ada", "bob")]
    notes.write_notes(Root(str(place)), [*said, Note(0, "cyd", "2026-01-01T00:00:00Z", True, "", "look", "f.json")])
    assert concept_names(RunData.open(place)) == {0: "eyes"}
    assert concept_names(RunData.open(compared_runs.write(tmp_path / "b", NEURONS))) == {}
