"""Stage `correlate`: two activation stores into the correlation of every unit with every unit.

Out of core: one Dask task per range of images reads its chunks and reduces them to moments; a tree of additions joins
them. Nothing of the size of a store is ever held.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dask
import numpy as np
import torch
from dask.callbacks import Callback
from dask.delayed import Delayed, delayed

from rosetta.mining.pearson import Moments, block_moments, merge_moments, pearson
from rosetta.mining.plan import PairPlan, plan_pair
from rosetta.units import Layer, Units
from storage.activations import ActivationStore
from storage.correlations import CorrelationStore
from storage.fingerprint import Fingerprint
from storage.location import Root
from tasks.progress import Advance, track
from tasks.stage import Outcome, stage

_FAN_IN = 4
"""How many partial sums one addition joins."""


@stage("correlate {a}~{b}")
def correlate(root: Root, wanted: Fingerprint, a: str, b: str, memory: int, threads: int, device: str) -> Outcome:
    """Write what is missing of a pair's correlations.

    Parameters
    ----------
    memory
        Bytes that all threads together may hold.

    Raises
    ------
    UserError
        The memory is too small for this pair.
    """
    store = CorrelationStore.open(root, a, b, wanted)
    if store is not None and store.complete:
        return "skipped"
    side_a = ActivationStore.read(root, a)
    side_b = side_a if a == b else ActivationStore.read(root, b)
    if store is None:
        store = CorrelationStore.create(root, a, b, wanted, side_a.units, side_b.units)
    plan = plan_pair(
        side_a.units,
        side_b.units,
        blocks=(side_a.block, side_b.block),
        itemsize=max(np.dtype(dtype).itemsize for side in (side_a, side_b) for dtype in side.dtypes().values()),
        band=store.band,
        memory=memory,
        threads=threads,
    )
    mean = side_a.mean(), side_b.mean()
    constant = side_a.std() == 0, side_b.std() == 0
    # Bands keep their places whatever an earlier run left: products of other shapes may round differently.
    missing = store.missing()
    bands = [
        rows
        for rows in _ranges(len(side_a.units), plan.rows)
        if any(rows.start <= band.start < rows.stop for band in missing)
    ]
    ranges = -(-side_a.images // plan.task_images)
    with track(f"correlate {a}~{b}", len(bands) * ranges) as advance, _all_torch_threads():
        for rows in bands:
            units_a = Units(tuple(layer for layer, _ in side_a.units.restrict(rows)))
            moments = _moments(side_a, side_b, rows, mean, plan, device, threads, advance)
            store.write(rows, pearson(moments, units_a, side_b.units, constant[0][rows], constant[1]))
    store.finish()
    return "done"


def _moments(
    side_a: ActivationStore,
    side_b: ActivationStore,
    rows: slice,
    mean: tuple[Any, Any],
    plan: PairPlan,
    device: str,
    threads: int,
    advance: Advance,
) -> Moments:
    """The moments of some rows over all images: a graph of reads, products and a tree of additions."""
    parts = [
        delayed(_range_moments, pure=False)(
            side_a,
            side_b,
            rows,
            mean[0][rows].astype(np.float32),
            mean[1].astype(np.float32),
            images,
            plan,
            device,
        )
        for images in _ranges(side_a.images, plan.task_images)
    ]
    read = {part.key for part in parts}
    with Callback(posttask=lambda key, *_: advance(1) if key in read else None):
        result: tuple[Moments] = dask.compute(
            _tree(parts), scheduler="threads", num_workers=threads, optimize_graph=False
        )
    return result[0]


def _tree(parts: list[Delayed]) -> Delayed:
    """Add neighbours up until one is left; the shape depends on nothing but the number of parts."""
    while len(parts) > 1:
        parts = [
            delayed(merge_moments, pure=False)(parts[start : start + _FAN_IN])
            for start in range(0, len(parts), _FAN_IN)
        ]
    return parts[0]


def _range_moments(
    side_a: ActivationStore,
    side_b: ActivationStore,
    rows: slice,
    shift_a: Any,
    shift_b: Any,
    images: slice,
    plan: PairPlan,
    device: str,
) -> Moments:
    # The graph keeps every core busy; a product that spreads over all cores as well would only make them queue.
    torch.set_num_threads(1)
    parts_a = side_a.units.restrict(rows)
    units_a = Units(tuple(layer for layer, _ in parts_a))
    maps_a = _read(side_a, images, parts_a)
    same = side_a is side_b and len(units_a) == len(side_b.units)
    maps_b = maps_a if same else _read(side_b, images, [(layer, slice(None)) for layer in side_b.units.layers])
    total: Moments | None = None
    for step in _ranges(images.stop - images.start, plan.step_images):
        now_a = {name: maps[step] for name, maps in maps_a.items()}
        now_b = now_a if same else {name: maps[step] for name, maps in maps_b.items()}
        part = block_moments(units_a, now_a, shift_a, side_b.units, now_b, shift_a if same else shift_b, device)
        total = part if total is None else total + part
    assert total is not None
    return total


def _read(side: ActivationStore, images: slice, parts: Sequence[tuple[Layer, slice]]) -> dict[str, torch.Tensor]:
    return {
        layer.name: torch.from_numpy(np.ascontiguousarray(side.maps(layer.name, images)[:, channels]))
        for layer, channels in parts
    }


@contextmanager
def _all_torch_threads() -> Iterator[None]:
    """Give torch its threads back afterwards: some of what a worker thread sets holds for the whole process."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ranges(images: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, images)) for start in range(0, images, size)]
