"""Which matches are examined together: as few groups as keep every core busy, or as the memory asks for."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil

import numpy as np

from rosetta.errors import UserError
from rosetta.mining.grid import product_grid
from rosetta.mining.trust.examine import FEW, MOST_CLASSES
from rosetta.units import Layer
from tasks.cluster.engine import Capacity
from tasks.trust.examine_worker import Block, LayerKey, Question

_PRODUCT_COST = 2
"""Of a product of two positions, in values that are decoded, measured."""
_KEPT_FREE = 8
"""The C library keeps one part in so many of what was freed, measured."""
_BEYOND = 16 * 2**20
"""Bytes of products that stay close to the processor, and of what is around all of that."""


def in_groups(
    blocks: Sequence[Block],
    images: int,
    chunks: Mapping[str, int],
    question: Question,
    memory: int,
    where: Capacity,
) -> tuple[list[list[Block]], int]:
    """Cut blocks into groups of neighbours, and say how many groups a worker examines at once.

    Parameters
    ----------
    blocks
        In an order in which neighbours share layers.
    images
        Of each map.
    chunks
        By model: images in a chunk of its store.
    memory
        Bytes that one worker may hold beyond what it holds when idle.

    Raises
    ------
    UserError
        The memory does not hold the largest block.
    """
    if not blocks:
        return [], 1
    classes = 0 if question.classes is None else min(MOST_CLASSES, int(question.classes.max(initial=-1)) + 1)
    sums = {block: _sums_bytes(block, images, classes, question.resamples) for block in blocks}
    steps = {block: _step_bytes(block, images, chunks) for block in blocks}
    costs = _costs(blocks, images)

    def peak(group: Sequence[Block]) -> int:
        passing = max(steps[block] for block in group)
        held = sum(sums[block] for block in group) + passing + _read_bytes(group, chunks)
        return held + held // _KEPT_FREE + _BEYOND

    fitting = []
    least = 1 if where.fewer else where.threads
    for at_once in range(where.threads, least - 1, -1):
        for count in _counts(min(at_once * where.workers, len(blocks)), len(blocks)):
            groups = _cut(blocks, costs, count)
            if min(at_once, count) * max(map(peak, groups)) <= memory:
                fitting.append((groups, at_once))
                break
    if fitting:  # more at once may be so many more groups that layers are read too often
        return min(fitting, key=lambda found: sum(_read_bytes(group, chunks) for group in found[0]) / found[1])
    largest = max(blocks, key=lambda block: peak([block]))
    a, b = (f"{layer} of {model}" for model, layer in largest.keys)
    raise UserError(
        f"compute.memory: {memory >> 20} MiB is too little; examining matches of layer {a} with layer {b} needs at"
        f" least {(least * peak([largest]) >> 20) + 1} MiB; or leave them out with trust.leave_out = ['maps']"
    )


def _counts(least: int, most: int) -> Iterator[int]:
    """Numbers of groups to try, in steps of an eighth."""
    while least < most:
        yield least
        least += ceil(least / 8)
    yield most


def _costs(blocks: Sequence[Block], images: int) -> list[int]:
    """The work of each block: values that are decoded for it and not for those before it, and the products it takes."""
    seen: set[LayerKey] = set()
    costs = []
    for block in blocks:
        cost = 0
        for key, layer, units in zip(block.keys, block.layers, block.distinct, strict=True):
            cost += _positions(layer) * (2 * units + (layer.channels if key not in seen else 0))
            seen.add(key)
        height, width = product_grid(*(layer.grid for layer in block.layers))
        costs.append(images * (cost + _PRODUCT_COST * height * width * block.matches))
    return costs


def _cut(blocks: Sequence[Block], costs: Sequence[int], count: int) -> list[list[Block]]:
    """So many groups of neighbours, of about the same work; or fewer, where one block is most of it."""
    ends = np.cumsum(costs)
    place = np.minimum((ends - np.array(costs) / 2) * count // ends[-1], count - 1).astype(int)
    groups: dict[int, list[Block]] = {}
    for block, group in zip(blocks, place.tolist(), strict=True):
        groups.setdefault(group, []).append(block)
    return list(groups.values())


def _positions(layer: Layer) -> int:
    return layer.grid[0] * layer.grid[1]


def _sums_bytes(block: Block, images: int, classes: int, resamples: int) -> int:
    """What is held of a block until all images have passed by, and when its table is made."""
    pairs, units = block.matches, block.distinct
    height, width = product_grid(*(layer.grid for layer in block.layers))
    sums = 4 * images * (pairs + 2 * sum(units))
    largest = 16 * pairs * ceil(FEW * images * height * width)
    of_classes = sum(4 * (classes + 1) * n * _positions(layer) for n, layer in zip(units, block.layers, strict=True))
    return sums + largest + (of_classes if classes else 0) + 4 * resamples * pairs


def _step_bytes(block: Block, images: int, chunks: Mapping[str, int]) -> int:
    """What passes: maps of a step, chosen, clipped and on the product grid; in the end sums class by class."""
    step = min(chunks[model] for model in block.pair)
    maps = sum(n * _positions(layer) for n, layer in zip(block.distinct, block.layers, strict=True))
    return max(5 * 4 * step * maps, 2 * 4 * images * max(block.matches, 2 * max(block.distinct)))


def _read_bytes(group: Sequence[Block], chunks: Mapping[str, int]) -> int:
    """A chunk of each layer."""
    layers = {key: layer for block in group for key, layer in zip(block.keys, block.layers, strict=True)}
    return sum(4 * chunks[model] * layer.values for (model, _), layer in layers.items())
