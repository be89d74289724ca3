"""What a notebook is told of a run, a concept and a unit: stores into plain values for :mod:`rosetta.view.notebook`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rosetta.view.notebook import (
    TILE,
    ConceptCell,
    ModelRow,
    Near,
    Pictured,
    RunCell,
    Strip,
    UnitCell,
    concept_html,
    run_html,
    unit_html,
)
from rosetta.view.numbers import correlation, count, counted
from rosetta.view.pictures.heatmap import overlay, plain
from storage.run.unit import Unit

if TYPE_CHECKING:
    from storage.run.concept import Concept
    from storage.run.run import Run

_FEW = 8
"""Images that stand for a run."""
_NEAR = 3
"""Neighbours shown of each model."""


def tiles(unit: Unit, images: "npt.NDArray[np.intp]", size: int) -> npt.NDArray[np.uint8]:
    """(image, size, size, rgb) a unit's maps over images, on the unit's own scale."""
    low, high = unit.scale
    pairs = zip(unit.run.pixels(images), unit.maps(images).to_numpy(), strict=True)
    return np.stack([overlay(image, activation, low, high, size) for image, activation in pairs])


def bare(run: "Run", images: "npt.NDArray[np.intp]", size: int) -> npt.NDArray[np.uint8]:
    """(image, size, size, rgb) images by themselves."""
    return np.stack([plain(image, size) for image in run.pixels(images)])


def place(unit: Unit) -> str:
    """Where a unit is, in a few words."""
    return f"{unit.layer} channel {unit.channel}"


def concept_cell(concept: "Concept") -> str:
    """HTML of a concept."""
    run, images, row = concept.run, concept.images, concept.row
    facts = [
        counted(concept.size, "Rosetta neuron", "Rosetta neurons"),
        f"mean correlation {correlation(concept.mean_pearson)}",
        f"weakest {correlation(float(row['min_pearson']))}",
    ]
    if run.judged:
        facts.append(f"{count(concept.trusted)} of {counted(concept.size, 'neuron', 'neurons')} trusted")
    units = [concept.unit(model) for model in concept.models]
    told = [
        (place(unit),) if unit.model == run.anchor else (place(unit), f"r {correlation(concept.pearson(unit.model))}")
        for unit in units
    ]
    return concept_html(
        ConceptCell(f"Concept {concept.cluster} of {run.name}", tuple(facts), _pictured(run, images, units, told))
    )


def unit_cell(unit: Unit) -> str:
    """HTML of a unit."""
    row, concept = unit.row, unit.concept
    facts = [
        f"grid {row['grid_y']} × {row['grid_x']}",
        f"mean {row['mean']:.3g}, standard deviation {row['std']:.3g}, maximum {row['maximum']:.3g}",
        f"in concept {concept.cluster}" if concept else "in no concept",
    ]
    near: dict[str, list[Near]] = {}
    for found in unit.neighbours(count=_NEAR).itertuples():
        title = f"{found.model} (control)" if found.model in unit.run.controls else str(found.model)
        near.setdefault(title, []).append(
            Near(found.layer, found.channel, found.unit, float(found.pearson), bool(found.mutual))
        )
    return unit_html(
        UnitCell(
            f"Unit {unit.unit} of {unit.model}",
            (place(unit), *facts),
            _pictured(unit.run, unit.top_images, [unit], [(place(unit),)]),
            near,
            unit.run.recipe.matching.neighbours,
        )
    )


def run_cell(run: "Run") -> str:
    """HTML of a run."""
    facts = (
        run.root.shown,
        counted(run.pictures.count, "image", "images"),
        counted(run.rosetta["rosetta"].nunique(), "Rosetta neuron", "Rosetta neurons"),
        *([f"{count(run.trusted)} of them trusted"] if run.judged else []),
        counted(len(run.clusters), "concept", "concepts"),
        f"{run.anchor} names them",
    )
    models = tuple(
        ModelRow(str(name), **{str(key): value for key, value in row.items()}) for name, row in run.summary.iterrows()
    )
    return run_html(RunCell(f"Run {run.name}", facts, _pictured(run, run.chosen(slice(_FEW)), [], []), models))


def _pictured(
    run: "Run", images: "npt.NDArray[np.intp]", units: Sequence[Unit], told: Sequence[tuple[str, ...]]
) -> Pictured:
    strips = [Strip("image", (), bare(run, images, TILE))]
    strips += [Strip(unit.model, lines, tiles(unit, images, TILE)) for unit, lines in zip(units, told, strict=True)]
    return Pictured(tuple(map(int, images)), tuple(strips))
