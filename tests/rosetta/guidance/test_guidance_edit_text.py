"""Edits as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SHARES

from rosetta.errors import UserError
from rosetta.guidance.edit_text import WORDS, box_of, parse_edits
from rosetta.guidance.edits import WHOLE, Add, Box, Join, Paste, Remove, Shift, Zoom


@pytest.mark.parametrize(
    ("word", "value", "edit"),
    [
        ("shift", "0.1,0", Shift(0.1, 0.0)),
        ("shift", "-.25, 3e-1", Shift(-0.25, 0.3)),
        ("zoom", "1.5", Zoom(1.5, 0.5, 0.5)),
        ("zoom", "0.5@0.5,0.4", Zoom(0.5, 0.5, 0.4)),
        ("join", "7@x=0.5", Join("7", "x", 0.5)),
        ("join", "new:3@y=0.25", Join("new:3", "y", 0.25)),
        ("join", "a@b/face=1.png@x=0.5", Join("a@b/face=1.png", "x", 0.5)),
        ("remove", "12", Remove(12, WHOLE)),
        ("remove", "12@0,0.5,0.25,1", Remove(12, Box(0.0, 0.5, 0.25, 1.0))),
        ("add", "0@0.2,0.2,0.8,0.8", Add(0, Box(0.2, 0.2, 0.8, 0.8))),
    ],
)
def test_every_form(word, value, edit):
    assert parse_edits([(word, value)]) == (edit,)


def test_order_is_kept_and_copy_and_paste_become_one():
    words = [
        ("zoom", "2"),
        ("shift", "0.1,0"),
        ("copy", "0,0,0.5,0.5"),
        ("paste", "0.5,0.25"),
        ("remove", "3"),
        ("copy", "0.5,0.5,1,1"),
        ("paste", "0,0"),
        ("shift", "0,0.1"),
    ]
    assert parse_edits(words) == (
        Zoom(2.0),
        Shift(0.1, 0.0),
        Paste(Box(0, 0, 0.5, 0.5), 0.5, 0.25),
        Remove(3),
        Paste(Box(0.5, 0.5, 1, 1), 0.0, 0.0),
        Shift(0.0, 0.1),
    )
    assert parse_edits([]) == ()


@given(numbers=st.tuples(SHARES, SHARES), scale=st.floats(0.1, 10))
def test_numbers_are_read_as_python_writes_them(numbers, scale):
    x, y = numbers
    assert parse_edits([("shift", f"{x!r},{-y!r}")]) == (Shift(x, -y),)
    assert parse_edits([("zoom", f"{scale!r}@{x!r},{y!r}")]) == (Zoom(scale, x, y),)
    if x != y:
        low, high = sorted(numbers)
        assert box_of(f"{low!r},{low!r},{high!r},{high!r}") == Box(low, low, high, high)


@pytest.mark.parametrize(
    "words",
    [
        [("paste", "0.1,0.2")],
        [("copy", "0,0,0.5,0.5")],
        [("copy", "0,0,0.5,0.5"), ("shift", "0.1,0")],
        [("copy", "0,0,0.5,0.5"), ("shift", "0.1,0"), ("paste", "0.1,0.2")],
        [("copy", "0,0,0.5,0.5"), ("copy", "0,0,0.5,0.5"), ("paste", "0.1,0.2")],
        [("copy", "0,0,0.5,0.5"), ("paste", "0.1,0.2"), ("paste", "0.1,0.2")],
        [("copy", "0,0,0.5,0.5"), ("paste", "0.1,0.2"), ("copy", "0,0,0.5,0.5")],
    ],
)
def test_copy_and_paste_come_in_pairs(words):
    with pytest.raises(UserError, match=r"(?=.*--copy)(?=.*--paste)") as caught:
        parse_edits(words)
    assert "\n" not in str(caught.value)


NONSENSE = ("", "a", "nan", "inf", "-inf", "1e999", "0.1;0.2", "0,1", "1,,2", ",")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *(("shift", value) for value in (*NONSENSE, "0.1", "0.1,0,0", "nan,0", "0,inf", "0.1,0@0.5,0.5")),
        *(("zoom", value) for value in (*NONSENSE, "2@", "2@0.5", "2@nan,0.5", "inf@0.5,0.5", "2,2", "@0.5,0.5")),
        *(("join", value) for value in ("", "7", "7@", "7@x", "7@x=", "7@x=nan", "7@z=0.5", "@x=0.5", "7@x=0.5,0.5")),
        *(("add", value) for value in ("", "3", "eye", "1.5@0,0,1,1", "@0,0,1,1", "nan@0,0,1,1")),
        *(("remove", value) for value in ("", "eye", "1.5", "@0,0,1,1", "inf")),
        ("turn", "90"),
    ],
)
def test_nonsense_is_refused_by_its_value(word, value):
    with pytest.raises(UserError) as caught:
        parse_edits([(word, value)])
    assert word in str(caught.value)
    if word in WORDS and not (word == "shift" and value == "0,1"):  # that one is understood, and too far
        assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "0,0,1", "0,0,1,1,1", "a,b,c,d", "nan,0,1,1", "0,0,inf,1"])
@pytest.mark.parametrize("before", [None, "add", "remove", "copy"])
def test_a_box_that_is_none_is_refused_by_its_text(text, before):
    words = [(before, text), ("paste", "0,0")] if before == "copy" else [(before, f"12@{text}")]
    with pytest.raises(UserError) as caught:
        box_of(text) if before is None else parse_edits(words)
    shown = text if before in (None, "copy") else f"12@{text}"
    assert repr(shown) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "value", "named"),
    [
        ("shift", "1,0", "1,0"),
        ("shift", "0,-2.5", "0,-2.5"),
        ("zoom", "0", "0"),
        ("zoom", "-1", "-1"),
        ("zoom", "2@0.5,1.5", "0.5,1.5"),
        ("join", "7@x=1", "x=1"),
        ("join", "7@y=0", "y=0"),
        ("remove", "12@0,0,2,1", "0,0,2,1"),
        ("add", "12@0.5,0,0.25,1", "0.5,0,0.25,1"),
    ],
)
def test_numbers_out_of_range_are_named(word, value, named):
    with pytest.raises(UserError) as caught:
        parse_edits([(word, value)])
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pastes_out_of_range_are_named():
    for value in ("1,0", "0,1", "-0.5,0", "0.5", "nan,0"):
        with pytest.raises(UserError) as caught:
            parse_edits([("copy", "0,0,0.5,0.5"), ("paste", value)])
        assert value in str(caught.value)
