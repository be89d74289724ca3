"""How a rank correlation is cut up: ranks are over all images at once, so only units are cut, panel by panel."""

from rosetta.mining.factors import PANEL
from rosetta.mining.grid import common_grid
from rosetta.mining.plan import Method, PairPlan, Side, operations, ranges, too_little
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
    stored = sum(
        max(side.read_bytes(panel.layers, step) for panel in panels) for side, panels in ((a, panels_a), (b, panels_b))
    )
    needs = {
        Method.EXACT: stored + max(exact_bytes(*pair, a.images) for pair in pairs),
        Method.SKETCHED: stored + max(sketched_bytes(*pair, step) for pair in pairs),
    }
    for method, need in needs.items():
        at_once = min(threads, memory // need) if fewer else threads
        if at_once and at_once * need <= memory:
            read = sum(_bytes_read(a, one, two, method) + _bytes_read(b, two, one, method) for one, two in pairs)
            return PairPlan(
                (len(a.units), len(b.units)),
                a.images,
                min(PANEL, len(a.units)),
                min(PANEL, len(b.units)),
                a.images,
                step,
                at_once,
                read,
                operations(a, b, common_grid),  # the ranking comes on top
                at_once * need,
                method,
            )
    raise too_little(memory, needs[Method.SKETCHED] * (1 if fewer else threads), f"ranking {pair}")


def _bytes_read(side: Side, panel: Units, other: Units, method: Method) -> int:
    """Bytes of the chunks that are read of one panel to meet one panel of the other model.

    Ranking reads a layer once for each common grid. Sketching reads it twice for that, to sample and to count, and once
    more for the products with each grid of the other side.
    """
    total = 0
    for layer in panel.layers:
        commons = {common_grid(layer.grid, grid) for grid in other.grids()}
        times = 2 * len(commons) + len(other.grids()) if method is Method.SKETCHED else len(commons)
        total += times * side.stored(layer)
    return side.images * total
