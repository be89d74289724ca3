"""From the sums of all passes to the stores: profiles first, since what is correlated needs their sums too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rosetta.mining.grid import common_grid
from rosetta.mining.moments import Moments, segment_order
from rosetta.mining.pearson import pearson
from rosetta.mining.streamed.layer import StreamedLayer
from rosetta.mining.trust.standardised import layer_profile
from rosetta.units import Grid, Units
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from tasks.correlate.reading import PairTile
from tasks.correlate.tiles import write_panels
from tasks.stream.checkpoint import saved
from tasks.stream.job import Job
from tasks.stream.sums import Sums

Float64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LayerTotals:
    """What correlating needs to know of a layer."""

    grids: tuple[Grid, ...]
    on: Float64
    """(half, moment, channel, grid) Σ U y and Σ (U y)²."""
    constant: Flags
    """(channel,) whether a unit holds one single value in all images."""
    dead: Flags
    """(channel,) or in those of the first half."""

    @classmethod
    def of(cls, sums: StreamedLayer) -> "LayerTotals":
        """What stays of a layer's sums."""
        _, std, _ = sums.statistics()
        constant = std == 0
        return cls(sums.grids, sums.on.cpu().numpy().copy(), constant, sums.dead()[:, 0] | constant)


@dataclass(frozen=True)
class ModelTotals:
    """The same of a model, layer by layer."""

    units: Units
    layers: tuple[LayerTotals, ...]

    def sums(self, span: slice, other: Sequence[Grid], half: int, moment: int) -> Float64:
        """(unit, other grid) of some units, in the order of moments."""
        rows = []
        for layer, channels in self.units.restrict(span):
            totals = self.layers[self._index(layer.name)]
            columns = [totals.grids.index(common_grid(layer.grid, grid)) for grid in other]
            rows.append(totals.on[half, moment][channels][:, columns])
        return np.concatenate(rows)[segment_order(self.units.cut(span))]

    def flags(self, span: slice, name: str) -> Flags:
        """(unit,) `constant` or `dead` of some units."""
        parts = self.units.restrict(span)
        return np.concatenate([getattr(self.layers[self._index(layer.name)], name)[cut] for layer, cut in parts])

    def _index(self, layer: str) -> int:
        return [one.name for one in self.units.layers].index(layer)


def merged(job: Job) -> Sums:
    """All that the parts of a pass have saved."""
    sums = Sums(job, torch.device("cpu"))
    for checkpoint in saved(job.root, job.number, job.fingerprint):
        sums.merge(checkpoint)
    return sums


def write_profiles(root: Root, sums: Sums, fingerprints: Mapping[str, Fingerprint]) -> None:
    """Write the profiles of some of the models whose layers a pass has summed up."""
    assert sums.features is not None
    features = sums.features.moments()
    for model, fingerprint in fingerprints.items():
        units = sums.units[model]
        layers = [sums.layers[model, layer.name] for layer in units.layers]
        commons = dict.fromkeys(common for layer in layers for common in layer.commons)
        moments = {common: features[common] for common in commons}
        images, seen = layers[0].images, layers[0].half_images
        store = ProfileStore.create(root, model, fingerprint, units, images, INDEPENDENT, moments, seen.tolist())
        for index, layer in enumerate(layers):
            mean, std, maximum = layer.statistics()
            of_features = [
                (features[common].mean, np.sqrt(np.diagonal(features[common].covariance))) for common in layer.commons
            ]
            profile = layer_profile(layer, mean, std, of_features)
            statistics: dict[str, npt.NDArray[Any]] = {"mean": mean, "std": std, "maximum": maximum}
            store.write(index, profile, layer.commons, layer.dead() | (std == 0)[:, None], statistics)
        store.finish()


def write_tile(job: Job, tile: PairTile, sums: Sums, totals: Mapping[str, ModelTotals], images: Sequence[int]) -> None:
    """Write a tile's correlations, over all images and over the first half.

    Parameters
    ----------
    images
        In either half.
    """
    number = job.tiles.index(tile)
    sides = [(totals[model], span) for model, span in zip((tile.a, tile.b), tile.spans, strict=True)]
    (model_a, span_a), (model_b, span_b) = sides
    units_a, units_b = model_a.units.cut(span_a), model_b.units.cut(span_b)
    halves = []
    for half in (0, 1):
        of_a = [model_a.sums(span_a, units_b.grids(), half, moment) for moment in (0, 1)]
        of_b = [model_b.sums(span_b, units_a.grids(), half, moment) for moment in (0, 1)]
        halves.append(Moments(images[half], sums.tiles[number][half].cross.cpu().numpy(), *of_a, *of_b))
    whole = halves[0] + halves[1]
    constant, dead = ((model_a.flags(span_a, name), model_b.flags(span_b, name)) for name in ("constant", "dead"))
    of_all = partial(pearson, whole, units_a, units_b, constant[0], constant[1])
    write_panels(job.root, tile, of_all, partial(pearson, halves[0], units_a, units_b, dead[0], dead[1]))
