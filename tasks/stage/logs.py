"""What every line of the log is about: run, stage, model, range of images; as words for people or as JSON."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from pythonjsonlogger.json import JsonFormatter

from rosetta.errors import UserError

VARIABLE = "ROSETTA_LOG"
"""Of the environment: `plain` or `json`."""

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Lines in this context are about this, beside what they are about already."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def wants_json() -> bool:
    """Whether the log is to be JSON lines.

    Raises
    ------
    UserError
        The variable says neither.
    """
    asked = os.environ.get(VARIABLE, "").strip().lower() or "plain"
    if asked not in ("plain", "json"):
        raise UserError(f"{VARIABLE}={asked}: there are plain lines and json; set it to one of these")
    return asked == "json"


class AboutFilter(logging.Filter):
    """Gives each record the fields of the context that it was made in."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See :meth:`logging.Filter.filter`; keeps every record."""
        for name, value in _about.get().items():
            setattr(record, name, value)
        return True


def formatter() -> logging.Formatter:
    """Of the log: one JSON object a line with `time`, `level`, `message` and the fields, or the message alone."""
    if not wants_json():
        return logging.Formatter("%(message)s")
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level"},
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
