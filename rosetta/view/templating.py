"""How the pages are written: one Jinja environment for all of them, and the filters that their templates use."""

from functools import cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from rosetta.view.numbers import correlation, count, counted, knob


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
    made.filters.update(correlation=correlation, knob=knob, count=count, counted=counted, address=_address)
    return made
