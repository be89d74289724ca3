"""What lies under a root and belongs to nothing any more: found and sized first, removed when asked."""

import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rosetta.errors import UserError, nearest
from rosetta.recipe import Recipe
from storage.artifacts import provenance, shared
from storage.artifacts.seals import discard
from storage.artifacts.shared import User
from storage.filesystem.root import Root
from storage.upkeep.expected import expected
from storage.upkeep.status import is_being_written, require_run

_FOLDERS = ("activations", "profiles", "correlations")
_PART = re.compile(r"^\..*\.part$|\.[0-9a-f]{32}\.partial$")
_OLD = 60.0
"""Seconds after which such a file has no writer any more; writing one takes a moment."""


@dataclass(frozen=True)
class Leftover:
    """Something that belongs to nothing."""

    path: str
    """Under the root."""
    why: str
    bytes: int
    """On disk."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Pruning:
    """What can be removed from a root, and what cannot."""

    leftovers: tuple[Leftover, ...]
    kept: tuple[tuple[str, str], ...]
    """Paths of what would be removed if there were no reason against it, and the reason."""
    entries: tuple[str, ...]
    """Of the users to forget."""

    @property
    def bytes(self) -> int:
        """All that is freed."""
        return sum(leftover.bytes for leftover in self.leftovers)

    def still(self, now: "Pruning") -> "Pruning":
        """What of this is true now as well: a run may have begun to use some of it."""
        there = {leftover.path for leftover in now.leftovers}
        return replace(self, leftovers=tuple(leftover for leftover in self.leftovers if leftover.path in there))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        kept = [{"path": path, "why": why} for path, why in self.kept]
        return {"leftovers": [one.as_dict() for one in self.leftovers], "kept": kept, "bytes": self.bytes}


@dataclass(frozen=True)
class _Named:
    """What must stay."""

    paths: Collection[str]
    """Stores and tables."""
    recipe: Recipe | None
    pairs_known: bool
    """Whether the pairs among these are all that the recipe names; if not, any of two of its models stays."""

    def keeps(self, path: str) -> bool:
        """Whether something under the root is named."""
        if path in self.paths:
            return True
        if self.pairs_known or self.recipe is None or "~" not in path:
            return False
        stem = path.rpartition("/")[2].removesuffix(".zarr").removesuffix(".parquet")
        return set(stem.split("~")) <= {spec.name for spec in self.recipe.models}


def find_leftovers(root: Root, forget: Collection[str] = ()) -> Pruning:
    """Look for what neither the root's own recipe names nor any run that shares the root; nothing is changed.

    Inversions, edits and figures stay, as no recipe says which of them are wanted. Links are not followed.

    Parameters
    ----------
    forget
        Roots of runs that shall count no more among those that share this root.

    Raises
    ------
    UserError
        There is no run and nothing shared under the root, or no run to forget lies at such a root.
    """
    known = shared.users(root)
    recipe = provenance.stored_recipe(root)
    if recipe is None and not known:
        require_run(root)
    gone = [_forgotten(known, url, root) for url in forget]
    kept: list[tuple[str, str]] = []
    leftovers = []
    named = _named(root, recipe, [user for user in known if user not in gone])
    for path, why in _candidates(root, named):
        if reason := _reason_to_stay(root, path):
            kept.append((path, reason))
        else:
            leftovers.append(Leftover(path, why, _size(root, path)))
    for user in known:
        if user not in gone and not user.root.exists(provenance.RECIPE):
            reason = f"used by {user.root.shown}, which is not to be found; --forget {user.root.shown} lets go of it"
            kept += [(path, reason) for path in user.stores if root.exists(path)]
    return Pruning(tuple(leftovers), tuple(kept), tuple(user.entry for user in gone))


def _forgotten(known: list[User], url: str, root: Root) -> User:
    asked = Root(url).absolute.shown
    for user in known:
        if user.root.shown == asked:
            return user
    there = [user.root.shown for user in known]
    raise UserError(
        f"--forget {url}: no such run shares {root.shown}{nearest(asked, there)};"
        f" it is shared by {', '.join(there) or 'none'}"
    )


def _named(root: Root, recipe: Recipe | None, known: list[User]) -> _Named:
    paths = {path for user in known for path in user.stores}
    if recipe is None:
        return _Named(paths, None, True)
    own = expected(root, recipe)
    paths |= {*own.stores, *(own.parts or ())} - shared.shared_places(root).keys()
    return _Named(paths, recipe, own.pairs is not None)


def _candidates(root: Root, named: _Named) -> Iterator[tuple[str, str]]:
    found = [path for path in ("images.zarr", "features.zarr") if root.exists(path)]
    found += [f"{folder}/{name}" for folder in _FOLDERS for name in root.list(folder) if name.endswith(".zarr")]
    found += [f"tables/trust/{name}" for name in root.list("tables/trust") if name.endswith(".parquet")]
    yield from ((path, "no recipe names it") for path in found if not named.keeps(path))
    yield from ((path, "a write that was cut off") for path in _parts(root))


def _parts(root: Root) -> Iterator[str]:
    """Files that were to take another's name, ours and Zarr's; only a local disk has them."""
    if (local := root.local) is None:
        return
    for folder, folders, files in os.walk(local):
        folders.sort()
        for name in sorted(files):
            path = Path(folder) / name
            if _PART.search(name) and time.time() - path.lstat().st_mtime > _OLD:
                yield path.relative_to(local).as_posix()


def _reason_to_stay(root: Root, path: str) -> str | None:
    if (local := root.local) is not None:
        steps = [local / path, *(local / path).parents]
        if any(step.is_symlink() for step in steps[: len(Path(path).parts)]):
            return "reached by a link; whatever it leads to is another root's"
    if path.endswith(".zarr") and is_being_written(root, path):
        return "written to a moment ago"
    return None


def _size(root: Root, path: str) -> int:
    if (local := root.local) is None:
        return int(root.filesystem.du(root.path(path)))
    place = local / path
    if not place.is_dir():
        return place.lstat().st_size
    return sum((Path(folder) / name).lstat().st_size for folder, _, files in os.walk(place) for name in files)


def remove(root: Root, pruning: Pruning, advance: Callable[[int], None] = lambda _: None) -> None:
    """Remove what was found. One that is cut short leaves no half a store that looks like a whole one.

    Parameters
    ----------
    advance
        Is told of each one that is gone.
    """
    for entry in pruning.entries:
        root.remove(entry)
    for leftover in pruning.leftovers:
        if _reason_to_stay(root, leftover.path) is None:
            if leftover.path.endswith(".zarr"):
                root.remove(f"{leftover.path}/zarr.json")
            discard(root, leftover.path)
        advance(1)
