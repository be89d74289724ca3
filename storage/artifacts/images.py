"""`images.zarr`: the images that all models of a run take."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from storage.artifacts import layout
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root


@dataclass(frozen=True)
class ImageStore(ArtifactStore):
    """The images of a run. Pixels are written block by block; latents are written with the layout."""

    artifact = IMAGES

    @classmethod
    def create(
        cls,
        root: Root,
        fingerprint: Fingerprint,
        *,
        images: int,
        size: tuple[int, int],
        block: int,
        latents: npt.NDArray[np.float32] | None,
        classes: npt.NDArray[np.int64] | None = None,
    ) -> "ImageStore":
        """Lay the store out; that of a folder of files is :class:`storage.artifacts.source_images.SourceStore`.

        Parameters
        ----------
        size
            Height and width of every image.
        block
            Images in a chunk.
        latents
            (image, z) of a generator's images.
        classes
            (image,) of a conditional generator's images.
        """
        group = lay_out(root, images, size, block)
        layout.create_labels(group, "image", np.arange(images, dtype=np.int32), "image", "index of the image")
        if latents is not None:
            layout.create_values(group, "latent", np.asarray(latents, np.float32), ("image", "z"), "latent")
        if classes is not None:
            layout.create_labels(group, "class", classes, "image", "class that the generator was asked for")
        layout.seal_layout(group, fingerprint, {"block": block})
        return cls(group)

    @property
    def count(self) -> int:
        """Images in the run."""
        return int(self._array("pixels").shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image."""
        height, width = self._array("pixels").shape[1:3]
        return height, width

    def pixels(self, images: slice) -> npt.NDArray[np.uint8]:
        """(image, y, x, rgb) of some images."""
        return np.asarray(self._array("pixels")[images])

    def latents(self, images: slice) -> npt.NDArray[np.float32]:
        """(image, z) of some images of a generator."""
        return np.asarray(self._array("latent")[images])

    def classes(self, images: slice) -> npt.NDArray[np.int64] | None:
        """(image,) of some images of a conditional generator, else None."""
        return np.asarray(self._array("class")[images]) if "class" in self.group else None

    def sources(self) -> list[str] | None:
        """The file of each image, its path in the source's folder; None for images that were made."""
        return [str(source) for source in np.asarray(self._array("source")[:])] if "source" in self.group else None

    def coordinates(self) -> dict[str, npt.NDArray[Any]]:
        """(image,) by name, what is known of each image beside its pixels: `source`, `label`, `class`."""
        return {name: np.asarray(self._array(name)[...]) for name in ("source", "label", "class") if name in self.group}

    def write(self, block: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Write a block of pixels, then its marker."""
        self._array("pixels")[block_slice(block, self.block, self.count)] = pixels
        self.mark(block)


def lay_out(root: Root, images: int, size: tuple[int, int], block: int) -> zarr.Group:
    """A new store with the arrays that all image stores have; it replaces one that may be there."""
    group = layout.create_store(root, IMAGES.path())
    pixels: layout.Axes = {"image": (images, block), "y": size[0], "x": size[1], "rgb": 3}
    layout.create_array(group, "pixels", "uint8", pixels, "pixels", description="red, green and blue from 0 to 255")
    layout.create_written(group, block=block_count(images, block))
    return group
