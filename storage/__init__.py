"""The artifacts of a run, at any fsspec URL: schema, open, create, verify; and a finished run to look at."""

from os import PathLike
from typing import TYPE_CHECKING

from rosetta.errors import UserError

if TYPE_CHECKING:
    from storage.run.run import Run

__all__ = ["UserError", "open_run"]


def open_run(url: "str | PathLike[str]") -> "Run":
    """A finished run to look at, from its stores alone; nothing is written, and no model is loaded.

    Parameters
    ----------
    url
        The root of the run: a path or any fsspec URL.

    Raises
    ------
    UserError
        There is no run, or it is not finished.
    """
    from storage.run.run import Run

    return Run.open(url)
