"""The images of a source in columns, a hundred bytes or two each, so that millions of them fit into memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from sys import intern
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.source.image_file import ImageFile, RecordBatch, Row, RowGroup, Span, folder_inside

_AT_ONCE = 1 << 15
"""Images that are columns of their own, or are made into objects, at once."""

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where images lie: each in a file of its own, or all in one."""

    before: str
    """The URL, or what comes before `source` in it."""
    after: str | None
    """What comes behind `source` in the URL; None where this is not a part of it."""
    within: str
    """See :attr:`ImageFile.within`."""

    def url(self, source: str) -> str:
        return self.before if self.after is None else f"{self.before}{source}{self.after}"


@dataclass(frozen=True)
class _Columns:
    """Images in any order."""

    source: pa.ChunkedArray
    modified: pa.ChunkedArray
    size: Whole
    origin: npt.NDArray[np.int32]
    """Index into :attr:`origins`."""
    group: npt.NDArray[np.int32]
    """Index into :attr:`groups` of a row of a table, or one of the two below."""
    at: Whole
    """Where a span begins, or the number of a row in its group."""
    label: npt.NDArray[np.int32]
    """Index into :attr:`labels`; -1 where none is given."""
    origins: tuple[_Origin, ...]
    groups: tuple[RowGroup | RecordBatch, ...]
    labels: tuple[str, ...]

    def texts(self, name: Literal["source", "modified"], rows: Whole) -> list[str]:
        """What a column holds. Arrow's `take` copies all of it where it has several chunks."""
        begins, chunks = self._chunks[name]
        number = np.searchsorted(begins, rows, "right") - 1
        inside = rows - begins[number]
        return [chunks[chunk][row].as_py() for chunk, row in zip(number.tolist(), inside.tolist(), strict=True)]

    @cached_property
    def _chunks(self) -> dict[str, tuple[Whole, list[pa.Array]]]:
        """Of each column of texts: the first row of each chunk, and the chunks."""
        chunks = {"source": self.source.chunks, "modified": self.modified.chunks}
        return {name: (np.cumsum([0, *map(len, some)])[:-1], some) for name, some in chunks.items()}

    def files(self, rows: Whole) -> Iterator[ImageFile]:
        columns = (getattr(self, name)[rows].tolist() for name in ("size", "origin", "group", "at", "label"))
        texts = (self.texts(name, rows) for name in ("source", "modified"))
        for source, modified, size, origin, group, at, label in zip(*texts, *columns, strict=True):
            where = self.origins[origin]
            yield ImageFile(
                where.url(source),
                source,
                size,
                modified,
                None if group == _NO_PART else Span(at) if group == _SPAN else Row(self.groups[group], at),
                where.within,
                None if label < 0 else self.labels[label],
            )


_NO_PART, _SPAN = -1, -2
_KINDS = (np.int64, np.int32, np.int32, np.int64, np.int32)
"""Of size, origin, group, at and label."""


class Files(Sequence[ImageFile]):
    """Images of a source; each becomes an object when it is looked at.

    Parts, other orders and other labels of the same images share their columns.
    """

    def __init__(self, columns: _Columns, rows: Whole) -> None:
        self._columns, self._rows = columns, rows

    @classmethod
    def of(cls, files: Iterable[ImageFile]) -> "Files":
        """In the order of some images, which are taken one after the other."""
        if isinstance(files, Files):
            return files
        build, remaining = _Builder(), iter(files)
        while part := list(islice(remaining, _AT_ONCE)):
            build.add(part)
        return build.files()

    @classmethod
    def joined(cls, parts: Iterable["Files"]) -> "Files":
        """One after the other."""
        kept = [part for part in parts if len(part)]
        if len(kept) == 1:
            return kept[0]
        columns = [part._columns for part in kept]
        starts = np.cumsum([0, *(len(one.size) for one in columns)])
        rows = [part._rows + start for part, start in zip(kept, starts[:-1], strict=True)]
        return cls(_joined(columns), np.concatenate([np.zeros(0, np.int64), *rows]))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> ImageFile: ...
    @overload
    def __getitem__(self, index: slice) -> "Files": ...
    def __getitem__(self, index: int | slice) -> "ImageFile | Files":
        if isinstance(index, slice):
            return Files(self._columns, self._rows[index])
        row = self._rows[index]
        return next(self._columns.files(np.array([row])))

    def __iter__(self) -> Iterator[ImageFile]:
        for first in range(0, len(self), _AT_ONCE):
            yield from self._columns.files(self._rows[first : first + _AT_ONCE])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return NotImplemented
        same = isinstance(other, Files) and self._columns is other._columns and np.array_equal(self._rows, other._rows)
        return same or all(one == another for one, another in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), *self[:1], *self[-1:]))

    def __repr__(self) -> str:
        return f"<{len(self)} files>"

    def take(self, indices: npt.NDArray[np.integer | np.bool_]) -> "Files":
        """Those at some indices, or where a mask says so, in the order of these."""
        return Files(self._columns, self._rows[indices])

    def names(self) -> Iterator[str]:
        """(file,) :attr:`ImageFile.source`, one after the other."""
        for first in range(0, len(self), _AT_ONCE):
            yield from self._columns.texts("source", self._rows[first : first + _AT_ONCE])

    @property
    def sources(self) -> pa.ChunkedArray:
        """(file,) :attr:`ImageFile.source`."""
        return self._columns.source.take(self._rows)

    def stamps(self) -> Iterator[str]:
        """(file,) :attr:`ImageFile.stamp`."""
        for first in range(0, len(self), _AT_ONCE):
            rows = self._rows[first : first + _AT_ONCE]
            sizes, modified = self._columns.size[rows].tolist(), self._columns.texts("modified", rows)
            yield from (f"{size} {change}" for size, change in zip(sizes, modified, strict=True))

    def by_source(self) -> Whole:
        """(file,) indices that sort them by :attr:`ImageFile.source`."""
        return pc.sort_indices(self.sources).to_numpy().astype(np.int64)

    def find(self, sources: Sequence[str]) -> list[int]:
        """Where images are by their :attr:`ImageFile.source`; -1 for those that are not among them."""
        hashes, order = self._hashes
        found = []
        for source in sources:
            first = np.searchsorted(hashes, hash(source), sorter=order)
            last = np.searchsorted(hashes, hash(source), "right", sorter=order)
            found.append(next((int(at) for at in order[first:last] if self[at].source == source), -1))
        return found

    @cached_property
    def _hashes(self) -> tuple[Whole, Whole]:
        """(file,) of sources, and the order that sorts them."""
        hashes = np.fromiter(map(hash, self.names()), np.int64, len(self))
        return hashes, np.argsort(hashes)

    def as_they_lie(self) -> Whole:
        """(file,) indices in the order in which they are best read: those of one file as they follow one another."""
        columns, rows = self._columns, self._rows
        starts = np.array([group.start for group in columns.groups] or [0], np.int64)
        group = columns.group[rows]
        in_group = group >= 0
        start = np.where(in_group, starts[np.where(in_group, group, 0)], columns.at[rows])
        number = np.where(in_group, columns.at[rows], 0)
        return np.lexsort((number, start, columns.origin[rows])).astype(np.int64)

    @cached_property
    def are_whole(self) -> bool:
        """Whether all are files of their own."""
        return bool((self._columns.group[self._rows] == _NO_PART).all())

    @property
    def have_labels(self) -> bool:
        """Whether some have labels that do not follow from their names."""
        return bool((self._columns.label[self._rows] >= 0).any())

    def labels(self) -> list[str]:
        """(file,) labels, empty where none is given. Equal ones are one object."""
        texts = [*self._columns.labels, ""]
        return [texts[label] for label in self._columns.label[self._rows]]

    def folders(self) -> list[str]:
        """(file,) :attr:`ImageFile.folder`. Equal ones are one object."""
        known: dict[str, str] = {}
        origins, folders = self._columns.origins, []
        for source, origin in zip(self.names(), self._columns.origin[self._rows], strict=True):
            folder = folder_inside(source, origins[origin].within)
            folders.append(known.setdefault(folder, folder))
        return folders

    def labelled(self, codes: npt.NDArray[np.integer] | None = None, labels: Sequence[str] = ()) -> "Files":
        """The same with other labels.

        Parameters
        ----------
        codes
            (file,) index into `labels`; left out, none have a label.
        """
        label = np.full(len(self._columns.label), -1, np.int32)
        if codes is not None:
            label[self._rows] = codes
        columns = {one.name: getattr(self._columns, one.name) for one in fields(_Columns)}
        return Files(_Columns(**{**columns, "label": label, "labels": tuple(labels)}), self._rows)


class _Builder:
    """Columns that grow."""

    def __init__(self) -> None:
        self._origins: dict[_Origin, int] = {}
        self._groups: dict[RowGroup | RecordBatch, int] = {}
        self._labels: dict[str, int] = {}
        self._last = _Origin("", "", "")
        self._texts: list[tuple[pa.Array, pa.Array]] = []
        self._numbers: list[list[npt.NDArray[np.int64 | np.int32]]] = []

    def add(self, files: Sequence[ImageFile]) -> None:
        numbers = np.empty((5, len(files)), np.int64)
        for column, file in zip(numbers.T, files, strict=True):
            group, at = _NO_PART, 0
            if isinstance(file.part, Span):
                group, at = _SPAN, file.part.start
            elif file.part is not None:
                group, at = self._groups.setdefault(file.part.group, len(self._groups)), file.part.number
            label = -1 if file.label is None else self._labels.setdefault(intern(file.label), len(self._labels))
            column[:] = file.size, self._origin(file), group, at, label
        sources = pa.array([file.source for file in files], pa.large_string())
        self._texts.append((sources, pa.array([file.modified for file in files], pa.large_string())))
        self._numbers.append([column.astype(kind) for column, kind in zip(numbers, _KINDS, strict=True)])

    def files(self) -> Files:
        sources, modified = zip(*self._texts, strict=True) if self._texts else ((), ())
        size, origin, group, at, label = (
            np.concatenate([np.zeros(0, kind), *(part[column] for part in self._numbers)])
            for column, kind in enumerate(_KINDS)
        )
        columns = _Columns(
            pa.chunked_array(sources, pa.large_string()),
            pa.chunked_array(modified, pa.large_string()),
            size,
            origin,
            group,
            at,
            label,
            tuple(self._origins),
            tuple(self._groups),
            tuple(self._labels),
        )
        return Files(columns, np.arange(len(size)))

    def _origin(self, file: ImageFile) -> int:
        """Most files of their own have one, as they differ in the part of their URL that is their source."""
        if file.part is not None:
            self._last = _Origin(file.url, None, file.within)
        elif self._last.within != file.within or self._last.url(file.source) != file.url:
            before, source, after = file.url.partition(file.source)
            self._last = _Origin(before, after if source else None, file.within)
        return self._origins.setdefault(self._last, len(self._origins))


def _joined(parts: Sequence[_Columns]) -> _Columns:
    if not parts:
        return _Builder().files()._columns
    origins, groups = ([0, *np.cumsum([len(getattr(one, name)) for one in parts])] for name in ("origins", "groups"))
    labels = {label: None for one in parts for label in one.labels}
    codes = {label: code for code, label in enumerate(labels)}
    return _Columns(
        pa.chunked_array([chunk for one in parts for chunk in one.source.chunks], pa.large_string()),
        pa.chunked_array([chunk for one in parts for chunk in one.modified.chunks], pa.large_string()),
        np.concatenate([one.size for one in parts]),
        np.concatenate([one.origin + np.int32(start) for one, start in zip(parts, origins[:-1], strict=True)]),
        np.concatenate(
            [
                np.where(one.group < 0, one.group, one.group + np.int32(start))
                for one, start in zip(parts, groups[:-1], strict=True)
            ]
        ),
        np.concatenate([one.at for one in parts]),
        np.concatenate([np.array([*(codes[label] for label in one.labels), -1], np.int32)[one.label] for one in parts]),
        tuple(origin for one in parts for origin in one.origins),
        tuple(group for one in parts for group in one.groups),
        tuple(labels),
    )
