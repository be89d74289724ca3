"""Braces in the names of shards, as shells and WebDataset write them: `{000..127}.tar`, `{train,val}/*.parquet`."""

import re
from collections.abc import Iterator

_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
_MOST = 100_000


def expanded(text: str) -> list[str]:
    """All texts that a text with braces stands for; only itself where it has none.

    Raises
    ------
    ValueError
        They are more than 100,000.
    """
    found: list[str] = []
    for one in _expanded(text):
        found.append(one)
        if len(found) > _MOST:
            raise ValueError(f"its braces name more than {_MOST:,} files")
    return found


def _expanded(text: str) -> Iterator[str]:
    braces = _BRACES.search(text)
    if braces is None:
        yield text
        return
    for choice in _choices(*braces.groups()):
        yield from _expanded(text[: braces.start()] + choice + text[braces.end() :])


def _choices(first: str | None, last: str | None, choices: str | None) -> Iterator[str]:
    if first is None or last is None:
        yield from (choices or "").split(",")
        return
    digits = max(len(first), len(last)) if "0" in (first[0], last[0]) else 1
    low, high = int(first), int(last)
    for number in range(low, high + 1) if low <= high else range(low, high - 1, -1):
        yield f"{number:0{digits}}"
