"""Reads the bytes of an image where they lie: a file, a part of a tar, or a row of a table."""

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.source.file_list import Files
from tasks.source.image_file import DamagedError, ImageFile, Row, RowGroup, Span
from tasks.source.places import local_path, opened, read_range, reason_of
from tasks.source.tables import Group, is_of_content, table_of, values_of

_KEPT = 256 << 20
"""Bytes of groups of rows that are kept, as neighbours are read together where their order allows."""

_AT_ONCE = 1 << 10
"""Files that are waiting to be read at once."""

T = TypeVar("T")


def read(file: ImageFile) -> bytes:
    """All of an image's bytes; raises whatever its filesystem does.

    Raises
    ------
    DamagedError
        It is a part of a file that is damaged there.
    """
    if file.part is None:
        with opened(file.url) as content:
            return content.read()
    if isinstance(file.part, Span):
        found = read_range(file.url, file.part.start, file.part.start + file.size)
        if len(found) != file.size:
            raise DamagedError(f"{len(found)} of its {file.size} bytes are there")
        return found
    return _of_row(file.url, file.part)


@contextmanager
def opened_image(file: ImageFile) -> Iterator[IO[bytes]]:
    """An image to read from its beginning, as far as needed; raises what :func:`read` does."""
    if file.part is not None:
        yield io.BytesIO(read(file))
        return
    with opened(file.url) as content:
        yield content


def read_in_place(function: Callable[[ImageFile], T], files: Sequence[ImageFile], pool: Executor) -> list[T]:
    """What a function gives for each file, called for the parts of a file in the order in which they lie there."""
    objects = list(files)
    order = sorted(range(len(objects)), key=lambda at: objects[at].position)
    found = dict(zip(order, pool.map(function, [objects[at] for at in order]), strict=True))
    return [found[at] for at in range(len(objects))]


def read_as_they_lie(
    function: Callable[[ImageFile], T], files: Files, pool: Executor
) -> Iterator[tuple[int, ImageFile, T]]:
    """Index, file and what a function gives for each, in the order in which they lie, so that none is opened twice."""
    order = files.as_they_lie()
    for first in range(0, len(order), _AT_ONCE):
        part = order[first : first + _AT_ONCE]
        batch = list(files.take(part))
        yield from zip(part.tolist(), batch, pool.map(function, batch), strict=True)


def _of_row(url: str, row: Row) -> bytes:
    try:
        value = _GROUPS.read(url, row.group)[row.number].as_py()
    except (IndexError, KeyError, StopIteration):
        raise DamagedError("its file is another by now") from None
    except Exception as error:
        if not is_of_content(error):
            raise
        raise DamagedError(reason_of(error)) from None
    if not isinstance(value, bytes):
        raise DamagedError("its row holds no bytes")
    return value


@dataclass
class _Kept:
    """A group of rows, once it has been read."""

    lock: Lock = field(default_factory=Lock)
    values: pa.ChunkedArray | None = None
    size: int = 0
    """Bytes in memory."""


class _Groups:
    """Groups of rows, of which the last ones are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Group], _Kept] = OrderedDict()
        self._lock = Lock()

    def read(self, url: str, group: Group) -> pa.ChunkedArray:
        """(row,) the bytes of a group's images."""
        with self._lock:
            kept = self._kept.setdefault((url, group), _Kept())
            self._kept.move_to_end((url, group))
        with kept.lock:
            if kept.values is not None:
                return kept.values
            values = kept.values = _read_group(url, group)
            kept.size = values.nbytes
        with self._lock:
            while len(self._kept) > 1 and sum(one.size for one in self._kept.values()) > _KEPT:
                self._kept.popitem(last=False)
        return values


_GROUPS = _Groups()


@lru_cache(maxsize=64)
def _footer(url: str, stamp: str, change: tuple[int, int] | None) -> pq.FileMetaData:
    """Of a Parquet file. It tells of all groups, so to read it for each takes the longer the more there are.

    Parameters
    ----------
    stamp
        Of the file when it was listed.
    change
        Size and time of last change of a local file now.
    """
    with opened(url) as content:
        return pq.read_metadata(content)


def _read_group(url: str, group: Group) -> pa.ChunkedArray:
    if isinstance(group, RowGroup):
        path = local_path(url)
        change = None if path is None else ((status := Path(path).stat()).st_size, status.st_mtime_ns)
        footer = _footer(url, group.stamp, change)
        with opened(url) as content:
            table = pq.ParquetFile(content, metadata=footer).read_row_group(group.start, columns=[group.column])
    else:
        pieces = read_range(url, *group.schema), read_range(url, group.start, group.stop)
        batch = pa.ipc.open_stream(pa.py_buffer(b"".join(pieces))).read_next_batch()
        table = table_of(batch, [group.column.partition(".")[0]])
    return values_of(table, group.column)
