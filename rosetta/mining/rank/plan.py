"""How a rank correlation is cut up: ranks are over all images at once, so only units are cut, panel by panel."""

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL
from rosetta.mining.grid import common_grid
from rosetta.mining.plan import DECODED_AT_ONCE, PairPlan, Side, ranges
from rosetta.mining.rank.spearman import exact_bytes, sketched_bytes
from rosetta.units import Units


def plan_ranks(
    a: Side, b: Side, *, memory: int, threads: int, workers: int = 1, fewer: bool = False, pair: str = "the pair"
) -> PairPlan:
    """Cut a pair up for :mod:`rosetta.mining.rank.spearman`: exact where all values of two panels fit, else by
    sketches.

    Parameters
    ----------
    memory, threads, workers, fewer, pair
        As for :func:`rosetta.mining.plan.plan_pair`; workers change nothing here.

    Raises
    ------
    UserError
        The memory does not even hold the sketches of two panels; names what would.
    """
    panels_a, panels_b = ([side.units.cut(span) for span in ranges(len(side.units), PANEL)] for side in (a, b))
    pairs = [(panel_a, panel_b) for panel_a in panels_a for panel_b in panels_b]
    # Whole chunks of both, so that none is decoded twice in one go.
    step = max(a.block, b.block)
    stored = sum(_stored(side, step) for side in (a, b))
    needs = {
        "spearman, exact": stored + max(exact_bytes(*pair, a.images) for pair in pairs),
        "spearman, sketched": stored + max(sketched_bytes(*pair, step) for pair in pairs),
    }
    for way, need in needs.items():
        at_once = min(threads, memory // need) if fewer else threads
        if at_once and at_once * need <= memory:
            sketched = way == "spearman, sketched"
            read = sum(_bytes_read(a, one, two, sketched) + _bytes_read(b, two, one, sketched) for one, two in pairs)
            return PairPlan(
                (len(a.units), len(b.units)),
                a.images,
                min(PANEL, len(a.units)),
                min(PANEL, len(b.units)),
                a.images,
                step,
                at_once,
                read,
                _operations(a, b),
                at_once * need,
                way,
            )
    smallest = needs["spearman, sketched"] * (1 if fewer else threads)
    raise UserError(
        f"compute.memory: {memory // 2**20} MiB is too little; ranking {pair} needs at least"
        f" {smallest // 2**20 + 1} MiB"
    )


def _stored(side: Side, images: int) -> int:
    """Bytes of a panel's maps as stored, with the chunks that are being decoded."""
    most = max(
        sum(layer.values * side.itemsizes[layer.name] for layer, _ in side.units.restrict(span))
        for span in ranges(len(side.units), PANEL)
    )
    chunk = side.block * max(layer.values * side.itemsizes[layer.name] for layer in side.units.layers)
    return images * most + 2 * chunk * min(DECODED_AT_ONCE, images // side.block)


def _bytes_read(side: Side, panel: Units, other: Units, sketched: bool) -> int:
    """Bytes of the chunks that are read of one panel to meet one panel of the other model.

    Ranking reads a layer once for each common grid. Sketching reads it twice for that, to sample and to count, and once
    more for the products with each grid of the other side.
    """
    whole = {layer.name: layer.values * side.itemsizes[layer.name] for layer in side.units.layers}
    total = 0
    for layer in panel.layers:
        commons = {common_grid(layer.grid, grid) for grid in other.grids()}
        times = 2 * len(commons) + len(other.grids()) if sketched else len(commons)
        total += times * whole[layer.name]
    return side.images * total


def _operations(a: Side, b: Side) -> int:
    """2 × units × units × positions of the common grid × images; the ranking comes on top."""
    total = 0
    for one in a.units.layers:
        for other in b.units.layers:
            height, width = common_grid(one.grid, other.grid)
            total += one.channels * other.channels * height * width
    return 2 * a.images * total
