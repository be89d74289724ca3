"""One image of one model: its Grad-CAM map of a class, in terms of the concepts of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.mining.explained import explained
from rosetta.recipe import Images
from rosetta.zoo.grad_cam import GradCam, grad_cam
from rosetta.zoo.image_arrays import Pixels
from storage.run.members import RunMembers
from tasks.source.files import find_images
from tasks.source.pixels import content_of, square

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
    found: GradCam
    concepts: pd.DataFrame
    """One row a concept, those that count most first: cluster, layer, channel, pearson with the Grad-CAM map over the
    positions of this image, and weight in the sum of concepts that comes nearest to it."""
    share: float
    """Share of the Grad-CAM map's variance that this sum explains."""

    @property
    def cam(self) -> Float32:
        """(grid_y, grid_x) the Grad-CAM map."""
        return self.found.cams[self.layer]

    def map_of(self, row: "pd.Series[Any]") -> Float32:
        """(grid_y, grid_x) the map of a concept, a row of :attr:`concepts`."""
        return self.found.maps[row["layer"]][row["channel"]]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        found = self.found
        return {
            "image": self.image,
            "model": self.model,
            "layer": self.layer,
            "class": {"index": found.index, "name": found.name, "score": found.score, "probability": found.probability},
            "grad_cam": self.cam.tolist(),
            "share": None if np.isnan(self.share) else self.share,
            "concepts": [
                {**row, "pearson": None if np.isnan(row["pearson"]) else row["pearson"]}
                for row in self.concepts.to_dict("records")
            ],
        }


def explain(run: RunMembers, image: str, model: str, index: int | None = None, layer: str | None = None) -> Explanation:
    """Where a model of a run looks for a class on an image, and which concepts lie there.

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
    spec = run.spec(model)
    if model not in run.targets:
        raise UserError(
            f"{model} has no part in the dictionary of {run.root.shown}; --model is one of {', '.join(run.targets)}"
        )
    loaded = zoo.load(spec)
    name, pixels = image_of(run, image, loaded)
    found = grad_cam(loaded, pixels, index, None if layer is None else [layer])
    chosen = next(iter(found.cams))
    own = run.rosetta[run.rosetta["model"] == model].sort_values("rosetta").drop_duplicates("cluster")
    units = run.unit_table[run.unit_table["model"] == model].set_index("unit").loc[own["unit"]]
    maps = [
        (found.maps[name][channel] - mean) / (std or 1.0)
        for name, channel, mean, std in zip(own["layer"], own["channel"], units["mean"], units["std"], strict=True)
    ]
    fit = explained(found.cams[chosen], [one.astype(np.float32) for one in maps])
    rows = own[["cluster", "layer", "channel"]].assign(pearson=fit.pearson, weight=fit.weight)
    ordered = rows.sort_values(["weight", "pearson"], ascending=False, kind="stable").reset_index(drop=True)
    return Explanation(name, pixels, model, chosen, found, ordered, fit.share)


def image_of(run: RunMembers, text: str, model: zoo.Model) -> tuple[str, Pixels]:
    """Name and pixels (y, x, rgb) of an image of the run, by its index, or of a file, as a model's input takes it."""
    if text.isdecimal():
        return f"image {text}", run.pixels(int(text))[0]
    files: Sequence[Any] = find_images(text, "image", "an index of the run, or a path").files
    if len(files) != 1:
        raise UserError(f"image {text!r} names {len(files)} images; give one")
    assert model.preprocessing is not None
    decoded = Images().model_copy(update={"size": max(model.preprocessing.size)})
    return files[0].source, square(files[0], content_of(files[0]), decoded).pixels
