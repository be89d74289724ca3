"""What a refusal says of two fingerprints: the first thing that differs, short, and never the same on both sides."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import JSON, KEYS

from rosetta.errors import UserError
from storage.artifacts.fingerprint import IMAGE, MAPS, fingerprint, first_difference

FILES = [[f"{index:02}.jpg", 3076] for index in range(40)]


def replaced(files: list[list[object]], index: int) -> list[list[object]]:
    return [[f"{name}", 3080 if place == index else size] for place, (name, size) in enumerate(files)]


@given(st.dictionaries(KEYS, JSON), st.dictionaries(KEYS, JSON), st.sets(KEYS))
@example({"files": FILES}, {"files": replaced(FILES, 39)}, set())
@example({"a": "x" * 99 + "b"}, {"a": "x" * 99 + "c"}, set())
@example({"a": "x" * 99}, {"a": ["x" * 99]}, set())
@example({"a": 10**80}, {"a": 10**81}, set())
def test_the_two_sides_never_read_the_same(before, other, kept):
    after = {**other, **{key: before[key] for key in kept & before.keys()}}
    told = first_difference(before, after)
    if json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True):
        assert told == ""
        return
    path, _, sides = told.partition(": ")  # no key of these has one, and JSON escapes arrows
    one, _, another = sides.partition(" → ")
    assert path
    assert one != another
    assert max(len(one), len(another)) <= 60


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"size": 1}, {"size": 2}, "size: 1 → 2"),
        ({"size": 1}, {"size": 1.0}, "size: 1 → 1.0"),
        ({"layers": None}, {"layers": ["body.1"]}, 'layers: nothing → ["body.1"]'),
        ({}, {"seed": None}, "seed: not given → nothing"),
        ({"files": FILES}, {"files": replaced(FILES, 7)}, 'files[7]: ["07.jpg", 3076] → ["07.jpg", 3080]'),
        ({"files": FILES[:-1]}, {"files": FILES}, 'files[39]: not given → ["39.jpg", 3076]'),
        ({"m": {"mean": [0.5, 0.5]}}, {"m": {"mean": [0.5, 0.4]}}, "m.mean: [0.5, 0.5] → [0.5, 0.4]"),
        (
            {"path": "a/" * 40 + "one/x"},
            {"path": "a/" * 40 + "two/x"},
            'path: …a/a/a/a/a/a/a/a/a/a/one/x" → …a/a/a/a/a/a/a/a/a/a/two/x"',
        ),
    ],
)
def test_what_is_shown(before, after, told):
    assert first_difference(before, after) == told


def test_sketches_are_told_by_layer_with_the_code_that_changed():
    """A sketch's numbers tell nobody anything; which layers they are of, and what was updated, does."""

    def made(scale: float, timm: str):
        maps = {"stem": [1.0], "body.1": [scale], "body.2": [scale], "body.3": [scale]}
        return fingerprint("activations", {"timm": timm, "torch": "2"}, model={"model": "timm/x", MAPS: maps})

    told = f"model.{MAPS} differ: body.1, body.2 and 1 more; timm 1.0.9 → 1.0.12"
    with pytest.raises(UserError) as refused:
        made(3.0, "1.0.12").require_match("activations/x.zarr", made(2.0, "1.0.9").attributes())
    assert told in str(refused.value)
    made(2.0, "1.0.12").require_match("activations/x.zarr", made(2.0, "1.0.9").attributes())
    assert (
        first_difference({"generator": {IMAGE: [1.0]}}, {"generator": {IMAGE: [2.0]}}) == f"generator.{IMAGE} differs"
    )
    assert first_difference({"models": {"maps": [1]}}, {"models": {"maps": [2]}}) == "models.maps: [1] → [2]"
