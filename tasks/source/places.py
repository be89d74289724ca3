"""Where image files lie: any fsspec filesystem, among them archives, which are opened once and not for every file."""

import bz2
import gzip
import lzma
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, Any

import fsspec
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.tar import TarFileSystem

_FORWARDING = frozenset({"simplecache", "filecache", "blockcache"})
"""Links of a chain without a path of their own: they keep what the next one holds."""

_LOCAL = "file://"
_NUMBER = re.compile(r"^\[Errno -?\d+\] ")
"""Of an error, where a library wraps the system's words."""


@dataclass(frozen=True)
class Place:
    """A filesystem and a path or glob in it."""

    filesystem: Any
    path: str
    before: str = ""
    """Of a chained URL, what stands before the link that holds the files."""
    after: str = ""
    """And behind it: where an archive lies."""

    @classmethod
    def of(cls, source: str) -> "Place":
        """Where a path, a URL or a chain of URLs leads; raises whatever the filesystem does."""
        chain = _split(source)
        if not chain.after:
            filesystem, path = url_to_fs(source)
            return cls(filesystem, path, chain.before)
        *between, last = chain.after.split("::")
        filesystem, path = url_to_fs(last)
        if isinstance(filesystem, LocalFileSystem):
            last = f"{_LOCAL}{path}"  # absolute, for whoever opens the files
        chain = _Chain(chain.before, chain.link, "::".join([*between, last]))
        _archive.cache_clear()  # it may be another by now
        return cls(_archive(chain.whole).filesystem, chain.path, chain.before, chain.after)

    @property
    def is_local(self) -> bool:
        """Whether the files can be opened by their paths."""
        return isinstance(self.filesystem, LocalFileSystem)

    def find(self, folder: str, depth: int | None) -> Mapping[str, Mapping[str, Any]]:
        """Paths of all files in a folder and at most so many levels down, with what the filesystem tells of each."""
        if not isinstance(self.filesystem, AbstractArchiveFileSystem):
            found: dict[str, dict[str, Any]] = self.filesystem.find(folder, maxdepth=depth, detail=True)
            return found
        # Walking an archive goes through all of its index for every folder.
        self.filesystem.info("")
        index: dict[str, dict[str, Any]] = self.filesystem.dir_cache
        inside = f"{folder.strip('/')}/" if folder.strip("/") else ""
        return {path: info for path, info in index.items() if info["type"] == "file" and path.startswith(inside)}

    def url(self, path: str) -> str:
        """The URL of one of its files."""
        return f"{self.before}{self.filesystem.unstrip_protocol(path)}{self.after}"


@contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """Open a file of a place; raises whatever its filesystem does. May be called from any thread."""
    chain = _split(url)
    if url.startswith(_LOCAL):
        with Path(url.removeprefix(_LOCAL)).open("rb") as file:
            yield file
    elif chain.after:
        archive = _archive(chain.whole)
        with archive.lock, archive.filesystem.open(chain.path, "rb") as file:
            yield file
    else:
        with fsspec.open(url, "rb") as file:
            yield file


def read_range(url: str, start: int, stop: int) -> bytes:
    """Some bytes of a file, fewer where it ends before; raises whatever its filesystem does. From any thread."""
    if local_path(url) is None and not _split(url).after:
        filesystem, path = url_to_fs(url)
        content: bytes = filesystem.cat_file(path, start=start, end=stop)
        return content
    with opened(url) as file:
        file.seek(start)
        return file.read(stop - start)


def local_path(url: str) -> str | None:
    """The path of a file on disk by its URL; None for one elsewhere."""
    return url.removeprefix(_LOCAL) if url.startswith(_LOCAL) else None


def reason_of(error: Exception) -> str:
    """What went wrong, as short as it can be said."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = _NUMBER.sub("", " ".join(str(error).split())) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        text = f"no such file: {text}"
    return text if len(text) <= 200 else f"{text[:200]}…"


@dataclass(frozen=True)
class _Chain:
    """A URL, which may be chained: `zip://a.jpg::s3://bucket/photos.zip`."""

    before: str
    link: str
    """What holds the files: `zip://a.jpg`."""
    after: str
    """`::s3://bucket/photos.zip`; empty where nothing holds the link."""

    @property
    def path(self) -> str:
        """Of a file or glob inside it."""
        return self.link.partition("://")[2]

    @property
    def whole(self) -> str:
        """The URL of all that it holds."""
        return f"{self.before}{self.link.partition('://')[0]}://{self.after}"


def _split(url: str) -> _Chain:
    links = [url] if url.startswith(_LOCAL) else url.split("::")
    holder = next((number for number, link in enumerate(links) if link not in _FORWARDING), len(links) - 1)
    return _Chain(
        "".join(f"{link}::" for link in links[:holder]),
        links[holder],
        "".join(f"::{link}" for link in links[holder + 1 :]),
    )


@dataclass(frozen=True)
class _Archive:
    filesystem: Any
    lock: Lock = field(default_factory=Lock)
    """Held while a file is open, as all of them are read through one."""


@lru_cache(maxsize=4)
def _archive(url: str) -> _Archive:
    filesystem = url_to_fs(url)[0]
    if isinstance(filesystem, TarFileSystem) and isinstance(filesystem.fo, gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile):
        # Going back in a compressed file means to decompress it again from its beginning, here for every image.
        plain = tempfile.NamedTemporaryFile(prefix="rosetta-", suffix=".tar")  # noqa: SIM115, it lives as long as the filesystem
        filesystem.fo.seek(0)
        shutil.copyfileobj(filesystem.fo, plain)
        plain.seek(0)
        filesystem = TarFileSystem(plain)
    return _Archive(filesystem)
