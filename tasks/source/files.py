"""The image files of a source: a folder or a glob at any fsspec URL, `zip://*.jpg::photos.zip` among them."""

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.utils import glob_translate

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.formats import UNREADABLE, suffixes
from tasks.source.places import Place, reason_of

_log = logging.getLogger("rosetta")
_HIDDEN = frozenset({"thumbs.db", "desktop.ini"})
"""Files that a system writes beside pictures, in lower case; others begin with a dot."""

_MAGIC = re.compile(r"[*?[]")

_STAMPS = ("ETag", "etag", "CRC", "LastModified", "last_modified", "mtime", "modified", "updated", "created")
"""Where filesystems tell of a file that its content is another, the surest first."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of a source."""

    url: str
    """Opens with fsspec, whatever the filesystem or chain of filesystems."""
    source: str
    """Path relative to the source's folder, or to the part of the glob before the first wildcard, with `/`; unique in
    its source."""
    size: int
    """Bytes."""
    modified: str
    """What the filesystem says of the last change: a time in ns, an ETag, ...; empty where it says nothing."""


@dataclass
class Listing:
    """What was found, and what was not taken."""

    name: str
    """What messages call the source."""
    files: list[ImageFile] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    """Files and folders whose name begins with a dot."""
    others: Counter[str] = field(default_factory=Counter)
    """By suffix: files of a folder that are no images."""
    miscased: list[str] = field(default_factory=list)
    """Files that only their case keeps from matching the glob."""
    loops: list[str] = field(default_factory=list)
    """Links to a folder that holds them."""
    broken: list[str] = field(default_factory=list)
    """Links to nothing."""

    def lines(self) -> Iterator[str]:
        """What was not taken though a person may have meant it, one line for each reason."""
        if unreadable := {suffix: count for suffix, count in self.others.items() if suffix in UNREADABLE}:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unreadable.items()))
            yield f"left out {kinds}, which cannot be read here; convert them, to PNG say"
        if self.miscased:
            yield f"left out {_few(self.miscased)}, which differ from the glob in case alone; use *.[jJ][pP][gG], say"
        if self.broken:
            yield f"left out {_few(self.broken)}: links to nothing"
        if self.loops:
            yield f"did not follow {_few(self.loops)}: links to a folder that holds them"

    def counts(self) -> str:
        """How many were not taken as no one means them."""
        rest = sum(count for suffix, count in self.others.items() if suffix not in UNREADABLE)
        parts = [(len(self.hidden), "hidden item"), (rest, "other file")]
        return " and ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in parts if count)


def list_source(images: Images) -> list[ImageFile]:
    """All image files of a source, sorted by `source`; logs how many were left out, and why.

    A folder gives all files below it whose suffix is an image's; a glob, all files that match. Linked folders are
    followed, hidden files and folders left out.

    Raises
    ------
    UserError
        There are none, or the source cannot be listed.
    """
    assert images.source is not None
    listing = find_images(images.source, "images.source")
    if counts := listing.counts():
        _log.info("%s: left out %s", listing.name, counts)
    for line in listing.lines():
        _log.warning("%s: %s", listing.name, line)
    return listing.files


def find_images(source: str, name: str, wanted: str = "a folder or a glob of image files") -> Listing:
    """The image files of a folder or a glob; `name` is what messages call it, and `wanted` what they ask for.

    Raises
    ------
    UserError
        There are none, or it cannot be listed.
    """
    listing, pattern = Listing(name), None
    try:
        place = Place.of(source)
        for pattern in _patterns(place):
            listing = Listing(name)
            listing.files = sorted(_files(place, pattern, listing), key=lambda file: file.source)
            if listing.files:
                return listing
    except Exception as error:  # every filesystem has errors of its own, those of a library need not be OSErrors
        is_address = isinstance(error, ValueError | ImportError)
        remedy = "give a path or an installed fsspec protocol" if is_address else "check the path and your access to it"
        raise UserError(f"{name} {source!r} cannot be listed ({reason_of(error)}); {remedy}") from None
    raise UserError(f"{name} {source!r} has no images: {_nothing(listing, pattern, source)}; give {wanted}")


@dataclass(frozen=True)
class _Pattern:
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

    def __init__(self, pattern: _Pattern, listing: Listing) -> None:
        glob = glob_translate("/".join(pattern.parts))
        self._match = re.compile(glob).match
        self._match_any_case = re.compile(glob, re.IGNORECASE).match
        self._leading = [re.compile(glob_translate(part)).match for part in pattern.leading]
        self._open_ended = "**" in pattern.parts
        self._dotted = [re.compile(glob_translate(part)).match for part in pattern.parts if part.startswith(".")]
        self._suffixes = suffixes() if pattern.is_folder else None
        self._listing = listing

    def enters(self, relative: str, name: str, level: int) -> bool:
        """Whether anything in a folder can be taken."""
        if level >= len(self._leading):
            return self._open_ended and not self.hides(relative, name)
        return self._leading[level](name) is not None and not self.hides(relative, name)

    def hides(self, relative: str, name: str) -> bool:
        """Whether a file or folder is hidden; not if the glob asks for it with a dot of its own."""
        if not name.startswith(".") and name.lower() not in _HIDDEN:
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
            suffix = PurePosixPath(name).suffix.lower()
            if suffix not in self._suffixes:
                self._listing.others[suffix] += 1
            return suffix in self._suffixes
        if self._match(relative):
            return not self.hides(relative, name)
        if self._match_any_case(relative) and not name.startswith("."):
            self._listing.miscased.append(relative)
        return False


def _files(place: Place, pattern: _Pattern, listing: Listing) -> Iterator[ImageFile]:
    if pattern.parts:
        yield from _local(pattern, listing) if place.is_local else _elsewhere(place, pattern, listing)
        return
    path, name = pattern.root, pattern.root.rpartition("/")[2]
    if place.is_local:
        yield _local_file(path, name, Path(path).stat())
    else:
        yield _file(place, path, name, place.filesystem.info(path))


def _local(pattern: _Pattern, listing: Listing) -> Iterator[ImageFile]:
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
    return ImageFile(f"file://{path}", _text(relative), status.st_size, str(status.st_mtime_ns))


def _elsewhere(place: Place, pattern: _Pattern, listing: Listing) -> Iterator[ImageFile]:
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
    modified = next((str(info[key]) for key in _STAMPS if info.get(key) is not None), "")
    return ImageFile(place.url(path), _text(relative), int(info.get("size") or 0), modified)


def _patterns(place: Place) -> Iterator[_Pattern]:
    """How a source can be read; the first of these that finds anything is meant."""
    filesystem, path = place.filesystem, place.path
    parts = path.split("/")

    def joined(count: int) -> str:
        return "/".join(parts[:count]) or path[: path.startswith("/")]

    if filesystem.isdir(path):
        yield _Pattern(path.rstrip("/") or path, ("**",), is_folder=True)
        return
    first = next((number for number, part in enumerate(parts[:-1]) if _MAGIC.search(part)), len(parts) - 1)
    yield _Pattern(joined(first), tuple(parts[first:]))
    if filesystem.isfile(path):
        yield _Pattern(path, ())
    # Brackets may be part of a folder's name.
    existing = first
    while existing < len(parts) - 1 and filesystem.isdir(joined(existing + 1)):
        existing += 1
    if existing > first:
        yield _Pattern(joined(existing), tuple(parts[existing:]))


def _nothing(listing: Listing, pattern: _Pattern | None, source: str) -> str:
    """Why there are no images."""
    for line in listing.lines():
        return line
    if counts := listing.counts():
        return f"it holds {counts}"
    if pattern is not None and pattern.is_folder:
        return "it is empty"
    if "[" in source:
        return "nothing matches it (write [[] for a bracket that is part of a name)"
    return "nothing matches it" + (" (write / between folders)" if "\\" in source else "")


def _text(name: str) -> str:
    """A name as text that can be stored, whatever bytes it is made of."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(_text, sorted(names)[:3]))
    return f"{len(names)} file{'s' * (len(names) != 1)} ({shown}{', …' if len(names) > 3 else ''})"
