"""Walks a folder or a glob at any fsspec URL, and takes the files that are asked for."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.utils import glob_translate

from tasks.source.containers import CONTAINERS, is_container
from tasks.source.contents import is_hidden
from tasks.source.formats import suffixes
from tasks.source.image_file import ImageFile, as_text, suffix_of
from tasks.source.listing import Listing
from tasks.source.places import Place

_MAGIC = re.compile(r"[*?[]")

_STAMPS = ("ETag", "etag", "CRC", "LastModified", "last_modified", "mtime", "modified", "updated", "created")
"""Where filesystems tell of a file that its content is another, the surest first."""


@dataclass(frozen=True)
class Pattern:
    """A folder and what to take below it."""

    root: str
    parts: tuple[str, ...]
    """Of the glob below the folder; `**` for all images of a folder."""
    is_folder: bool = False

    @property
    def leading(self) -> tuple[str, ...]:
        """The parts that each match one level of folders."""
        return self.parts[: self.parts.index("**")] if "**" in self.parts else self.parts[:-1]

    @property
    def depth(self) -> int | None:
        """How many levels it reaches down."""
        return None if "**" in self.parts else len(self.parts)


class _Filter:
    """Decides on paths below a pattern's folder and keeps account of it."""

    def __init__(self, pattern: Pattern, listing: Listing) -> None:
        glob = glob_translate("/".join(pattern.parts))
        self._match = re.compile(glob).match
        self._match_any_case = re.compile(glob, re.IGNORECASE).match
        self._leading = [re.compile(glob_translate(part)).match for part in pattern.leading]
        self._open_ended = "**" in pattern.parts
        self._dotted = [re.compile(glob_translate(part)).match for part in pattern.parts if part.startswith(".")]
        self._suffixes = suffixes() | CONTAINERS if pattern.is_folder else None
        self._listing = listing

    def enters(self, relative: str, name: str, level: int) -> bool:
        """Whether anything in a folder can be taken."""
        if level >= len(self._leading):
            return self._open_ended and not self.hides(relative, name)
        return self._leading[level](name) is not None and not self.hides(relative, name)

    def hides(self, relative: str, name: str) -> bool:
        """Whether a file or folder is hidden; not if the glob asks for it with a dot of its own."""
        if not is_hidden(name):
            return False
        if any(match(name) for match in self._dotted):
            return False
        self._listing.hidden.add(relative)
        return True

    def takes(self, relative: str, name: str) -> bool:
        """Whether a file is one of those asked for."""
        if self._suffixes is not None:
            if self.hides(relative, name):
                return False
            suffix = suffix_of(name)
            if suffix not in self._suffixes:
                self._listing.others[suffix] += 1
            return suffix in self._suffixes
        if self._match(relative):
            return not self.hides(relative, name)
        if self._match_any_case(relative) and not name.startswith("."):
            self._listing.miscased.append(relative)
        return False


def files_of(place: Place, pattern: Pattern, listing: Listing) -> Iterator[ImageFile]:
    if pattern.parts:
        yield from _local(pattern, listing) if place.is_local else _elsewhere(place, pattern, listing)
        return
    path, name = pattern.root, pattern.root.rpartition("/")[2]
    if place.is_local:
        yield _local_file(path, name, Path(path).stat())
    else:
        yield _file(place, path, name, place.filesystem.info(path))


def _local(pattern: Pattern, listing: Listing) -> Iterator[ImageFile]:
    """Walk a local folder; the system's own listing is many times faster than any filesystem over it."""
    filtered = _Filter(pattern, listing)
    folders: list[tuple[str, str, int, tuple[str, ...]]] = [(pattern.root, "", 0, (os.path.realpath(pattern.root),))]
    while folders:
        folder, above, level, real = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                relative = above + entry.name
                if _is(entry.is_dir):
                    if not filtered.enters(relative, entry.name, level):
                        continue
                    if (chain := _followed(entry, real)) is None:
                        listing.loops.append(relative)
                    else:
                        folders.append((entry.path, f"{relative}/", level + 1, chain))
                elif not filtered.takes(relative, entry.name):
                    continue
                elif _is(entry.is_file):
                    yield _local_file(entry.path, relative, entry.stat())
                elif entry.is_symlink():
                    listing.broken.append(relative)


def _followed(entry: os.DirEntry[str], real: tuple[str, ...]) -> tuple[str, ...] | None:
    """Where a folder really lies, after the places that links led to it from; None if it holds one of them.

    `real` is the same of the folder that it was found in.
    """
    if not entry.is_symlink():
        return (*real[:-1], f"{real[-1].rstrip(os.sep)}{os.sep}{entry.name}")
    lies = os.path.realpath(entry.path)
    inside = lies.rstrip(os.sep) + os.sep
    return None if any(f"{place}{os.sep}".startswith(inside) for place in real) else (*real, lies)


def _is(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except OSError:  # a link to itself
        return False


def _local_file(path: str, relative: str, status: os.stat_result) -> ImageFile:
    return ImageFile(f"file://{path}", as_text(relative), status.st_size, str(status.st_mtime_ns))


def _elsewhere(place: Place, pattern: Pattern, listing: Listing) -> Iterator[ImageFile]:
    filtered = _Filter(pattern, listing)
    inside = f"{pattern.root.rstrip('/')}/" if pattern.root else ""
    for path, info in place.find(pattern.root, pattern.depth).items():
        relative = path.removeprefix(inside)
        *folders, name = relative.split("/")
        if not name:  # an object that stands for a folder
            continue
        above = ["/".join(folders[: level + 1]) for level in range(len(folders))]
        entered = all(map(filtered.enters, above, folders, range(len(folders))))
        if entered and filtered.takes(relative, name):
            yield _file(place, path, relative, info)


def _file(place: Place, path: str, relative: str, info: Mapping[str, Any]) -> ImageFile:
    modified = _stamp(info)
    if not modified and is_container(relative):
        info = place.filesystem.info(path)  # some say more of one file than of many
        modified = _stamp(info)
    return ImageFile(place.url(path), as_text(relative), int(info.get("size") or 0), modified)


def _stamp(info: Mapping[str, Any]) -> str:
    return next((str(info[key]) for key in _STAMPS if info.get(key) is not None), "")


def patterns(place: Place) -> Iterator[Pattern]:
    """How a source can be read; the first of these that finds anything is meant."""
    filesystem, path = place.filesystem, place.path
    parts = path.split("/")
    if is_container(path) and not _MAGIC.search(path) and filesystem.isfile(path):
        # Its folder need not be listed, which not all filesystems can.
        yield Pattern(path, ())
        return

    def joined(count: int) -> str:
        return "/".join(parts[:count]) or path[: path.startswith("/")]

    if filesystem.isdir(path):
        yield Pattern(path.rstrip("/") or path, ("**",), is_folder=True)
        return
    first = next((number for number, part in enumerate(parts[:-1]) if _MAGIC.search(part)), len(parts) - 1)
    yield Pattern(joined(first), tuple(parts[first:]))
    if filesystem.isfile(path):
        yield Pattern(path, ())
    # Brackets may be part of a folder's name.
    existing = first
    while existing < len(parts) - 1 and filesystem.isdir(joined(existing + 1)):
        existing += 1
    if existing > first:
        yield Pattern(joined(existing), tuple(parts[existing:]))
