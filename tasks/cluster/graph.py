"""The shape that the work of a tile has: parts over ranges of images, added up in a tree, and a last step."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from dask.delayed import Delayed, delayed

from rosetta.mining.moments import merge_moments
from tasks.cluster.engine import PART


@dataclass(frozen=True)
class TileGraph:
    """The work of one tile."""

    parts: list[Delayed]
    """What counts as progress."""
    last: Delayed
    """Ends the tile."""


def part(work: Callable[..., object], *arguments: object) -> Delayed:
    """A task that counts as progress."""
    return delayed(work, pure=False)(*arguments, dask_key_name=f"{PART}-{uuid4().hex}")


def summed(parts: list[Delayed]) -> Delayed:
    """Moments added up, neighbours first, until one is left; the tree depends on nothing but their number."""
    level = parts
    while len(level) > 1:
        level = [
            delayed(merge_moments, pure=False)(level[start : start + 2]) if start + 1 < len(level) else level[start]
            for start in range(0, len(level), 2)
        ]
    return level[0]
