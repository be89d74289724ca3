"""`features.zarr`: plain pixel features of every image, on one square grid."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from storage.artifacts import layout
from storage.artifacts.blocks import MIB, block_count, block_size, block_slice
from storage.artifacts.catalogue import FEATURES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root

SIDE = 64
"""Positions a side that features are made on, as those of the control `pixels/64` are."""
_ITEMSIZE = 2
"""Bytes of a stored value: about what is left of a rounded one."""


@dataclass(frozen=True)
class FeatureStore(ArtifactStore):
    """`pixel_feature` (image, feature, y, x) in blocks of images; `digest` (image) identifies repeated images."""

    artifact = FEATURES
    rebuilt = True

    @classmethod
    def create(
        cls, root: Root, fingerprint: Fingerprint, names: tuple[str, ...], side: int, images: int
    ) -> "FeatureStore":
        """Lay the store out."""
        group = layout.create_store(root, FEATURES.path())
        block = block_size(_ITEMSIZE * len(names) * side * side, 4 * MIB, images)
        layout.create_array(
            group,
            "pixel_feature",
            "float32",
            {"image": (images, block), "feature": len(names), "y": side, "x": side},
            "pixel feature",
            description="plain content of the image's pixels at each position",
            coordinates="digest",
            **layout.ROUNDED,
        )
        of_images: layout.Axes = {"image": (images, block)}
        about = "the same for images with the same pixels"
        layout.create_array(group, "digest", "uint64", of_images, "digest of the pixels", description=about)
        layout.create_written(group, block=block_count(images, block))
        layout.create_index(group, "image", images, "index of the image")
        layout.create_labels(group, "feature", names, "feature", "name of the pixel feature")
        layout.create_centres(group, (side, side))
        layout.seal_layout(group, fingerprint, {"images": images, "block": block})
        return cls(group)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Images, features, and positions a side."""
        images, features, side, _ = self._values.shape
        return images, features, side

    def missing(self) -> list[tuple[int, slice]]:
        """Blocks that are not complete, with their images."""
        blocks = map(int, np.flatnonzero(~self.written()))
        return [(block, block_slice(block, self.block, self.shape[0])) for block in blocks]

    @property
    def distinct(self) -> int:
        """How many different images there are."""
        return len(np.unique(np.asarray(self._array("digest")[:])))

    def write(self, block: int, features: npt.NDArray[np.float16], digests: npt.NDArray[np.uint64]) -> None:
        """Write one block, then its marker.

        Parameters
        ----------
        digests
            (image,) the same for images with the same pixels.
        """
        images = block_slice(block, self.block, self.shape[0])
        self._values[images] = features.astype(np.float32)
        self._array("digest")[images] = digests
        self.mark(block)

    def features(self, images: slice) -> npt.NDArray[np.float32]:
        """(image, feature, y, x) of some images."""
        return np.asarray(self._values[images]).astype(np.float32, copy=False)

    @property
    def _values(self) -> zarr.Array:
        return self._array("pixel_feature" if "pixel_feature" in self.group else "feature")  # the latter of format 2
