"""What a worker does to judge a tile of pairs: from the moments of a half of the images to what is kept of each buddy.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.mining.buddies import Neighbours, merge_neighbours, nearest_neighbours
from rosetta.mining.factors import PANEL
from rosetta.mining.moments import Moments
from rosetta.mining.plan import Tile, ranges
from rosetta.mining.trust.discoveries import Counts, p_counts
from rosetta.mining.trust.halves import first_half
from rosetta.mining.trust.judge import Panel, chance, mean_products
from rosetta.mining.trust.null import Null
from storage.artifacts.correlations import CorrelationStore
from tasks.correlate.tiles import Half, Job, halves, set_up
from tasks.trust.panel_sides import ModelProfile

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.int32]


JUDGED = ("pearson_half_1", "pearson_half_2", "pearson_centred", "p_value")
"""Columns of the table that a tile gives."""


@dataclass(frozen=True)
class Question:
    """What is asked of a pair of models."""

    unit_a: Index
    """(buddy,)"""
    unit_b: Index
    """(buddy,)"""
    neighbours: int
    """K."""
    images: int
    nulls: tuple[Null, Null]
    """Of the units of A against B, and of those of B against A."""


@dataclass(frozen=True)
class Nearest:
    """The nearest neighbours of some units in one half of the images."""

    units: npt.NDArray[np.intp]
    found: Neighbours


@dataclass(frozen=True)
class Verdict:
    """What a tile says of its pairs."""

    buddies: npt.NDArray[np.intp]
    """(buddy,) which of the question's lie in the tile."""
    values: Float64
    """(judged, buddy) in the order of :data:`JUDGED`."""
    p_counts: Counts
    """Of the p-values of all pairs of the tile."""
    near_a: tuple[Nearest, Nearest]
    """In either half: the nearest in the tile's columns of every row that has a buddy."""
    near_b: tuple[Nearest, Nearest]
    """The nearest in the tile's rows of every column that has a buddy."""


def judge_tile(job: Job, tile: Tile, question: Question, first: Moments, second: Moments | None = None) -> Verdict:
    """Judge a tile, panel by panel.

    Parameters
    ----------
    first, second
        Moments of either half of the images; the second follows from the first and the stored correlations, where
        all of these are kept.
    """
    set_up(job)
    a, b = halves(job, tile)
    profiles = ModelProfile(job.root, job.a), ModelProfile(job.root, job.b)
    matrix = CorrelationStore.read(job.root, job.a, job.b) if second is None else None
    inside = np.flatnonzero(_within(question.unit_a, tile[0]) & _within(question.unit_b, tile[1]))
    row, column = question.unit_a[inside] - tile[0].start, question.unit_b[inside] - tile[1].start
    values = np.full((len(JUDGED), len(inside)), np.nan)
    counts = p_counts(np.zeros(0, dtype=np.float32))
    near_a, near_b = (
        _Gathered(np.unique(units[_within(units, span)]), question.neighbours)
        for units, span in zip((question.unit_a, question.unit_b), tile, strict=True)
    )
    for rows in ranges(len(a.units), PANEL):
        for columns in ranges(len(b.units), PANEL):
            panel = _TilePanel(job, question, (a, b), profiles, (rows, columns))
            of_second = panel.products(second) if second is not None else None
            judged = panel.judge(panel.products(first), of_second, matrix)
            counts += p_counts(judged[-1])
            here = np.flatnonzero(_within(row, rows) & _within(column, columns))
            place = row[here] - rows.start, column[here] - columns.start
            for target, source in zip(values, judged, strict=True):
                target[here] = source[place]
            origin = tile[0].start + rows.start, tile[1].start + columns.start
            for half, pearson in enumerate(judged[:2]):
                near_a.add(half, pearson, origin[0], origin[1])
                near_b.add(half, np.ascontiguousarray(pearson.T), origin[1], origin[0])
    return Verdict(inside, values, counts, near_a.nearest(), near_b.nearest())


def _within(index: npt.NDArray[Any], span: slice) -> npt.NDArray[np.bool_]:
    return (index >= span.start) & (index < span.stop)


@dataclass(frozen=True)
class _Gathered:
    """Nearest neighbours of some units of one side, gathered panel by panel."""

    units: npt.NDArray[Any]
    k: int
    parts: tuple[dict[int, list[Neighbours]], dict[int, list[Neighbours]]] = field(default_factory=lambda: ({}, {}))
    """In either half, by the first unit of a panel: its parts by rising index of the other side."""

    def add(self, half: int, pearson: Float32, first_row: int, first_column: int) -> None:
        rows = self.units[_within(self.units, slice(first_row, first_row + len(pearson)))] - first_row
        found = nearest_neighbours(pearson[rows], self.k, first_column=first_column)
        self.parts[half].setdefault(first_row, []).append(found)

    def nearest(self) -> tuple[Nearest, Nearest]:
        first, second = (
            Nearest(self.units, _stacked([merge_neighbours(part, self.k) for part in parts.values()], self.k))
            for parts in self.parts
        )
        return first, second


def _stacked(parts: Sequence[Neighbours], k: int) -> Neighbours:
    if not parts:
        return Neighbours(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
    return Neighbours(np.concatenate([part.unit for part in parts]), np.concatenate([part.pearson for part in parts]))


@dataclass(frozen=True)
class _TilePanel:
    """One panel of a tile."""

    job: Job
    question: Question
    halves: tuple[Half, Half]
    """The tile's sides."""
    profiles: tuple[ModelProfile, ModelProfile]
    spans: tuple[slice, slice]
    """Rows and columns, counted from the tile's first."""

    def products(self, moments: Moments) -> Float64:
        """(row, column) mean products over a half of the images."""
        a, b = self.halves
        return mean_products(moments, a.units, b.units, a.std, b.std, *self.spans)

    def sides(self) -> Panel:
        units = [half.side.store.units.cut(place) for half, place in zip(self.halves, self.places, strict=True)]
        a, b = (
            profile.side(place, half.std[span], other.grids())
            for profile, half, place, span, other in zip(
                self.profiles, self.halves, self.places, self.spans, units[::-1], strict=True
            )
        )
        return Panel(a, b)

    def judge(self, first: Float64, second: Float64 | None, matrix: CorrelationStore | None) -> tuple[Float32, ...]:
        """(row, column) each of :data:`JUDGED`."""
        panel = self.sides()
        share = float(first_half(self.question.images).mean())
        if second is None:
            assert matrix is not None, "one of the two gives the second half"
            pearson = matrix.part(*self.places)
            second = (panel.products(pearson) - share * first) / (1.0 - share)
        else:
            pearson = panel.pearson(share * first + (1.0 - share) * second)
        half_1, half_2 = (panel.pearson(products, half) for half, products in enumerate((first, second)))
        judged = chance(pearson, panel, self.question.images)
        p_value = self._p_values(judged.deviation)
        if self.job.a == self.job.b:
            for array in (half_1, half_2, p_value):
                self._forget_own(array)
        return half_1, half_2, judged.centred, p_value

    @property
    def places(self) -> tuple[slice, slice]:
        """Units of either model."""
        rows, columns = (
            slice(half.span.start + span.start, half.span.start + span.stop)
            for half, span in zip(self.halves, self.spans, strict=True)
        )
        return rows, columns

    def _p_values(self, deviation: Float32) -> Float32:
        """(row, column) by the more cautious of both units' nulls."""
        rows, columns = self.places
        of_a = self.question.nulls[0].of(rows).p_values(deviation)
        of_b = self.question.nulls[1].of(columns).p_values(np.ascontiguousarray(deviation.T))
        return np.maximum(of_a, of_b.T)

    def _forget_own(self, array: Float32) -> None:
        """A unit is not its own neighbour, and could not have been chosen."""
        rows, columns = self.places
        own = np.arange(max(rows.start, columns.start), min(rows.stop, columns.stop))
        array[own - rows.start, own - columns.start] = np.nan
