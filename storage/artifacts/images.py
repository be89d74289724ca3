"""`images.zarr`: the images that all models of a run take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from rosetta.mining.halves import Mask
from storage.artifacts import layout
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.halves import HALF, HALF_OF_RUN, create_halves, first_half
from storage.artifacts.shared import place_of
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root


@dataclass(frozen=True, eq=False)
class NamedClasses:
    """The classes of images."""

    names: list[str]
    """(class,)"""
    numbers: npt.NDArray[np.int64]
    """(image,) which of them each image has, −1 where it has none."""


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
        prompts: Sequence[str] | None = None,
        seed: int | None = None,
        indices: Sequence[int] | npt.NDArray[np.integer] | None = None,
        halves: Mask | None = None,
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
        prompts
            (image,) of a generator's images, where it makes them of prompts; their classes are the prompts' numbers.
        seed
            Of the draw of a generator's latents.
        indices
            (image,) of each image among all of the run, where those of the store are only some.
        halves
            (image of the run,) whether each belongs to the first half.
        """
        drawn: dict[str, object] = {} if seed is None else {"seed": seed, "order": "drawn"}
        group = lay_out(root, images, size, block, coordinates="source" if drawn else None)
        values = np.asarray(range(images) if indices is None else indices, np.int32)
        layout.create_labels(group, "image", values, "image", "index of the image")
        if drawn:
            layout.create_array(group, "source", str, {"image": (images, block)}, "source of the image", fill="")
        if latents is not None:
            layout.create_values(group, "latent", np.asarray(latents, np.float32), ("image", "z"), "latent")
        if classes is not None:
            layout.create_labels(group, "class", classes, "image", "class that the generator was asked for")
        if prompts is not None:
            layout.create_labels(group, "prompt", list(prompts), "image", "prompt that the generator was given")
        if halves is not None:
            write_halves(group, halves, None if indices is None else values)
        layout.seal_layout(group, fingerprint, {"block": block, **drawn})
        return cls(group)

    @classmethod
    def begun(cls, root: Root) -> "ImageStore":
        """A store that is laid out, finished or not."""
        return cls(layout.open_to_read(place_of(root, IMAGES.path())))

    @property
    def count(self) -> int:
        """Images in the run."""
        return int(self._array("pixels").shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image."""
        height, width = self._array("pixels").shape[1:3]
        return height, width

    def indices(self, images: slice) -> npt.NDArray[np.int64]:
        """(image,) of some images among all of the run."""
        if "image" not in self.group:
            return np.arange(self.count)[images]
        return np.asarray(self._array("image")[images], np.int64)

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
        """(image,) path of each image in its source, or `seed 0 index 3` of one that was made; None where an older
        version made them.
        """
        return self._texts("source")

    def labels(self) -> list[str] | None:
        """(image,) class of each image of a source, empty where it is not known; None where there are none."""
        return self._texts("label")

    def named_classes(self) -> NamedClasses | None:
        """The class of each image: its label, or the prompt or the number of the class that it was made of; None where
        no class is known.
        """
        classes, labels = self.classes(slice(None)), self.labels()
        if classes is not None:
            known, first, numbers = np.unique(classes, return_index=True, return_inverse=True)
            prompts = self._texts("prompt")
            return NamedClasses([str(n) for n in known] if prompts is None else [prompts[n] for n in first], numbers)
        names = sorted({*(labels or ())} - {""})
        number = {name: index for index, name in enumerate(names)}
        return NamedClasses(names, np.array([number.get(label, -1) for label in labels or ()])) if names else None

    def first_half(self) -> Mask:
        """(image,) whether each image belongs to the first half."""
        return first_half(self.group, self.count)

    def first_half_of_run(self, images: int) -> Mask:
        """The same of all images of a run, where those of the store are only some of so many."""
        return first_half(self.group, images, HALF_OF_RUN)

    def coordinates(self) -> dict[str, npt.NDArray[Any]]:
        """(image,) by name, what is known of each image beside its pixels: `source`, `label`, `class`, `prompt`,
        `half`.
        """
        names = ("source", "label", "class", "prompt", HALF)
        known = {name: np.asarray(self._array(name)[...]) for name in names if name in self.group}
        if "source" in known and not self.complete and "seed" in self.group.attrs:
            known["source"] = self._drawn(slice(0, self.count))  # they are written with the pixels
        return known

    def write(self, block: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Write a block of pixels that were made, then its marker."""
        span = block_slice(block, self.block, self.count)
        self._array("pixels")[span] = pixels
        if "source" in self.group:
            self._array("source")[span] = self._drawn(span)
        self.mark(block)

    def _drawn(self, images: slice) -> npt.NDArray[Any]:
        """What some images of a generator were made from."""
        seed = self.group.attrs["seed"]
        return np.array([f"seed {seed} index {index}" for index in self.indices(images)], dtype=object)

    def _texts(self, name: str) -> list[str] | None:
        return [str(text) for text in np.asarray(self._array(name)[:])] if name in self.group else None


def write_halves(group: zarr.Group, halves: Mask, indices: npt.NDArray[np.integer] | None) -> None:
    """Write the halves of a run's images.

    Parameters
    ----------
    halves
        (image of the run,) whether each belongs to the first half.
    indices
        (image,) of each image among all of the run, where those of the store are only some.
    """
    create_halves(group, halves if indices is None else halves[indices])
    if indices is not None:
        create_halves(group, halves, HALF_OF_RUN, "image_of_run")


def lay_out(root: Root, images: int, size: tuple[int, int], block: int, coordinates: str | None = None) -> zarr.Group:
    """A new store with the arrays that all image stores have; it replaces one that may be there."""
    group = layout.create_store(root, IMAGES.path())
    pixels: layout.Axes = {"image": (images, block), "y": size[0], "x": size[1], "rgb": 3}
    about = "red, green and blue from 0 to 255"
    layout.create_array(group, "pixels", "uint8", pixels, "pixels", description=about, coordinates=coordinates)
    layout.create_centres(group, size)
    layout.create_labels(group, "rgb", ["red", "green", "blue"], "rgb", "colour")
    layout.create_written(group, block=block_count(images, block))
    return group
