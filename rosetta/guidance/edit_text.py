"""Edits as people write them: `shift 0.1,0`, `zoom 1.5@0.5,0.4`, `copy x0,y0,x1,y1` then `paste x,y`, `join 7@x=0.5`,
`remove 12@x0,y0,x1,y1`, `add 12@x0,y0,x1,y1`."""

import math
from collections.abc import Sequence
from typing import Literal, cast

from rosetta.errors import UserError
from rosetta.guidance.edits import WHOLE, Add, Box, Edit, Join, Paste, Remove, Shift, Zoom

WORDS = ("shift", "zoom", "copy", "paste", "join", "remove", "add")


def parse_edits(words: Sequence[tuple[str, str]]) -> tuple[Edit, ...]:
    """Edits in order.

    Parameters
    ----------
    words
        Pairs of one of :data:`WORDS` and its value.

    Raises
    ------
    UserError
        A value cannot be read, or `copy` and `paste` do not come in pairs.
    """
    edits: list[Edit] = []
    copied: Box | None = None
    what = ""
    for word, value in words:
        if (copied is not None) != (word == "paste"):
            raise UserError(
                f"--{word} {value!r}: --copy X0,Y0,X1,Y1 and --paste X,Y come in pairs, one after the other"
            )
        if word == "copy":
            copied, what = box_of(value, "--copy"), value
        elif word == "paste":
            assert copied is not None
            edits.append(Paste(copied, *_numbers(word, value, value, 2, "X,Y")))
            copied = None
        else:
            edits.append(_single(word, value))
    if copied is not None:
        raise UserError(f"--copy {what!r} has no --paste; add --paste X,Y to say where to")
    return tuple(edits)


def box_of(text: str, option: str = "--high", value: str | None = None) -> Box:
    """A box from `x0,y0,x1,y1`; errors name the option and the whole value that it stands in.

    Raises
    ------
    UserError
        The text is no box inside the image.
    """
    return Box(*_numbers(option.removeprefix("--"), value or text, text, 4, "X0,Y0,X1,Y1"))


def _single(word: str, value: str) -> Edit:
    before, at, after = value.rpartition("@") if "@" in value else (value, "", "")
    if word == "shift":
        return Shift(*_numbers(word, value, value, 2, "DX,DY"))
    if word == "zoom":
        (scale,) = _numbers(word, value, before, 1, "SCALE or SCALE@X,Y")
        return Zoom(scale, *(_numbers(word, value, after, 2, "SCALE@X,Y") if at else ()))
    if word == "join":
        axis, _, place = after.partition("=")
        if not (before and at and axis in ("x", "y")):
            raise UserError(f"--join {value!r} is not IMAGE@x=0.5 or IMAGE@y=0.5")
        return Join(before, cast(Literal["x", "y"], axis), *_numbers(word, value, place, 1, "IMAGE@x=0.5"))
    if word in ("remove", "add"):
        try:
            cluster = int(before)
        except ValueError:
            raise UserError(f"--{word} {value!r}: {before!r} is not a concept; write 12@X0,Y0,X1,Y1") from None
        if word == "add":
            if not at:
                raise UserError(f"--add {value!r} does not say where; write {before}@X0,Y0,X1,Y1")
            return Add(cluster, box_of(after, "--add", value))
        return Remove(cluster, box_of(after, "--remove", value) if at else WHOLE)
    raise UserError(f"unknown edit {word!r}; the edits are {', '.join(WORDS)}")


def _numbers(word: str, value: str, text: str, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise UserError(f"--{word} {value!r} is not {form}")
    return numbers
