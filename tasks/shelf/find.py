"""Which runs, joins, comparisons and studies lie below a folder."""

import re
from collections.abc import Container
from dataclasses import dataclass
from hashlib import sha256

from storage.filesystem.root import Root
from tasks.roots import RECORDS

MARKER = "shelf.json"
"""The file that makes a folder a shelf."""
DEPTH = 8
"""Levels of folders that are looked through."""
_BESIDE = ("activations", "correlations", "images.zarr", "report", "runs", "seals", "strengths", "tables")
"""One of them is in every root that was begun. A folder of recipes has none."""
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Found:
    """A root below the folder."""

    root: Root
    path: str
    """Below the folder; empty for the folder itself."""
    kind: str

    @property
    def site_path(self) -> str:
        """Where its pages lie on the shelf: the same path, in names that suit every host.

        Links between the pages of a study and those of its runs hold there, too.
        """
        return "/".join(["roots", *(_plain(part) for part in self.path.split("/") if part)])


def kind_of(names: Container[str]) -> str | None:
    """What a folder with these names in it is, by :data:`tasks.roots.RECORDS`; None where it is no root."""
    if not any(name in names for name in _BESIDE):
        return None
    return next((kind for kind, record in RECORDS.items() if record.path() in names), None)


def find_roots(folder: Root) -> list[Found]:
    """All roots at most :data:`DEPTH` levels below a folder, by path. Symbolic links are not followed.

    Only studies hold others, so nothing is looked for inside of them. Another shelf is left out.
    """
    found: list[Found] = []
    waiting = [""]
    while waiting:
        path = waiting.pop()
        entries = folder.entries(path)
        if MARKER in entries:
            continue
        kind = kind_of(entries)
        if kind is not None:
            found.append(Found(Root(f"{folder.url}/{path}"), path, kind))
        inside = [name for name in entries if name == "runs"] if kind == "study" else [] if kind else [*entries]
        if path.count("/") + bool(path) >= DEPTH:
            continue
        for name in inside:
            below = f"{path}/{name}".lstrip("/")
            if entries[name] and not name.startswith(".") and not is_link(folder, below):
                waiting.append(below)
    return sorted(found, key=lambda one: one.path)


def is_link(root: Root, path: str) -> bool:
    """Whether something is a symbolic link."""
    return root.local is not None and (root.local / path).is_symlink()


def _plain(name: str) -> str:
    """A name of letters, digits, dots and dashes; one that had others carries a digest of them and stays unique."""
    if _PLAIN.fullmatch(name):
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)[:40].strip('-') or 'root'}-{digest}"
