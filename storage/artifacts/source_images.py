"""`images.zarr` of a folder of files: each image's pixels, and a record of the file that they were read from."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rosetta.mining.halves import Mask
from storage.artifacts import layout
from storage.artifacts.attributes import encode
from storage.artifacts.blocks import block_count, block_slice
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.halves import HALF
from storage.artifacts.images import ImageStore, lay_out, write_halves
from storage.artifacts.shared import Place
from storage.filesystem.root import Root

_OF_A_FILE = {
    "source": "path of the image in the source",
    "stamp": "size in bytes and time of last change of the file",
    "sha256": "SHA-256 of the file",
}
LABELS = {
    "image": "index of the image",
    "place": "position of the image in the listing of the source",
    "label": "label of the image",
}
"""Long names of what is known once all files have been read."""
_GIVEN = "labels_given"
_CROP, _COMPOSITED = "crop", "composited"
_AT_ONCE = 1 << 15
"""Rows of columns that are objects at once."""
Crop = tuple[float, float, float, float]
"""y0, x0, y1, x1 in fractions of an image."""


@dataclass(frozen=True)
class FileRecord:
    """A file as it was when it was read."""

    source: str
    """Its path in the source's folder, with `/`."""
    stamp: str
    """Its size in bytes and, after a blank, its time of last change: a quick sign that it is the same."""
    sha256: str
    """Of its content; empty where that could not be read."""

    @property
    def size(self) -> str:
        """In bytes."""
        return self.stamp.partition(" ")[0]


@dataclass(frozen=True)
class LeftOut:
    """A file that is not an image, or is cut short."""

    record: FileRecord
    reason: str


@dataclass(frozen=True)
class SourceStore(ImageStore):
    """The images of a folder.

    Their fingerprint holds the settings and, once all are written, the `content` of the files. A fingerprint without
    `content` is that of a store that was never finished, so nothing depends on it yet.
    """

    @classmethod
    def begin(cls, root: Root, settings: Fingerprint, *, images: int, size: int, block: int) -> "SourceStore":
        """The store to resume, or a new one; with room for `images`.

        Raises
        ------
        UserError
            A store with other settings was finished once, so others may depend on it.
        """
        group = layout.open_existing(root, IMAGES.path())
        if group is not None:
            attributes = layout.attributes_of(group)
            found = attributes["depends"]
            same = without_content(found) == settings.depends
            if not same and not was_never_finished(found):
                settings.require_match(IMAGES.path(), attributes)
            if same and attributes["block"] == block:
                store = cls(group)
                store._resize(images)
                return store
        group = lay_out(root, images, (size, size), block)
        for name in _OF_A_FILE:
            layout.create_array(group, name, str, {"image": (images, block)}, _OF_A_FILE[name], fill="")
        layout.create_array(
            group,
            _CROP,
            "float64",
            {"image": (images, block), "edge": 4},
            "square that was cropped",
            description="in fractions of the upright image",
        )
        layout.create_labels(group, "edge", ["y0", "x0", "y1", "x1"], "edge", "edge of the square")
        layout.create_array(
            group,
            _COMPOSITED,
            "bool",
            {"image": (images, block)},
            "whether transparency was laid on the background",
            fill=False,
        )
        drawn = {key: settings.depends[key] for key in ("seed", "order") if key in settings.depends}
        layout.seal_layout(group, settings, {"block": block, **drawn})
        return cls(group)

    @classmethod
    def at(cls, place: Place) -> "SourceStore":
        """A store in its place, finished or not."""
        return cls(layout.open_to_read(place))

    def records(self, block: int) -> list[FileRecord]:
        """The files of a block if it is complete; fields that are not known are empty."""
        if not self._is_written(block):
            return []
        span = block_slice(block, self.block, self.count)
        columns = [map(str, np.asarray(self._array(name)[span])) for name in _OF_A_FILE]
        return [FileRecord(*row) for row in zip(*columns, strict=True)]

    def column(self, name: str) -> pa.ChunkedArray:
        """(image,) a field of :class:`FileRecord` of every image, empty where it is not known."""
        kind = pa.large_string()
        return pa.chunked_array([pa.array(map(str, part), kind) for part in self._parts(name)], kind)

    def _parts(self, name: str) -> Iterator[npt.NDArray[Any]]:
        array, step = self._array(name), -(-_AT_ONCE // self.block) * self.block
        return (np.asarray(array[first : first + step]) for first in range(0, self.count, step))

    def keep(
        self,
        block: int,
        pixels: npt.NDArray[np.uint8],
        records: Sequence[FileRecord],
        crops: Sequence[Crop],
        composited: Sequence[bool],
    ) -> None:
        """Write a block, then its marker; the last one may hold fewer images than there is room for.

        Parameters
        ----------
        pixels
            (image, y, x, rgb)
        crops
            (image,) what of each upright original is in its pixels.
        composited
            (image,) whether the background shows where the original was transparent.
        """
        span = block_slice(block, self.block, self.count)
        room = span.stop - span.start
        if self._is_written(block):
            layout.written_of(self.group)[block] = False
        rest = np.zeros((room - len(pixels), *pixels.shape[1:]), np.uint8)
        self._array("pixels")[span] = np.concatenate([pixels, rest]) if len(rest) else pixels
        for name in _OF_A_FILE:
            values = [getattr(record, name) for record in records]
            self._array(name)[span] = np.array([*values, *[""] * (room - len(values))], dtype=object)
        for name, rows, empty in ((_CROP, crops, (0.0,) * 4), (_COMPOSITED, composited, False)):
            if name in self.group:  # older versions did not keep them
                self._array(name)[span] = np.array([*rows, *[empty] * (room - len(rows))])
        self.mark(block)

    def finish_files(
        self,
        settings: Fingerprint,
        images: int,
        places: npt.NDArray[np.int64],
        left_out: Sequence[LeftOut],
        labels: Sequence[str] | None,
        labels_given: bool = False,
        indices: npt.NDArray[np.integer] | None = None,
        halves: Mask | None = None,
    ) -> None:
        """Record the files, and mark the store as finished.

        Parameters
        ----------
        images
            How many of them are images; room for more is removed.
        places
            (image,) position in the listing.
        labels
            (image,) class.
        labels_given
            Whether labels are part of the content: they do not follow from the sources' names.
        indices
            (image,) index among all images of the run, where those of the store are only some.
        halves
            (image of the run,) whether each belongs to the first half; None in a store of an earlier version.
        """
        self._resize(images)
        index = np.arange(images) if indices is None else indices
        values: dict[str, npt.NDArray[Any]] = {"image": index.astype(np.int32), "place": places}
        if labels is not None:
            values["label"] = np.array(labels, dtype=object)
        for name in ("image", "place", "label"):
            if name in self.group:
                del self.group[name]
            if name in values:
                layout.create_labels(self.group, name, values[name], "image", LABELS[name])
        beside = [name for name in values if name != "image"]
        if halves is not None:
            write_halves(self.group, halves, indices)
            beside.append(HALF)
        self._array("pixels").attrs["coordinates"] = " ".join(["source", *beside])
        source = self.column("source")
        digests = map(str, chain.from_iterable(self._parts("sha256")))
        given = [labels] if labels is not None and labels_given else []
        content = _digest(_rows(zip(texts(source), digests, *given, strict=True)))
        fingerprint = Fingerprint({**settings.depends, "content": content})
        order, bad_records = pc.sort_indices(source), sorted((one.record.source, one.record.stamp) for one in left_out)
        stamps = stamps_digest(
            zip(texts(source.take(order)), texts(self.column("stamp").take(order)), strict=True), bad_records
        )
        bad = [{**asdict(one.record), "reason": one.reason} for one in left_out]
        attributes = {"stamps": stamps, "left_out": bad, _GIVEN: labels_given}
        self.group.update_attributes(encode({**fingerprint.attributes(), **attributes}))
        self.finish()

    @property
    def has_given_labels(self) -> bool:
        """Whether the labels are part of the content."""
        return bool(self.group.attrs.get(_GIVEN))

    def left_out(self) -> list[LeftOut]:
        """The bad files: they are in the source but not among the images."""
        rows = layout.attributes_of(self.group).get("left_out", [])
        return [LeftOut(FileRecord(*(row[name] for name in _OF_A_FILE)), row["reason"]) for row in rows]

    def _is_written(self, block: int) -> bool:
        try:
            return bool(layout.written_of(self.group)[block])
        except ValueError:  # its checksum
            return False

    def _resize(self, images: int) -> None:
        if self.count != images:
            for name in ("pixels", *_OF_A_FILE, *({_CROP, _COMPOSITED} & set(self.group.array_keys()))):
                array = self._array(name)
                array.resize((images, *array.shape[1:]))
        written, blocks = layout.written_of(self.group), block_count(images, self.block)
        if written.shape[0] != blocks:
            written.resize((blocks,))


def without_content(depends: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a fingerprint that is known before the files are read."""
    return {key: value for key, value in depends.items() if key != "content"}


def was_never_finished(depends: Mapping[str, Any]) -> bool:
    """Whether a fingerprint is that of a folder's images that were never finished, so that nothing depends on it."""
    return "order" in depends and "content" not in depends


def stamps_digest(images: Iterable[tuple[str, str]], left_out: Iterable[tuple[str, str]]) -> str:
    """Of the sources and stamps of files, which come sorted by source."""
    return _digest(chain("[", _rows(images), [", "], _rows(left_out), "]"))


def texts(column: pa.ChunkedArray) -> Iterator[str]:
    """What a column holds, one after the other."""
    for first in range(0, len(column), _AT_ONCE):
        yield from column.slice(first, _AT_ONCE).to_pylist()


def _rows(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Pieces of a list of lists in JSON."""
    yield "["
    for number, row in enumerate(rows):
        yield f"{', ' * (number > 0)}{json.dumps(row)}"
    yield "]"


def _digest(pieces: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.encode())
    return digest.hexdigest()
