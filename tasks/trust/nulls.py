"""The nulls of a model's units against another's, strip by strip of units."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from dask.delayed import Delayed, delayed

from rosetta.mining.factors import PANEL
from rosetta.mining.plan import ranges
from rosetta.mining.trust.null import PARTNERS, Null, Shapes, joined_nulls, null_of
from rosetta.mining.trust.profile import SHAPE_SIDE
from rosetta.mining.trust.thumbs import thumb_grid
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from tasks.trust.panel_sides import model_profile

_FEW = 8 * PANEL
"""Units of a model whose strips are a quarter of a panel, so that small models keep many cores busy."""


def strips(units: int) -> list[slice]:
    """A model's units in strips, which lie inside of panels or are panels: what one task judges.

    They follow from the number of units alone, since the shape of a product decides how its sum is rounded.
    """
    return ranges(units, PANEL // 4 if units <= _FEW else PANEL)


def shapes(profile: ProfileStore, chosen: npt.NDArray[np.intp]) -> Iterator[Shapes]:
    """Small thumbs of some of a model's units, layer by layer."""
    for layer, span in profile.units.spans():
        index = np.arange(span.start, span.stop)
        own = np.isin(index, chosen)
        if own.any():
            thumbs = profile.of_layer(layer.name, "shape")[own].astype(np.float32)
            yield Shapes(thumb_grid(layer.grid, SHAPE_SIDE), index[own], thumbs)


def partners(profile: ProfileStore) -> list[Shapes]:
    """The units of a model that others' nulls are taken against, the same ones whenever it is asked."""
    alive = np.flatnonzero(~np.isnan(profile.of_units("kurtosis")))
    return list(shapes(profile, np.sort(np.random.default_rng(0).permutation(alive)[:PARTNERS])))


def null_of_strip(profile: ProfileStore, strip: slice, against: Sequence[Shapes]) -> Null:
    """The nulls of one strip of a model's units against some units of another."""
    own = shapes(profile, np.arange(strip.start, strip.stop))
    placed = (replace(part, units=part.units - strip.start) for part in own)
    return null_of(placed, against, strip.stop - strip.start)


def _partners(root: Root, model: str, digest: str) -> list[Shapes]:
    return partners(model_profile(root, model, digest).store)


def _null_of_strip(root: Root, model: str, digest: str, strip: slice, against: Sequence[Shapes]) -> Null:
    torch.set_num_threads(1)
    return null_of_strip(model_profile(root, model, digest).store, strip, against)


class NullsOfRun:
    """Tasks for the nulls of a run's pairs; each model's partners are read once."""

    def __init__(self, root: Root, profiles: Mapping[str, ProfileStore]) -> None:
        self._root = root
        self._digests = {name: profile.digest for name, profile in profiles.items()}
        self._units = {name: len(profile.units) for name, profile in profiles.items()}
        self._partners: dict[str, Delayed] = {}
        self._strips: dict[tuple[str, str], list[tuple[slice, Delayed]]] = {}

    def of(self, model: str, other: str, span: slice) -> Delayed:
        """The nulls of some units of a model, whole strips, against another."""
        inside = [null for strip, null in self._of(model, other) if span.start <= strip.start < span.stop]
        return delayed(joined_nulls, pure=False)(inside)

    def _of(self, model: str, other: str) -> list[tuple[slice, Delayed]]:
        if (model, other) not in self._strips:
            if other not in self._partners:
                self._partners[other] = delayed(_partners, pure=False)(self._root, other, self._digests[other])
            of_strip = delayed(_null_of_strip, pure=False)
            self._strips[model, other] = [
                (strip, of_strip(self._root, model, self._digests[model], strip, self._partners[other]))
                for strip in strips(self._units[model])
            ]
        return self._strips[model, other]
