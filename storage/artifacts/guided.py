"""`inversions/<name>/` and `edits/<name>/`: the images, latents and losses of guided searches, in batches of images.

Latents, and classes where G is conditional, are enough to rebuild the results.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.errors import UserError
from storage.artifacts import layout, tables
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import RESULT
from storage.artifacts.fingerprint import Fingerprint, first_difference
from storage.artifacts.seals import break_seal
from storage.artifacts.store import ArtifactStore
from storage.filesystem.root import Root

Pixels = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """What a search left for one batch of images."""

    start: Float32
    """(image, …) latents where it began."""
    latent: Float32
    """(image, …) latents where it ended."""
    frames: Pixels
    """(image, frame, y, x, rgb) the images of the way; the last is the result."""
    loss: Float32
    """(image, step, term) each term's value; NaN where a term took no part."""


@dataclass(frozen=True)
class GuidedStore(ArtifactStore):
    """`result.zarr`: searches for the same images under one or more kinds of guidance."""

    @classmethod
    def create(
        cls,
        root: Root,
        where: str,
        fingerprint: Fingerprint,
        *,
        guidance: Sequence[str],
        sources: Sequence[str],
        targets: Pixels | None,
        classes: Classes | None,
        size: tuple[int, int],
        latent: Mapping[str, int],
        frame_steps: Sequence[int],
        steps: int,
        terms: Sequence[str],
        batch: int,
    ) -> "GuidedStore":
        """Lay the store out.

        Parameters
        ----------
        where
            `inversions/<name>` or `edits/<name>`.
        sources
            (image,) the name of each image.
        targets
            (image, y, x, rgb) what is inverted, or the images before an edit; None where there are none.
        classes
            (image,) the class of each image, where G is conditional.
        size
            Height and width of the images that G makes.
        latent
            Axes of one image's latents.
        """
        break_seals(root, where)
        group = layout.create_store(root, cls.path(where))
        kinds, images = len(guidance), len(sources)
        layout.create_labels(group, "guidance", list(guidance), "guidance")
        layout.create_labels(group, "source", list(sources), "image")
        layout.create_labels(group, "frame", np.asarray(frame_steps, np.int32), "frame")
        layout.create_labels(group, "term", list(terms), "term")
        if targets is not None:
            _, height, width, _ = targets.shape
            pixels: layout.Axes = {"image": (images, batch), "y": height, "x": width, "rgb": 3}
            layout.create_array(group, "target", "uint8", pixels, coordinates="source")[:] = targets
        if classes is not None:
            layout.create_labels(group, "class", classes, "image")
        arrays: dict[str, tuple[str, dict[str, int], Any]] = {
            "frames": ("uint8", {"frame": len(frame_steps), "y": size[0], "x": size[1], "rgb": 3}, 0),
            "result": ("uint8", {"y": size[0], "x": size[1], "rgb": 3}, 0),
            "start": ("float32", dict(latent), 0),
            "latent": ("float32", dict(latent), 0),
            "loss": ("float32", {"step": steps + 1, "term": len(terms)}, float("nan")),
        }
        for name, (dtype, axes, fill) in arrays.items():
            batches: layout.Axes = {"guidance": (kinds, 1), "image": (images, min(batch, images)), **axes}
            layout.create_array(group, name, dtype, batches, fill=fill, coordinates="source")
        layout.create_written(group, guidance=kinds, block=block_count(images, batch))
        layout.seal_layout(group, fingerprint, {"block": batch})
        return cls(group)

    @classmethod
    def path(cls, *names: str) -> str:
        """Where the store of a search lies, given the search's folder."""
        (where,) = names
        return f"{where}/{RESULT}"

    @classmethod
    def open(cls, root: Root, fingerprint: Fingerprint, *names: str) -> "GuidedStore | None":
        """The store to resume, or None.

        Parameters
        ----------
        names
            `inversions/<name>` or `edits/<name>`.

        Raises
        ------
        UserError
            The name is in use by a search for something else.
        """
        (where,) = names
        require_free(root, where, fingerprint)
        return super().open(root, fingerprint, *names)

    @property
    def sources(self) -> list[str]:
        """(image,) the name of each image."""
        return [str(name) for name in np.asarray(self._array("source")[:])]

    @property
    def guidance(self) -> list[str]:
        """The kinds of guidance."""
        return [str(name) for name in np.asarray(self._array("guidance")[:])]

    @property
    def terms(self) -> list[str]:
        """Names of the losses."""
        return [str(name) for name in np.asarray(self._array("term")[:])]

    @property
    def frame_steps(self) -> list[int]:
        """(frame,) after how many steps each was taken."""
        return [int(step) for step in np.asarray(self._array("frame")[:])]

    def missing(self) -> list[tuple[int, slice]]:
        """Guidance and images of each batch that is not complete."""
        images = len(self.sources)
        rows = np.argwhere(~self.written())
        return [(int(kind), block_slice(int(block), self.block, images)) for kind, block in rows]

    def targets(self, images: slice = slice(None)) -> Pixels | None:
        """(image, y, x, rgb), or None where there are none."""
        return np.asarray(self._array("target")[images]) if "target" in self.group else None

    def classes(self, images: slice = slice(None)) -> Classes | None:
        """(image,) of a conditional generator, else None."""
        return np.asarray(self._array("class")[images]) if "class" in self.group else None

    def found(self, name: str, images: slice = slice(None)) -> npt.NDArray[Any]:
        """(guidance, image, …) `result`, `frames`, `start`, `latent` or `loss`."""
        return np.asarray(self._array(name)[:, images])

    def write(self, kind: int, images: slice, found: Found) -> None:
        """Write one batch, then its marker."""
        batch = kind, images
        for name in ("frames", "start", "latent", "loss"):
            self._array(name)[batch] = getattr(found, name)
        self._array("result")[batch] = found.frames[:, -1]
        self.mark((kind, images.start // self.block))

    def finish(self) -> None:
        """Mark the store as finished, unless it is."""
        if not self.complete:
            super().finish()


def break_seals(root: Root, where: str) -> None:
    """Call before anything of an inversion or an edit is changed."""
    break_seal(root, where)
    break_seal(root, GuidedStore.path(where))


def require_free(root: Root, where: str, fingerprint: Fingerprint) -> None:
    """Require that a name is new, or that of the same search.

    Raises
    ------
    UserError
        It is in use by a search for something else; says what differs.
    """
    found = layout.stored_attributes(root, GuidedStore.path(where))
    if found is not None and found["fingerprint"] != fingerprint.digest:
        difference = first_difference(found["depends"], json.loads(json.dumps(fingerprint.depends)))
        raise UserError(f"{where} is in use by another search ({difference}); give another --name, or --replace")


def write_table(root: Root, where: str, table: str, frame: pd.DataFrame, fingerprint: Fingerprint) -> None:
    """Write a table beside a search's store: `metrics`, `coefficients`."""
    path = f"{where}/{table}.parquet"
    content = tables.encode(path, frame, fingerprint)
    break_seal(root, where)
    root.write_bytes(path, content)


def read_table(root: Root, where: str, table: str, fingerprint: Fingerprint) -> pd.DataFrame | None:
    """A table beside a search's store, or None where there is none made from the same."""
    path = f"{where}/{table}.parquet"
    if not root.exists(path):
        return None
    content = root.read_bytes(path)
    return tables.decode(content) if tables.attributes_of(content).get("fingerprint") == fingerprint.digest else None
