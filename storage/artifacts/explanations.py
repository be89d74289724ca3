"""`explanations/<name>.zarr`: where a classifier looks on images of a run, and how much of that concepts explain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from storage.artifacts import layout
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import EXPLANATIONS
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root

_FACTS = {
    "class": ("int32", "index of the class", "", -1),
    "label": (str, "name of the class", "empty where the model does not tell it", ""),
    "score": ("float64", "score of the class", "before the softmax", float("nan")),
    "probability": ("float64", "probability of the class", "after the softmax", float("nan")),
    "share": ("float64", "share of the map's variance that the concepts explain", "by their best sum", float("nan")),
    "random_share": ("float64", "the same of as many random units", "of the same layers; a mean", float("nan")),
}
"""By array over images: type, long name, description, and what stands where nothing is written yet."""
_NUMBERS = ("score", "probability", "share", "random_share")
_FITS = {
    "pearson": ("correlation of the concept's map with the Grad-CAM map", "over the positions of the image"),
    "weight": ("weight of the concept in the best sum of all", "no less than 0; the map's maximum is 1"),
}
"""By array over images and concepts."""


@dataclass(frozen=True)
class ImageExplanation:
    """One image of a store."""

    index: int
    """Of the class."""
    label: str
    score: float
    probability: float
    share: float
    random_share: float
    cam: npt.NDArray[np.float32]
    """(y, x)"""
    pearson: npt.NDArray[np.float64]
    """(concept,)"""
    weight: npt.NDArray[np.float64]
    """(concept,)"""


@dataclass(frozen=True)
class ExplanationStore(ArtifactStore):
    """Grad-CAM maps of one layer of one model on some images, in blocks of images."""

    artifact = EXPLANATIONS
    rebuilt: ClassVar[bool] = True

    @classmethod
    def create(
        cls,
        root: Root,
        fingerprint: Fingerprint,
        name: str,
        *,
        images: npt.NDArray[np.integer],
        concepts: pd.DataFrame,
        model: str,
        layer: str,
        grid: tuple[int, int],
        block: int,
    ) -> "ExplanationStore":
        """Lay the store out.

        Parameters
        ----------
        images
            (image,) indices in the run.
        concepts
            One row a concept: `cluster`, and the `unit` that stands for it in the model.
        grid
            Of the layer.
        """
        group, count = layout.create_store(root, cls.path(name)), len(images)
        layout.create_labels(group, "image", np.asarray(images, np.int32), "image", "index of the image")
        clusters = concepts["cluster"].to_numpy(np.int32)
        layout.create_labels(group, "concept", clusters, "concept", "number of the concept")
        unit = concepts["unit"].to_numpy(np.int32)
        layout.create_labels(group, "unit", unit, "concept", "unit of the model that stands for the concept")
        layout.create_centres(group, grid)
        axes: layout.Axes = {"image": (count, block)}
        about = "Selvaraju et al. 2017; of the class, at the layer that the store's attributes name"
        on_grid: layout.Axes = {**axes, "y": grid[0], "x": grid[1]}
        layout.create_array(group, "cam", "float32", on_grid, "Grad-CAM map", description=about, fill=float("nan"))
        for fact, (dtype, long_name, more, fill) in _FACTS.items():
            layout.create_array(group, fact, dtype, axes, long_name, description=more, fill=fill)
        of_concepts: layout.Axes = {**axes, "concept": len(clusters)}
        for fit, (long_name, more) in _FITS.items():
            layout.create_array(group, fit, "float64", of_concepts, long_name, description=more, fill=float("nan"))
        layout.create_written(group, block=block_count(count, block))
        layout.seal_layout(group, fingerprint, {"block": block, "model": model, "layer": layer})
        return cls(group)

    @property
    def images(self) -> npt.NDArray[np.int32]:
        """(image,) their indices in the run."""
        return np.asarray(self._array("image")[:])

    @property
    def concepts(self) -> npt.NDArray[np.int32]:
        """(concept,) their numbers."""
        return np.asarray(self._array("concept")[:])

    @property
    def concept_units(self) -> npt.NDArray[np.int32]:
        """(concept,) the unit of the model that stands for each."""
        return np.asarray(self._array("unit")[:])

    @property
    def missing(self) -> list[slice]:
        """The images of each block that is not complete."""
        return [block_slice(int(block), self.block, len(self.images)) for block in np.flatnonzero(~self.written())]

    def write(self, span: slice, found: Sequence[ImageExplanation]) -> None:
        """Write one block, then its marker."""
        values: dict[str, Any] = {
            "cam": np.stack([one.cam for one in found]),
            "class": np.array([one.index for one in found], np.int32),
            "label": np.array([one.label for one in found], dtype=object),
            **{
                name: np.array([getattr(one, name) for one in found])
                for name in ("score", "probability", "share", "random_share")
            },
            **{name: np.stack([getattr(one, name) for one in found]) for name in _FITS},
        }
        for name, array in values.items():
            self._array(name)[span] = array
        self.mark(span.start // self.block)

    def found(self, span: slice = slice(None)) -> list[ImageExplanation]:
        """Some images of the store, by their places in it."""
        read = {name: np.asarray(self._array(name)[span]) for name in ("cam", *_FACTS, *_FITS)}
        return [
            ImageExplanation(
                int(read["class"][row]),
                str(read["label"][row]),
                float(read["score"][row]),
                float(read["probability"][row]),
                float(read["share"][row]),
                float(read["random_share"][row]),
                read["cam"][row],
                read["pearson"][row],
                read["weight"][row],
            )
            for row in range(len(read["class"]))
        ]
