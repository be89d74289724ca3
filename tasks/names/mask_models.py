"""Masks that a segmentation model makes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetta.errors import UserError
from rosetta.naming.dissection import Int32
from rosetta.zoo.segmentation import Segmenter
from storage.run.data import RunData
from tasks.names.legend import Legend


@dataclass(frozen=True)
class ModelMasks:
    """The masks of a run's images, made as they are read."""

    run: RunData
    model: Segmenter
    legend: Legend
    batch: int

    @property
    def identity(self) -> dict[str, Any]:
        """What they are, for a fingerprint."""
        return {"model": self.model.name, "weights_sha256": self.model.weights_sha256}

    def read(self, images: slice) -> Int32:
        """(image, y, x) labels of some images, by their index in the legend.

        Raises
        ------
        UserError
            A class occurs that the legend lacks, or the model's output is none of scores.
        """
        first, last, _ = images.indices(self.run.pictures.count)
        parts = []
        for start in range(first, last, self.batch):
            classes = self.model.labels(self.run.pictures.pixels(slice(start, min(start + self.batch, last))))
            parts.append(self.legend.numbered(classes, f"the output of {self.model.name}"))
        return np.concatenate(parts)


def model_masks(run: RunData, model: Segmenter, legend: Legend | None, batch: int) -> ModelMasks:
    """
    Raises
    ------
    UserError
        Nothing tells the names of its classes.
    """
    if legend is None and not model.categories:
        raise UserError(f"{model.name} does not name its classes; give --legend FILE with value,label")
    return ModelMasks(run, model, legend or Legend.of_names(model.name, model.categories), batch)
