"""`images.zarr`: what all models of a run look at."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from storage.artifacts import layout as zarrs
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root


@dataclass(frozen=True)
class ImageStore:
    """The images of a run; pixels come block by block, latents are there from the beginning."""

    group: zarr.Group

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
        if latents is not None:
            array = zarrs.create_array(
                group,
                "latent",
                shape=latents.shape,
                chunks=latents.shape,
                dtype="float32",
                dimensions=("image", "z"),
            )
            array[:] = latents
        if classes is not None:
            array = zarrs.create_array(
                group, "class", shape=classes.shape, chunks=classes.shape, dtype="int64", dimensions=("image",)
            )
            array[:] = classes
        zarrs.seal_layout(group, fingerprint, {"block": block})
        return cls(group)

    @classmethod
    def open(cls, root: Root, fingerprint: Fingerprint) -> "ImageStore | None":
        """The store to go on with, or None.

        Raises
        ------
        UserError
            It was made from something else.
        """
        group = zarrs.open_existing(root, IMAGES.path())
        if group is None:
            return None
        fingerprint.require_match(IMAGES.path(), group.attrs)
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

    @property
    def block(self) -> int:
        """Images in a chunk."""
        return int(self._array("pixels").chunks[0])

    @property
    def complete(self) -> bool:
        """Whether all pixels are in."""
        return bool(self.group.attrs.get("complete"))

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

    def write(self, block: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Write a block of pixels, then its marker."""
        self._array("pixels")[block_slice(block, self.block, self.count)] = pixels
        self._array("written")[block] = True

    def written(self) -> npt.NDArray[np.bool_]:
        """(block,) which blocks are in."""
        return zarrs.markers(self.group)

    def finish(self) -> None:
        """Say that all pixels are in."""
        zarrs.complete(self.group)

    def _array(self, name: str) -> zarr.Array:
        return zarrs.array_of(self.group, name)


def lay_out(root: Root, images: int, size: tuple[int, int], block: int) -> zarr.Group:
    """A new store with what all image stores have, in the place of one that may be there."""
    group = zarrs.create_store(root, IMAGES.path())
    zarrs.create_array(
        group,
        "pixels",
        shape=(images, *size, 3),
        chunks=(block, *size, 3),
        dtype="uint8",
        dimensions=("image", "y", "x", "rgb"),
    )
    zarrs.create_array(
        group,
        "written",
        shape=(block_count(images, block),),
        chunks=(1,),
        dtype="bool",
        dimensions=("block",),
        fill=False,
    )
    return group
