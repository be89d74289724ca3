"""How a rank correlation is cut up: ranks are over all images at once, so only units are cut, panel by panel."""

from rosetta.errors import UserError
from rosetta.mining.factors import PANEL
from rosetta.mining.grid import common_grid
from rosetta.mining.plan import PairPlan, Side, ranges
from rosetta.mining.spearman import exact_bytes, sketched_bytes
from rosetta.units import Units

STEP_IMAGES = 16
"""Images that are read at once."""
_PASSES = {"spearman, exact": 1, "spearman, sketched": 3}
"""How often each way goes through the maps of a panel: sketches take a sample, count, and multiply."""


def plan_ranks(
    a: Side, b: Side, *, memory: int, threads: int, workers: int = 1, fewer: bool = False, pair: str = "the pair"
) -> PairPlan:
    """Cut a pair up for :mod:`rosetta.mining.spearman`: exact where all values of two panels fit, else by sketches.

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
    read = sum(_stored(side) for side in (a, b))
    needs = {
        "spearman, exact": read + max(exact_bytes(*pair, a.images) for pair in pairs),
        "spearman, sketched": read + max(sketched_bytes(*pair, STEP_IMAGES) for pair in pairs),
    }
    for way, need in needs.items():
        at_once = min(threads, memory // need) if fewer else threads
        if at_once and at_once * need <= memory:
            # Every panel of A is read for each panel of B, and the other way round.
            read_a, read_b = (
                times * sum(_bytes(side, panel) for panel in panels)
                for side, panels, times in ((a, panels_a, len(panels_b)), (b, panels_b, len(panels_a)))
            )
            return PairPlan(
                (len(a.units), len(b.units)),
                a.images,
                min(PANEL, len(a.units)),
                min(PANEL, len(b.units)),
                a.images,
                STEP_IMAGES,
                at_once,
                _PASSES[way] * (read_a + read_b),
                _operations(a, b),
                at_once * need,
                way,
            )
    smallest = needs["spearman, sketched"] * (1 if fewer else threads)
    raise UserError(
        f"compute.memory: {memory // 2**20} MiB is too little; ranking {pair} needs at least"
        f" {smallest // 2**20 + 1} MiB"
    )


def _stored(side: Side) -> int:
    """Bytes of a panel's maps as stored, with the chunks that are being decoded."""
    images = max(STEP_IMAGES, side.block)
    most = max(
        sum(layer.values * side.itemsizes[layer.name] for layer, _ in side.units.restrict(span))
        for span in ranges(len(side.units), PANEL)
    )
    chunk = side.block * max(layer.values * side.itemsizes[layer.name] for layer in side.units.layers)
    return images * most + 2 * chunk * min(10, images // side.block)


def _bytes(side: Side, panel: Units) -> int:
    """Bytes of all chunks that hold something of a panel."""
    whole = {layer.name: layer.values * side.itemsizes[layer.name] for layer in side.units.layers}
    return side.images * sum(whole[layer.name] for layer in panel.layers)


def _operations(a: Side, b: Side) -> int:
    """2 × units × units × positions of the common grid × images; the ranking comes on top."""
    total = 0
    for one in a.units.layers:
        for other in b.units.layers:
            height, width = common_grid(one.grid, other.grid)
            total += one.channels * other.channels * height * width
    return 2 * a.images * total
