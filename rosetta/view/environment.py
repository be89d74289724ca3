"""How the pages are written: one Jinja environment for all of them, and the filters that their templates use."""

import math
from functools import cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined


def _correlation(value: float | None) -> str:
    """Two decimals with a true minus; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    # Rounded first, so that a hair below zero is not written as minus zero.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _count(value: int) -> str:
    """Thousands apart."""
    return f"{value:,}"


def _counted(value: int, one: str, many: str) -> str:
    """``1 concept``, ``2 concepts``."""
    return f"{_count(value)} {one if value == 1 else many}"


def _address(path: str) -> str:
    """A relative path as an address: a colon, a hash or a question mark in a file's name stays part of the name."""
    return quote(path, safe="/")


@cache
def environment() -> Environment:
    """Templates of the pages; everything is escaped that is not marked as safe, and a missing name is an error."""
    made = Environment(
        loader=PackageLoader("rosetta.view", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(correlation=_correlation, count=_count, counted=_counted, address=_address)
    return made
