"""Peaks of a run into rankings: which images each unit and each concept is strongest in."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rosetta.view.atlas.rankings import TOP, choose_images, percentiles, strengths, strongest
from rosetta.view.atlas.unit_rows import choose
from tasks.report.atlas.run import AtlasRun

Index = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rankings:
    """Images by strength."""

    units: dict[str, Index]
    """By model: (unit, place) the images of its rows, the TOP strongest first (:mod:`rosetta.view.atlas.unit_rows`)."""
    peaks: dict[str, Float32]
    """By model: (unit, place) its peaks in them."""
    activation: Index
    """(concept, rank) images by the peak of its best anchor unit."""
    agreement: Index
    """(concept, rank) images by the mean over the models of its best neuron's percentiles."""
    shown: Index
    """(shown,) images that have a file of their own, rising."""
    of_units: Index
    """(image,) those in the rows of any unit, rising."""
    strength: Float32
    """(shown, concept) the peak of its best anchor unit, on its scale."""


def rank(run: AtlasRun) -> Rankings:
    """Read every model's peaks, layer by layer, and rank images by them.

    Holds one number an image and concept, and a layer's peaks.
    """
    units, highest = {}, {}
    summed = np.zeros((run.concepts, run.pictures.count), dtype=np.float32)
    for model in run.models:
        store, first, chosen, heights = run.stores[model], run.first[model], [], []
        for layer, span in store.units.spans():
            peaks = store.peaks(layer.name)
            chosen.append(choose(peaks.T))
            heights.append(np.take_along_axis(peaks.T, chosen[-1], axis=1))
            concepts = np.nonzero((first >= span.start) & (first < span.stop))[0]
            # One model's unit is often in the best neuron of several concepts.
            channels, of = np.unique(first[concepts] - span.start, return_inverse=True)
            summed[concepts] += percentiles(peaks[:, channels]).T[of]
        units[model], highest[model] = np.concatenate(chosen), np.concatenate(heights)
    activation = units[run.anchor][run.first[run.anchor], :TOP]
    shown = choose_images(activation, run.pictures.count)
    of_units = np.unique(np.concatenate([np.unique(images) for images in units.values()]))
    return Rankings(units, highest, activation, strongest(summed), shown, of_units, _strength(run, shown))


def _strength(run: AtlasRun, shown: Index) -> Float32:
    store, best = run.stores[run.anchor], run.first[run.anchor]
    found = np.zeros((len(shown), len(best)), dtype=np.float32)
    for layer, span in store.units.spans():
        concepts = np.nonzero((best >= span.start) & (best < span.stop))[0]
        peaks = store.peaks(layer.name)[np.ix_(shown, best[concepts] - span.start)]
        found[:, concepts] = strengths(peaks, *run.scale(run.anchor, best[concepts]))
    return found
