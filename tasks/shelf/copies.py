"""Which files of a root go onto a shelf: its pages and what they show, and nothing that only a program reads."""

import os
from collections.abc import Iterator
from pathlib import Path

from storage.filesystem.root import Root

_OF_RUNS = ("inversions", "edits")
_SUFFIXES = (".html", ".js", ".webp", ".png", ".jpg", ".svg")


def files_of_pages(root: Root, kind: str) -> Iterator[str]:
    """Paths under a root of the files of its pages. Symbolic links are left out, since they may lead out of it."""
    for part in ("report", *(_OF_RUNS if kind == "run" else ())):
        for path in _files(root, part):
            names = path.split("/")
            if path.endswith(_SUFFIXES) and not any(name.startswith(".") or name.endswith(".zarr") for name in names):
                yield path


def _files(root: Root, part: str) -> list[str]:
    if (local := root.local) is None:
        return root.find(part)
    top = local / part
    if top.is_symlink():
        return []
    if top.is_file():
        return [part]
    found = [Path(folder) / name for folder, _, names in os.walk(top) for name in names]
    return sorted(path.relative_to(local).as_posix() for path in found if not path.is_symlink())
