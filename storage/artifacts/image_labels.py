"""What a store of maps says of each image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from storage.artifacts import layout
from storage.artifacts.halves import DESCRIPTION, HALF, LONG_NAME

IMAGE_LABELS = {
    "source": ("source of the image", "path of its file in the source, or seed and index of its latent"),
    "label": ("label of the image", ""),
    "class": ("class that the generator was asked for", ""),
    "prompt": ("prompt that the generator was given", ""),
    HALF: (LONG_NAME, DESCRIPTION),
}
"""What may be known of images: long name and description."""


def create_image_labels(
    group: zarr.Group, indices: npt.NDArray[np.integer], labels: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Write (image,) index and labels, by name, of the images of a store."""
    layout.create_labels(group, "image", indices.astype(np.int32), "image", "index of the image")
    for name, values in labels.items():
        long_name, description = IMAGE_LABELS[name]
        layout.create_labels(group, name, values, "image", long_name, description=description)
