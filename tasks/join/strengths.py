"""Stage `strengths`: correlations of two generators with each pivot into the strengths between them, tile by tile."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from dask.system import cpu_count

from rosetta.mining.factors import PANEL
from rosetta.mining.join.chance import exchanged
from rosetta.mining.join.max_min import pivot_spans, raise_to_max_min
from rosetta.mining.plan import ranges
from storage.artifacts import seals
from storage.artifacts.blocks import block_slice
from storage.artifacts.joined import StrengthStore, mean_strength
from storage.artifacts.layout import stored_attributes
from storage.artifacts.nearest import Band
from tasks.join.inputs import Float32, JoinPlan
from tasks.stage.progress import track
from tasks.stage.stage import Outcome

Order = npt.NDArray[np.intp]


def write_strengths(plan: JoinPlan, other: int, replace: bool) -> Outcome:
    """`strengths/<a>~<b>.zarr`; goes on with the tiles that are missing."""
    made = plan.strengths_fingerprint(other)
    sides = [(plan.names[run], plan.units(run)) for run in (0, other)]
    names = [name for name, _ in sides]
    path = StrengthStore.path(*names)
    if replace and (stored_attributes(plan.root, path) or {}).get("fingerprint") != made.digest:
        seals.discard(plan.root, path)
    store = StrengthStore.open(plan.root, made, *names)
    if store is None:
        pivots, controls = zip(*((pivot.name, pivot.control) for pivot in plan.pivots), strict=True)
        store = StrengthStore.create(plan.root, sides, pivots, controls, made)
    if store.complete:
        return "skipped"
    missing = [tuple(map(int, entry)) for entry in np.argwhere(~store.written())]

    def work(entry: tuple[int, ...]) -> None:
        pivot, row, column = entry
        rows, columns = (block_slice(own, PANEL, units) for own, units in zip((row, column), store.units, strict=True))
        store.write(pivot, (row, column), strength(plan, other, pivot, rows, columns))
        advance(1)

    with track(f"strengths {'~'.join(names)}", len(missing)) as advance, ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(work, missing))
    store.finish()
    return "done"


def strength(
    plan: JoinPlan, other: int, pivot: int, rows: slice, columns: slice, order: Order | None = None
) -> Float32:
    """(row, column) strengths of some units of two generators through a pivot; NaN where nothing links them.

    Parameters
    ----------
    order
        (pivot unit,) the unit that stands in the place of each on the side of the second generator, of its own layer.
    """
    best = np.full((rows.stop - rows.start, columns.stop - columns.start), -np.inf, np.float32)
    a, b = plan.correlated(0, pivot), plan.correlated(other, pivot)
    for span in pivot_spans(plan.pivots[pivot].units):
        right = b.part(columns, span)
        if order is not None:
            right = right[:, order[span] - span.start]
        raise_to_max_min(best, a.part(rows, span), np.ascontiguousarray(right.T))
    return np.where(np.isneginf(best), np.float32(np.nan), best)


def orders_of(plan: JoinPlan, other: int, number: int) -> dict[int, Order]:
    """By pivot that is no control: the unit that stands in the place of each in one exchange, counted from 1."""
    seed = plan.settings.seed
    return {pivot: exchanged(plan.pivots[pivot].units, (seed, number, pivot, other)) for pivot in plan.trained}


def exchanged_bands(plan: JoinPlan, other: int, orders: Mapping[int, Order]) -> Iterator[Band]:
    """Whole rows of the strengths with the units of every pivot exchanged."""
    columns = ranges(len(plan.units(other)), PANEL)
    with ThreadPoolExecutor(cpu_count()) as pool:
        for rows in ranges(len(plan.units(0)), PANEL):
            yield rows, mean_strength([_row(pool, plan, other, rows, columns, one, orders[one]) for one in orders])


def _row(
    pool: ThreadPoolExecutor,
    plan: JoinPlan,
    other: int,
    rows: slice,
    columns: Sequence[slice],
    pivot: int,
    order: Order,
) -> Float32:
    parts = pool.map(lambda some: strength(plan, other, pivot, rows, some, order), columns)
    return np.concatenate(list(parts), axis=1)
