"""Figures of concepts: what a run knows, as the tiles and words that :mod:`rosetta.view.pictures.sheet` lays out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.errors import UserError
from rosetta.mining.trust.tests import asked, named_test, passing
from rosetta.view.numbers import correlation, counted
from rosetta.view.pictures.sheet import Heading, Sheet, tile_pixels
from storage.run.data import RunData
from storage.run.members import Concept, RunMembers
from storage.run.notebook import bare, tiles


@dataclass(frozen=True)
class Captioned:
    """A sheet with what is written below it."""

    sheet: Sheet
    caption: str
    image: npt.NDArray[np.uint8] | None = None
    """(y, x, rgb) of a sheet that is about one image."""
    image_name: str = ""


def concept_sheet(concept: Concept, images: int) -> Captioned:
    """Images × models of one concept: rows are the images where the anchor's unit peaks highest."""
    run = concept.run
    if images < 1:
        raise UserError(f"cannot show {images} images; ask for at least 1")
    shown, units = concept.top(images), [concept.unit(model) for model in concept.models]
    size = tile_pixels(len(units) + 1)
    columns = [bare(run, shown, size), *(tiles(unit, shown, size) for unit in units)]
    headings, neuron = [Heading("image")], []
    for unit in units:
        name, role = f"{unit.model} {unit.label}", "anchor"
        if unit.model != run.anchor:
            role = f"r {correlation(concept.pearson(unit.model))}"
            name += f" ({role})"
        headings.append(Heading(unit.model, (unit.layer, f"ch {unit.channel}", role)))
        neuron.append(name)
    caption = (
        f"Concept {concept.cluster} of {run.name}: {counted(concept.size, 'Rosetta neuron', 'Rosetta neurons')}, mean "
        f"correlation {correlation(concept.mean_pearson)}. Shown is the strongest, {', '.join(neuron)}, where r is the "
        f"Pearson correlation with the unit of {run.anchor} over all {run.seen:,} images and positions. "
        f"Rows: the {counted(len(shown), 'image', 'images')} where that unit peaks highest.{_kept(run)}"
    )
    sheet = Sheet(np.stack(columns, axis=1), tuple(str(image) for image in shown), tuple(headings), "image")
    return Captioned(sheet, caption)


def dictionary_sheet(run: RunMembers, image: int, concepts: Sequence[int] | None, count: int) -> Captioned:
    """Concepts × models over one image, as the talk shows its dictionary.

    Parameters
    ----------
    concepts
        Which, in this order; the `count` that are strongest on the image where none are given.

    Raises
    ------
    UserError
        There is no such image or concept, or the dictionary is empty.
    """
    run.chosen(image)
    if not len(run.clusters):
        raise UserError(f"the dictionary of {run.root.shown} is empty, so there is no concept to show")
    if concepts is None and count < 1:
        raise UserError(f"cannot show {count} concepts; ask for at least 1")
    chosen = [run.concept(cluster) for cluster in (strongest_on(run, image)[:count] if concepts is None else concepts)]
    if not chosen:
        raise UserError("no concept is named; give --concepts 1,5,9 or --count 8")
    models, alone = chosen[0].models, np.array([image])
    size = tile_pixels(len(models))
    rows = [np.concatenate([tiles(concept.unit(model), alone, size) for model in models]) for concept in chosen]
    named = tuple(
        f"{concept.cluster} (r {correlation(float(concept.strongest['mean_pearson'].iloc[0]))})" for concept in chosen
    )
    headings = tuple(Heading(model, ("anchor",) if model == run.anchor else ()) for model in models)
    caption = (
        f"{counted(len(chosen), 'concept', 'concepts')} of {run.name} over image {image}. Each row is a concept, shown "
        "by its strongest Rosetta neuron; r is the mean Pearson correlation of its units with that of "
        f"{run.anchor}, over all {run.seen:,} images and positions.{_kept(run)}"
    )
    whole = bare(run, alone, size * 2)[0]
    return Captioned(Sheet(np.stack(rows), named, headings, "concept"), caption, whole, f"image {image}")


def failing_sheet(run: RunMembers, name: str, images: int) -> Captioned:
    """The match that fails one test and, of those, passes most of the others; the strongest of several.

    Rows are the images where its unit of the anchor peaks highest.

    Parameters
    ----------
    name
        Of a test of trust.

    Raises
    ------
    UserError
        There is no such test, it was not made, or no match fails it.
    """
    if images < 1:
        raise UserError(f"cannot show {images} images; ask for at least 1")
    test = named_test(name)
    matches = pd.concat([run.with_anchor(run.trust, model) for model in run.targets])
    passes, unasked = passing(matches, run.recipe.trust), test.unasked(matches)
    fails = ~passes[name] & ~unasked
    if not fails.any():
        why = "it was made of none" if unasked.all() else "all pass it"
        raise UserError(f"no match of {run.anchor} fails the test {name!r}: {why}")
    others = np.sum([passes[one.name] for one in asked(run.recipe.trust) if one.name != name], axis=0)
    row = matches.iloc[np.lexsort((-matches["pearson"].to_numpy(), -others, ~fails))[0]]
    units = [run.unit(str(row[f"model_{side}"]), int(row[f"unit_{side}"])) for side in "ab"]
    shown = units[0].top(images)
    size = tile_pixels(3)
    columns = [bare(run, shown, size), *(tiles(unit, shown, size) for unit in units)]
    headings = [Heading("image"), *(Heading(unit.model, (unit.layer, f"ch {unit.channel}")) for unit in units)]
    caption = (
        f"{units[0].model} {units[0].label} and {units[1].model} {units[1].label}, a match of {run.name} with r "
        f"{correlation(float(row['pearson']))} over all {run.seen:,} images and positions, fails the test "
        f"“{test.word}”: {test.reason(row[test.column])}. Rows: the "
        f"{counted(len(shown), 'image', 'images')} where the unit of {run.anchor} peaks highest.{_kept(run)}"
    )
    return Captioned(
        Sheet(np.stack(columns, axis=1), tuple(str(image) for image in shown), tuple(headings), "image"), caption
    )


def strongest_on(run: RunData, image: int) -> list[int]:
    """Concepts by how strong they are on an image, and how alike the models see them, strongest first.

    That is the anchor unit's peak there, 0 at its mean and 1 at its maximum, times its neuron's mean correlation.
    """
    own = run.rosetta[run.rosetta["model"] == run.anchor].sort_values("rosetta").drop_duplicates("cluster")
    units = run.unit_table[run.unit_table["model"] == run.anchor].set_index("unit").loc[own["unit"]]
    (position,) = run.chosen(image)
    peaks = {layer: run.stores[run.anchor].peaks(layer)[position] for layer in units["layer"].unique()}
    peak = np.array([peaks[layer][channel] for layer, channel in zip(units["layer"], units["channel"], strict=True)])
    low, high = units["mean"].to_numpy(), units["maximum"].to_numpy()
    span = np.where(high > low, high - low, np.inf)
    order = np.argsort(-own["mean_pearson"].to_numpy() * (peak - low) / span, kind="stable")
    return own["cluster"].to_numpy()[order].tolist()


def _kept(run: RunData) -> str:
    """What a caption adds where the maps of only some images are stored."""
    if not run.keeps_some:
        return ""
    return f" Pictures and maps are those of the {run.pictures.count:,} of {run.seen:,} images that were kept."
