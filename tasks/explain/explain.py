"""One image of one model: its Grad-CAM map of a class, in terms of the concepts of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.errors import UserError
from rosetta.mining.explained import Explained, explained, likest_first
from rosetta.recipe import Images
from rosetta.zoo.device import resolve_device
from rosetta.zoo.grad_cam import GradCam, grad_cam
from rosetta.zoo.image_arrays import Pixels
from rosetta.zoo.model import Model
from storage.run.data import RunData
from storage.run.members import RunMembers
from tasks.causes.run import CausesRun
from tasks.source.files import find_images
from tasks.source.pixels import content_of, square

RANDOM = 4
"""Sets of random units that are fitted beside the concepts."""
_SEED = 0

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """Where a model looks for a class on an image, and which concepts lie there."""

    image: str
    """What it is called."""
    pixels: Pixels
    """(y, x, rgb)"""
    model: str
    layer: str
    """Whose Grad-CAM map it is."""
    index: int
    """Of the class."""
    label: str
    """Of the class; empty where the model does not tell it."""
    score: float
    """Of the class, before the softmax."""
    probability: float
    """Of the class, after it."""
    cam: Float32
    """(grid_y, grid_x) the Grad-CAM map."""
    concepts: pd.DataFrame
    """One row a concept, those most like the Grad-CAM map first: cluster, unit, layer, channel, pearson with that map
    over the positions of this image, and weight in the sum of concepts that comes nearest to it."""
    share: float
    """Share of the Grad-CAM map's variance that this sum explains."""
    random_share: float
    """The same of as many random units of the same layers; a mean."""
    map_of: Callable[["pd.Series[Any]"], Float32]
    """(grid_y, grid_x) the map of a concept, a row of :attr:`concepts`."""

    @property
    def named(self) -> str:
        """The class, for people."""
        return f"class {self.index}" + (f" “{self.label}”" if self.label else "")

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        fields = {"index": self.index, "name": self.label, "score": self.score, "probability": self.probability}
        return {
            "image": self.image,
            "model": self.model,
            "layer": self.layer,
            "class": fields,
            "grad_cam": self.cam.tolist(),
            "share": None if np.isnan(self.share) else self.share,
            "random_share": None if np.isnan(self.random_share) else self.random_share,
            "concepts": [
                {**row, "pearson": None if np.isnan(row["pearson"]) else row["pearson"]}
                for row in self.concepts.to_dict("records")
            ],
        }


def explain(run: RunMembers, image: str, model: str, index: int | None = None, layer: str | None = None) -> Explanation:
    """Where a model of a run looks for a class on an image, and which concepts lie there; nothing is written.

    Parameters
    ----------
    image
        Index of an image of the run, or the path of any other.
    index
        Of the class; left out, the likeliest.
    layer
        Whose maps are weighed; left out, the last layer of the run that the class depends on.

    Raises
    ------
    UserError
        There is no such model, class, layer or image, or the model has no classifier.
    """
    loaded, own = classifier(run, model), concept_units(run, model)
    name, pixels = image_of(run, image, loaded)
    found = grad_cam(loaded, pixels, index, None if layer is None else [layer])
    (chosen,) = found.cams
    fit, random_share = fits_of(found, chosen, own, random_units(run, model, own))
    facts = found.index, found.name, found.score, found.probability, found.cams[chosen]
    ordered = in_order(own, fit.pearson, fit.weight)
    maps = found.maps
    return Explanation(
        name,
        pixels,
        model,
        chosen,
        *facts,
        ordered,
        fit.share,
        random_share,
        lambda row: maps[row["layer"]][row["channel"]],
    )


def classifier(run: RunData, model: str) -> Model:
    """A discriminative model of the dictionary, loaded.

    Raises
    ------
    UserError
        It is not in the run, has no part in the dictionary, or is not as it was mined.
    """
    run.require_model(model)
    causes = CausesRun(run, resolve_device(run.recipe.compute.device))
    if model not in causes.lookers:
        raise UserError(
            f"{model} has no part in the dictionary of {run.root.shown}; --model is one of {', '.join(causes.lookers)}"
        )
    return causes.model(model)


def concept_units(run: RunData, model: str) -> pd.DataFrame:
    """One row a concept: `cluster`, and of the unit that stands for it in a model, the one in its strongest neuron,
    `unit`, `layer`, `channel`, `mean` and `std`.
    """
    rows = run.rosetta[run.rosetta["model"] == model].sort_values("rosetta").drop_duplicates("cluster")
    own = rows[["cluster", "unit", "layer", "channel"]].sort_values("cluster").reset_index(drop=True)
    return _with_scale(run, model, own)


def _with_scale(run: RunData, model: str, units: pd.DataFrame) -> pd.DataFrame:
    """Units with the `mean` and `std` of each over the run."""
    store, chosen = run.stores[model], units["unit"].to_numpy(np.intp)
    return units.assign(mean=store.mean()[chosen], std=store.std()[chosen])


def random_units(run: RunData, model: str, own: pd.DataFrame) -> list[pd.DataFrame]:
    """Some sets of random units with the columns of :func:`concept_units`, each with as many of every layer.

    They say what so many maps explain that have nothing to do with the dictionary.
    """
    random = np.random.default_rng(_SEED)
    table = _with_scale(run, model, run.unit_table.query("model == @model"))
    others = table[(table["std"] > 0) & ~table["unit"].isin(own["unit"])]
    sets = []
    for _ in range(RANDOM):
        parts = []
        for layer, count in own["layer"].value_counts(sort=False).items():
            there = others[others["layer"] == layer]
            parts.append(there.iloc[random.permutation(len(there))[:count]])
        sets.append(pd.concat(parts)[["unit", "layer", "channel", "mean", "std"]] if parts else table.iloc[:0])
    return sets


def fits_of(found: GradCam, layer: str, own: pd.DataFrame, random: Sequence[pd.DataFrame]) -> tuple[Explained, float]:
    """The Grad-CAM map of a layer in terms of the maps of concepts, and the share that random units explain."""
    shares = [explained(found.cams[layer], _standardised(found, units)).share for units in random]
    return explained(found.cams[layer], _standardised(found, own)), float(np.mean(shares))


def _standardised(found: GradCam, units: pd.DataFrame) -> list[Float32]:
    """By unit (y, x) its map, less its mean, over its deviation."""
    rows = zip(units["layer"], units["channel"], units["mean"], units["std"], strict=True)
    return [((found.maps[name][channel] - mean) / (std or 1.0)).astype(np.float32) for name, channel, mean, std in rows]


def in_order(own: pd.DataFrame, pearson: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> pd.DataFrame:
    """The rows of concepts with what each counts, those most like the Grad-CAM map first."""
    rows = own[["cluster", "unit", "layer", "channel"]].assign(pearson=pearson, weight=weight)
    return rows.iloc[likest_first(pearson, weight)].reset_index(drop=True)


def image_of(run: RunMembers, text: str, model: Model) -> tuple[str, Pixels]:
    """Name and pixels (y, x, rgb) of an image of the run, by its index, or of a file, as a model's input takes it."""
    if text.isdecimal():
        return f"image {text}", run.pixels(int(text))[0]
    files: Sequence[Any] = find_images(text, "image", "an index of the run, a range such as 0:16, or a path").files
    if len(files) != 1:
        raise UserError(f"image {text!r} names {len(files)} images; give one")
    assert model.preprocessing is not None
    decoded = Images().model_copy(update={"size": max(model.preprocessing.size)})
    return files[0].source, square(files[0], content_of(files[0]), decoded).pixels
