"""What a notebook shows of a run, a concept and a unit: stores into plain values for :mod:`rosetta.view.notebook`."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rosetta.view.notebook import TILE, Cell, Strip
from rosetta.view.null_words import phrase
from rosetta.view.numbers import correlation, count, counted
from rosetta.view.pictures.heatmap import overlay, plain
from storage.run.data import RunData
from storage.run.members import Concept, RunMembers, Unit

_FEW = 8
"""Images that stand for a run."""
_NEAR = 3
"""Neighbours shown of each model."""

Index = npt.NDArray[np.intp]
Pixels = npt.NDArray[np.uint8]


def tiles(unit: Unit, images: Index, size: int) -> Pixels:
    """(image, size, size, rgb) a unit's maps over images, on the unit's own scale."""
    low, high = unit.scale
    pairs = zip(unit.run.pixels(images), unit.maps(images).to_numpy(), strict=True)
    return np.stack([overlay(image, activation, low, high, size) for image, activation in pairs])


def bare(run: RunData, images: Index, size: int) -> Pixels:
    """(image, size, size, rgb) images by themselves."""
    return np.stack([plain(image, size) for image in run.pixels(images)])


def strip(unit: Unit, images: Index, size: int) -> Pixels:
    """(2, image, size, size, rgb) images as they are, and the same under a unit's maps."""
    return np.stack([bare(unit.run, images, size), tiles(unit, images, size)])


def concept_cell(concept: Concept) -> Cell:
    """A concept: its facts, and its strongest neuron over the images where it is strong."""
    run = concept.run
    facts = [
        counted(concept.size, "Rosetta neuron", "Rosetta neurons"),
        f"mean correlation {correlation(concept.mean_pearson)}",
        f"weakest {correlation(float(concept.row['min_pearson']))}",
    ]
    if run.judged:
        facts.append(f"{count(concept.trusted)} of {counted(concept.size, 'neuron', 'neurons')} trusted")
    lines = {
        unit: [unit.label] + ([] if unit.model == run.anchor else [f"r {correlation(concept.pearson(unit.model))}"])
        for unit in map(concept.unit, concept.models)
    }
    return Cell(f"Concept {concept.cluster} of {run.name}", facts, *_pictured(run, concept.images, lines))


def unit_cell(unit: Unit) -> Cell:
    """A unit: its facts, its maps, and its nearest neighbours in every model."""
    run, row, concept = unit.run, unit.row, unit.concept
    facts = [
        unit.label,
        f"grid {row['grid_y']} × {row['grid_x']}",
        f"mean {row['mean']:.3g}, standard deviation {row['std']:.3g}, maximum {row['maximum']:.3g}",
        f"in concept {concept.cluster}" if concept else "in no concept",
    ]
    near = {
        f"{model} (control)" if model in run.controls else str(model): list(rows.itertuples(index=False))
        for model, rows in unit.neighbours(count=_NEAR).groupby("model", sort=False)
    }
    pictured = _pictured(run, unit.top_images, {unit: [unit.label]})
    return Cell(f"Unit {unit.unit} of {unit.model}", facts, *pictured, near, run.recipe.matching.neighbours)


def run_cell(run: RunMembers) -> Cell:
    """A run: its facts, some of its images, and its models."""
    facts = [
        run.root.shown,
        counted(run.seen, "image", "images"),
        *([f"{run.pictures.count:,} of them kept"] if run.keeps_some else []),
        counted(run.rosetta["rosetta"].nunique(), "Rosetta neuron", "Rosetta neurons"),
        *([f"{count(run.trusted)} of them trusted"] if run.judged else []),
        *filter(None, [phrase(run.null_counts)]),
        counted(len(run.clusters), "concept", "concepts"),
        f"{run.anchor} names them",
    ]
    models = list(run.summary.reset_index().itertuples(index=False))
    return Cell(f"Run {run.name}", facts, *_pictured(run, run.image_indices[:_FEW], {}), models=models)


def _pictured(run: RunData, images: Index, lines: dict[Unit, list[str]]) -> tuple[Sequence[int], Sequence[Strip]]:
    """Images, and the maps of units over them, each with what is written beside it."""
    strips = [Strip("image", (), bare(run, images, TILE))]
    strips += [Strip(unit.model, written, tiles(unit, images, TILE)) for unit, written in lines.items()]
    return images.tolist(), strips
