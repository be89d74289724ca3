"""The image files of a source."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fsspec.core import url_to_fs

from rosetta.errors import UserError
from rosetta.recipe import Images

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
_STAMPS = ("mtime_ns", "mtime", "LastModified", "last_modified", "updated", "ETag", "created")


@dataclass(frozen=True)
class ImageFile:
    """A file of a source."""

    url: str
    """Opens with `fsspec.open`."""
    source: str
    """Its path in the source's folder, or below the part of the glob before the first wildcard, with `/`."""
    size: int
    """In bytes."""
    modified: str
    """When it was last written, as its file system tells; empty where that does not."""


def list_source(images: Images) -> list[ImageFile]:
    """The image files of a source, sorted by :attr:`ImageFile.source`.

    Raises
    ------
    UserError
        There are none.
    """
    assert images.source is not None
    filesystem, path = url_to_fs(images.source)
    if filesystem.isdir(path):
        base, there = path, filesystem.find(path, detail=True)
        found = {file: about for file, about in there.items() if file.lower().endswith(_SUFFIXES)}
        remedy = f"it holds {len(there) - len(found)} other files" if there else "it is empty"
    else:
        first = min((place for place in map(path.find, "*?[") if place >= 0), default=len(path))
        base = path[:first].rpartition("/")[0]
        there = filesystem.glob(path, detail=True)
        found = {file: about for file, about in there.items() if about["type"] == "file"}
        remedy = "nothing matches it"
    if not found:
        raise UserError(
            f"images.source {images.source!r} has no images: {remedy}; give a folder or a glob of image files"
        )
    files = [
        ImageFile(str(filesystem.unstrip_protocol(file)), file[len(base) :].lstrip("/"), about["size"], _stamp(about))
        for file, about in found.items()
    ]
    return sorted(files, key=lambda file: file.source)


def _stamp(about: dict[str, Any]) -> str:
    value = next((about[key] for key in _STAMPS if about.get(key) is not None), "")
    return value.isoformat() if isinstance(value, datetime) else str(value)
