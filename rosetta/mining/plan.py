"""How a pair of models is cut up so that the work stays inside the memory that a recipe grants."""

from dataclasses import dataclass

from rosetta.errors import UserError
from rosetta.units import Units


@dataclass(frozen=True)
class PairPlan:
    """A pass over all images for each band of rows; within it one task per range of images."""

    rows: int
    """Units of A in a band; a multiple of the bands that the store is written in."""
    task_images: int
    """Images that one task reads."""
    step_images: int
    """Images that are worked on at once within a task."""
    peak_bytes: int
    """What one thread holds at most."""


def plan_pair(
    units_a: Units,
    units_b: Units,
    *,
    blocks: tuple[int, int],
    itemsize: int,
    band: int,
    memory: int,
    threads: int,
) -> PairPlan:
    """Cut a pair up.

    Parameters
    ----------
    blocks
        Images in a chunk of A's store and of B's; powers of two.
    itemsize
        Bytes of a stored activation.
    band
        Rows that are written together.
    memory
        Bytes that all threads together may hold.
    threads
        Tasks that run at once.

    Raises
    ------
    UserError
        The memory does not hold the smallest piece; names what would.
    """
    share = memory // threads
    values_a = sum(layer.values for layer in units_a.layers)
    values_b = sum(layer.values for layer in units_b.layers)
    for rows in _halved(_multiple(len(units_a), band), band):
        values = values_a * min(rows, len(units_a)) / len(units_a) + values_b
        # A task's own sums, those that it is about to be added to, and their total.
        sums = 3 * 8 * min(rows, len(units_a)) * len(units_b)
        for task in (max(blocks), min(blocks)):
            raw = itemsize * task * values
            for step in _halved(min(blocks), 1):
                # float32 maps, and as much again for maps pulled back and smoothed.
                peak = int(raw + sums + 2.5 * 4 * step * values)
                if peak <= share:
                    return PairPlan(rows, task, step, peak)
    smallest = threads * peak
    raise UserError(
        f"compute.memory: {memory / 2**20:.0f} MiB is too little; this pair of models needs"
        f" {smallest / 2**20 + 1:.0f} MiB"
    )


def _multiple(count: int, of: int) -> int:
    return -(-count // of) * of


def _halved(largest: int, smallest: int) -> list[int]:
    """largest, then about half of it, … down to smallest, in multiples of smallest."""
    sizes = [largest]
    while sizes[-1] > smallest:
        sizes.append(max(smallest, sizes[-1] // 2 // smallest * smallest))
    return sizes
