"""Prompts of a generator: the lines of a file, or texts of a recipe."""

import hashlib
from collections.abc import Sequence
from typing import Any

import fsspec

from rosetta.fields import valid_url

_MOST = 1 << 24
"""Bytes of a file of prompts."""


def read_prompts(place: str) -> tuple[str, ...]:
    """The lines of a text file, one prompt each.

    Parameters
    ----------
    place
        A path or fsspec URL of UTF-8 text.

    Raises
    ------
    ValueError
        It cannot be read, is empty, is no text, or one of its lines is blank.
    """
    url = valid_url(place)
    try:
        with fsspec.open(url, "rb") as file:
            content = file.read(_MOST + 1)
    except FileNotFoundError:
        raise ValueError(
            f"{place!r}: no such file; correct the path, or list the prompts themselves, as [{place!r}]"
        ) from None
    except Exception as error:  # every backend has its own
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ValueError(f"{place!r} cannot be read: {reason}") from None
    if len(content) > _MOST:
        raise ValueError(f"{place!r} has more than {_MOST >> 20} MiB; a prompt is one line of text")
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place!r} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if lines[-1] == "":
        lines.pop()  # what follows the last line's end
    if not lines:
        raise ValueError(f"{place!r} is empty; write one prompt on each line")
    blank = next((number for number, line in enumerate(lines, 1) if not line.strip()), None)
    if blank is not None:
        raise ValueError(f"{place!r}: line {blank} is blank; remove it, or write a prompt there")
    return tuple(line.strip() for line in lines)


def given(value: Any) -> Any:
    """What a recipe gives for prompts, with the lines of the file that it may name.

    Raises
    ------
    ValueError
        As :func:`read_prompts`; or a listed prompt is blank.
    """
    if isinstance(value, str):
        return read_prompts(value)
    if isinstance(value, list | tuple) and any(isinstance(one, str) and not one.strip() for one in value):
        raise ValueError("one of the prompts is blank; remove it")
    return value


def digest(prompts: Sequence[str]) -> str:
    """SHA-256 of the prompts in their order, wherever they were read from."""
    return hashlib.sha256("".join(f"{prompt}\n" for prompt in prompts).encode()).hexdigest()
