"""`features.zarr`: plain pixel features of every image, on one square grid."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from storage.artifacts import layout as zarrs
from storage.artifacts.blocks import MIB, block_count, block_size, block_slice
from storage.artifacts.catalogue import FEATURES
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root


@dataclass(frozen=True)
class FeatureStore:
    """`feature` (image, feature, y, x) float16, in blocks of images; `digest` (image) tells repeated images."""

    group: zarr.Group

    @classmethod
    def create(cls, root: Root, wanted: Fingerprint, names: tuple[str, ...], side: int, images: int) -> "FeatureStore":
        """Lay the store out."""
        group = zarrs.create_store(root, FEATURES.path())
        block = block_size(2 * len(names) * side * side, 4 * MIB, images)
        zarrs.create_array(
            group,
            "feature",
            shape=(images, len(names), side, side),
            chunks=(block, len(names), side, side),
            dtype="float16",
            dimensions=("image", "feature", "y", "x"),
            coordinates="name",
        )
        zarrs.create_array(
            group,
            "digest",
            shape=(images,),
            chunks=(block,),
            dtype="uint64",
            dimensions=("image",),
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
        zarrs.create_labels(group, "name", names, "feature")
        zarrs.seal_layout(group, wanted, {"images": images, "block": block})
        return cls(group)

    @classmethod
    def open(cls, root: Root, wanted: Fingerprint) -> "FeatureStore | None":
        """The store to go on with; None where there is none, or one that was made from something else."""
        group = zarrs.open_existing(root, FEATURES.path())
        return cls(group) if group is not None and group.attrs["fingerprint"] == wanted.digest else None

    @classmethod
    def read(cls, root: Root) -> "FeatureStore":
        """A finished store.

        Raises
        ------
        FileNotFoundError
            There is none, or it is not finished.
        """
        return cls(zarrs.open_complete(root, FEATURES.path()))

    @property
    def complete(self) -> bool:
        """Whether everything is in."""
        return bool(self.group.attrs.get("complete"))

    @property
    def digest(self) -> str:
        """The store's fingerprint."""
        return str(self.group.attrs["fingerprint"])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, features, and positions a side."""
        images, features, side, _ = zarrs.array_of(self.group, "feature").shape
        return images, features, side

    @property
    def block(self) -> int:
        """Images in a chunk."""
        return int(str(self.group.attrs["block"]))

    def missing(self) -> list[tuple[int, slice]]:
        """Blocks that are not in yet, with their images."""
        written = zarrs.markers(self.group)
        blocks = map(int, np.flatnonzero(~written))
        return [(block, block_slice(block, self.block, self.shape[0])) for block in blocks]

    @property
    def distinct(self) -> int:
        """How many different images there are."""
        return len(np.unique(np.asarray(zarrs.array_of(self.group, "digest")[:])))

    def write(self, block: int, features: npt.NDArray[np.float16], digests: npt.NDArray[np.uint64]) -> None:
        """Write one block, then its marker.

        Parameters
        ----------
        digests
            (image,) the same for images with the same pixels.
        """
        images = block_slice(block, self.block, self.shape[0])
        zarrs.array_of(self.group, "feature")[images] = features
        zarrs.array_of(self.group, "digest")[images] = digests
        zarrs.array_of(self.group, "written")[block] = True

    def finish(self) -> None:
        """Say that everything is in."""
        zarrs.complete(self.group)

    def features(self, images: slice) -> npt.NDArray[np.float16]:
        """(image, feature, y, x) of some images."""
        return np.asarray(zarrs.array_of(self.group, "feature")[images])
