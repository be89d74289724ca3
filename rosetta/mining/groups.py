"""Pairs that are correlated together, so that the maps of each model are read once for all of them.

A *group* is some whole pairs whose sums fit into memory at once. A task of a group reads each block of each model,
brings it onto the grids of all its partners, and adds to the sums of every pair. A pair that does not fit whole stands
alone and is cut into tiles (:mod:`rosetta.mining.plan`).

Pairs of one group take the same steps and the same ranges of images. These follow from the shapes of a pair alone, so
nothing that comes out depends on which pairs share a group.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from rosetta.mining.factors import PANEL
from rosetta.mining.plan import (
    Cuts,
    PairPlan,
    Side,
    plan_pair,
    ranges,
    scratch_values,
    side_factor_values,
    sums_bytes,
)
from rosetta.units import Grid, Units

Pair = tuple[str, str]
"""Names of two models."""


@dataclass(frozen=True)
class Group:
    """Pairs that share every reading of their models' maps."""

    pairs: tuple[Pair, ...]
    plans: tuple[PairPlan, ...]
    """Of each pair; several pairs are one tile each. What they read is what they add to what those before them read,
    and what a worker holds is that of the whole group."""

    @property
    def first(self) -> PairPlan:
        """Has all that the plans of a group have in common: images, ranges, steps, threads and bytes of a worker."""
        return self.plans[0]


def plan_groups(
    sides: Mapping[str, Side],
    pairs: Sequence[Pair],
    *,
    memory: int,
    threads: int,
    workers: int = 1,
    fewer: bool = False,
    ahead: int = 0,
) -> list[Group]:
    """Put pairs into groups so that as few bytes are read as the memory allows, in the order of the pairs.

    Parameters
    ----------
    sides
        By model.
    memory, threads, workers, fewer, ahead
        As for :func:`rosetta.mining.plan.plan_pair`; groups are kept small enough to give all workers work.

    Raises
    ------
    UserError
        The memory does not hold the smallest tile of a pair; names what would.
    """
    cuts = {(a, b): Cuts(sides[a], sides[b], ahead) for a, b in pairs}
    alike: dict[tuple[int, int], list[Pair]] = {}
    for pair, cut in cuts.items():
        alike.setdefault((cut.step, cut.range_images), []).append(pair)

    def together(of: Sequence[Pair], at_once: int = threads) -> Group:
        wholes = [cuts[pair].whole(at_once) for pair in of]
        peak = _peak(sides, of, wholes[0], ahead)
        read = _bytes_added(sides, of)
        return Group(
            tuple(of),
            tuple(replace(plan, bytes_read=more, peak_bytes=peak) for plan, more in zip(wholes, read, strict=True)),
        )

    def alone(pair: Pair) -> Group:
        plan = plan_pair(
            *(sides[model] for model in pair),
            memory=memory,
            threads=threads,
            workers=ceil(workers / len(pairs)),
            fewer=fewer,
            ahead=ahead,
            pair="~".join(pair),
        )
        # A model with itself is read once, as long as it is not cut.
        return together([pair], plan.threads) if len(set(pair)) == len(plan.tiles) == 1 else Group((pair,), (plan,))

    groups = []
    for of_kind in alike.values():
        least = ceil(workers * threads / cuts[of_kind[0]].range_count)
        most = ceil(len(of_kind) / min(least, len(of_kind)))
        found = _filled(of_kind, most, lambda some: together(some).first.peak_bytes <= memory)
        groups += [together(some) if len(some) > 1 else alone(some[0]) for some in found]
    return groups


def _filled(pairs: Sequence[Pair], most: int, fits: Callable[[Sequence[Pair]], bool]) -> Iterator[list[Pair]]:
    """Pairs in their order, as many together as fit, and at most so many."""
    some: list[Pair] = []
    for pair in pairs:
        if some and (len(some) == most or not fits([*some, pair])):
            yield some
            some = []
        some.append(pair)
    yield some


def met_grids(units: Mapping[str, Units], pairs: Sequence[Pair]) -> dict[str, tuple[Grid, ...]]:
    """By model: the distinct grids of all that it is correlated with."""
    met: dict[str, dict[Grid, None]] = {}
    for a, b in pairs:
        for one, other in ((a, b), (b, a)):
            met.setdefault(one, {}).update(dict.fromkeys(units[other].grids()))
    return {model: tuple(grids) for model, grids in met.items()}


def _bytes_added(sides: Mapping[str, Side], pairs: Sequence[Pair]) -> Iterator[int]:
    """Of each pair, the bytes of its models' maps that no pair before it reads."""
    seen: set[str] = set()
    for pair in pairs:
        yield sum(sides[model].images * sides[model].image_bytes for model in set(pair) - seen)
        seen.update(pair)


def _peak(sides: Mapping[str, Side], pairs: Sequence[Pair], plan: PairPlan, ahead: int) -> int:
    """Bytes of one worker, as of :class:`rosetta.mining.plan.Cuts`."""
    stored = factors = scratch = 0
    for model, grids in met_grids({name: side.units for name, side in sides.items()}, pairs).items():
        side = sides[model]
        stored += side.read_bytes(side.units.layers, max(plan.step_images, side.block), ahead)
        panels = [side.units.cut(span).layers for span in ranges(len(side.units), PANEL)]
        factors += 4 * plan.step_images * sum(side_factor_values(side, panel, grids) for panel in panels)
        most = max(sum(scratch_values(layer, grids) for layer in panel) for panel in panels)
        if side.sparse:  # a panel made dense, and one that stands upright
            most += 2 * side.panel_values
        scratch = max(scratch, 4 * plan.step_images * most + 4 * PANEL * PANEL)
    units = sum(len(sides[a].units) * len(sides[b].units) for a, b in pairs)
    sums = sums_bytes(units, plan.threads, len(plan.image_ranges))
    return plan.threads * (stored + factors + scratch) + sums
