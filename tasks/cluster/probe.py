"""What a worker of a cluster is asked before it gets work. It imports nothing that the worker might lack."""

import importlib
from typing import TypedDict

NEEDED = ("torch", "zarr", "rosetta.mining.moments", "tasks.correlate.tiles", "tasks.dump.worker")


class Probe(TypedDict):
    """What a worker answers."""

    lacks: str | None
    """The first package that it cannot import."""
    sees_root: bool
    """Whether the run's root is there for it, too; True where none was asked for."""


def probe(root: str | None) -> Probe:
    """Look at the worker that this runs on.

    Parameters
    ----------
    root
        Root of a run, or None.
    """
    for module in NEEDED:
        try:
            importlib.import_module(module)
        except ImportError as error:
            return {"lacks": (error.name or module).partition(".")[0], "sees_root": False}
    from storage.artifacts.catalogue import RECIPE
    from storage.filesystem.root import Root

    return {"lacks": None, "sees_root": root is None or Root(root).exists(RECIPE.path())}


def retried() -> int:
    """Number of requests to object stores that this worker has retried so far."""
    from storage.filesystem.s3 import retries

    return retries.count
