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
from rosetta.mining.groups import Pair
from rosetta.mining.moments import Moments
from rosetta.mining.plan import ranges
from rosetta.mining.trust.discoveries import Counts, p_counts
from rosetta.mining.trust.judge import Panel, chance, mean_products
from rosetta.mining.trust.null import Null
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.nearest import pair_store
from storage.artifacts.neighbours import NeighbourStore
from storage.filesystem.root import Root
from tasks.cluster.engine import part_done
from tasks.correlate.reading import Job, PairTile, TileSide, sides_of
from tasks.correlate.tiles import Halved, set_up
from tasks.trust.panel_sides import ModelProfile, model_profile

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
    profiles: tuple[str, str]
    """Fingerprints of both models' profiles."""


def profiles_of(root: Root, pair: Pair, question: Question) -> tuple[ModelProfile, ModelProfile]:
    """Both models' profiles."""
    a, b = (model_profile(root, model, digest) for model, digest in zip(pair, question.profiles, strict=True))
    return a, b


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


def judge_strip(job: Job, tile: PairTile, question: Question, nulls: tuple[Null, Null]) -> Verdict:
    """Judge a tile whose correlations are kept, of all images and of the first half; a task that counts as progress."""
    verdict = judge(job, tile, question, nulls, None)
    part_done()
    return verdict


def judge(job: Job, tile: PairTile, question: Question, nulls: tuple[Null, Null], halved: Halved | None) -> Verdict:
    """Judge a tile, part of a panel by part of a panel.

    Parameters
    ----------
    nulls
        Of the tile's units of A against B, and of those of B against A.
    halved
        Moments of either half of the images. The second half follows from the first where all correlations are kept,
        and nothing is needed where these are kept of the first half, too.
    """
    set_up(job)
    a, b = sides_of(job, tile)
    profiles = profiles_of(job.root, (tile.a, tile.b), question)
    store = pair_store(job.root, tile.a, tile.b)
    inside = np.flatnonzero(_within(question.unit_a, tile.spans[0]) & _within(question.unit_b, tile.spans[1]))
    row, column = question.unit_a[inside] - tile.spans[0].start, question.unit_b[inside] - tile.spans[1].start
    values = np.full((len(JUDGED), len(inside)), np.nan)
    counts = p_counts(np.zeros(0, dtype=np.float32))
    near_a, near_b = (
        _Gathered(np.unique(units[_within(units, span)]), question.neighbours)
        for units, span in zip((question.unit_a, question.unit_b), tile.spans, strict=True)
    )
    for rows in ranges(len(a.units), PANEL // 4):
        for columns in ranges(len(b.units), PANEL):
            panel = _TilePanel(tile, question, (a, b), profiles, nulls, (rows, columns))
            judged = panel.judge(store, halved)
            counts += p_counts(judged[-1])
            here = np.flatnonzero(_within(row, rows) & _within(column, columns))
            place = row[here] - rows.start, column[here] - columns.start
            for target, source in zip(values, judged, strict=True):
                target[here] = source[place]
            origin = tile.spans[0].start + rows.start, tile.spans[1].start + columns.start
            for half, pearson in enumerate(judged[:2]):
                near_a.add(half, pearson, origin[0], origin[1])
                near_b.add(half, pearson.T, origin[1], origin[0])
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
        found = nearest_neighbours(np.ascontiguousarray(pearson[rows]), self.k, first_column=first_column)
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


def _or(values: Float64 | None, others: Float64) -> Float64:
    return others if values is None else values


@dataclass(frozen=True)
class _TilePanel:
    """One panel of a tile, or a part of one."""

    tile: PairTile
    question: Question
    sides: tuple[TileSide, TileSide]
    """The tile's."""
    profiles: tuple[ModelProfile, ModelProfile]
    nulls: tuple[Null, Null]
    """Of the tile's units."""
    spans: tuple[slice, slice]
    """Rows and columns, counted from the tile's first."""

    def judge(self, store: CorrelationStore | NeighbourStore, halved: Halved | None) -> tuple[Float32, ...]:
        """(row, column) each of :data:`JUDGED`."""
        panel = self._panel()
        share = self.profiles[0].store.first_half_share
        if halved is None:
            assert isinstance(store, CorrelationStore), "moments are left out where correlations say it all"
            half_1 = store.half_part(*self.places)
            first = panel.products_of_half(half_1, 0)
        else:
            first = self._products(halved[0])
            half_1 = panel.pearson(first, 0)
        if isinstance(store, CorrelationStore):
            pearson = store.part(*self.places)
            second = (panel.products(pearson) - share * first) / (1.0 - share)
        else:
            assert halved is not None, "neighbours alone do not say what a half of the images does"
            second = self._products(halved[1])
            pearson = panel.pearson(share * first + (1.0 - share) * second)
        half_2 = panel.pearson(second, 1)
        judged = chance(pearson, panel, self.question.images)
        p_value = self._p_values(judged.deviation)
        if self.tile.a == self.tile.b:
            for array in (half_1, half_2, p_value):
                self._forget_own(array)
        return half_1, half_2, judged.centred, p_value

    def _products(self, moments: Moments | None) -> Float64:
        """(row, column) mean products over a half of the images."""
        assert moments is not None, "with so many images neither half is empty"
        a, b = self.sides
        return mean_products(moments, a.units, b.units, a.std, b.std, *self.spans)

    def _panel(self) -> Panel:
        units = [side.model.store.units.cut(place) for side, place in zip(self.sides, self.places, strict=True)]
        a, b = (
            profile.side(place, _or(profile.std(place), side.std[span]), other.grids())
            for profile, side, place, span, other in zip(
                self.profiles, self.sides, self.places, self.spans, units[::-1], strict=True
            )
        )
        return Panel(a, b)

    @property
    def places(self) -> tuple[slice, slice]:
        """Units of either model."""
        rows, columns = (
            slice(side.span.start + span.start, side.span.start + span.stop)
            for side, span in zip(self.sides, self.spans, strict=True)
        )
        return rows, columns

    def _p_values(self, deviation: Float32) -> Float32:
        """(row, column) by the more cautious of both units' nulls."""
        of_a, of_b = (null.of(span) for null, span in zip(self.nulls, self.spans, strict=True))
        of_rows = of_a.p_values(deviation)
        of_columns = of_b.p_values(np.ascontiguousarray(deviation.T))
        return np.maximum(of_rows, of_columns.T)

    def _forget_own(self, array: Float32) -> None:
        """A unit is not its own neighbour, and could not have been chosen."""
        rows, columns = self.places
        own = np.arange(max(rows.start, columns.start), min(rows.stop, columns.stop))
        array[own - rows.start, own - columns.start] = np.nan
