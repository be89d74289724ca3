"""Leftovers under a root, which no recipe names: found and measured first, removed on request."""

import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rosetta.errors import UserError, nearest
from storage.artifacts import provenance, shared
from storage.artifacts.artifact import PAIRS, Artifact
from storage.artifacts.catalogue import ACTIVATIONS, UPGRADE, Instance, instance_at, instances
from storage.artifacts.layout import stored_attributes
from storage.artifacts.offered_weights import offered_weights
from storage.artifacts.provenance import require_run
from storage.artifacts.seals import discard
from storage.artifacts.shared import User
from storage.filesystem.root import Root
from storage.upkeep.expected import Named, named_by
from storage.upkeep.formats import unfinished_upgrade
from storage.upkeep.status import is_being_written

_PART = re.compile(r"^\..*\.part$|\.[0-9a-f]{32}\.partial$")
_OLD = 60.0
"""Seconds after which such a file no longer has a writer; writing one takes a moment."""


@dataclass(frozen=True)
class Leftover:
    """Something that no recipe names."""

    path: str
    """Under the root."""
    why: str
    bytes: int
    """On disk."""


@dataclass(frozen=True)
class Pruning:
    """What can be removed from a root, and what cannot."""

    leftovers: tuple[Leftover, ...]
    kept: tuple[tuple[str, str], ...]
    """Paths of leftovers that must not be removed, and the reason."""
    entries: tuple[str, ...]
    """Of the users to forget."""

    @property
    def bytes(self) -> int:
        """How much is freed."""
        return sum(leftover.bytes for leftover in self.leftovers)

    def still(self, now: "Pruning") -> "Pruning":
        """The part of this that still holds: a run may have begun to use some of it."""
        there = {leftover.path for leftover in now.leftovers}
        return replace(self, leftovers=tuple(leftover for leftover in self.leftovers if leftover.path in there))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        kept = [{"path": path, "why": why} for path, why in self.kept]
        return {"leftovers": [asdict(one) for one in self.leftovers], "kept": kept, "bytes": self.bytes}


def find_leftovers(root: Root, forget: Collection[str] = ()) -> Pruning:
    """Find what neither the root's own recipe names nor any run that shares the root; nothing is changed.

    Inversions, edits and figures stay, as no recipe names them. Links are not followed. Nothing is left over as long as
    an upgrade of the root is not finished.

    Parameters
    ----------
    forget
        Roots of runs that no longer count among those that share this root.

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
    if unfinished_upgrade(root):  # what no recipe names may be half replaced, too
        return Pruning((), ((UPGRADE, _reason_to_stay(root, UPGRADE) or ""),), ())
    kept: list[tuple[str, str]] = []
    leftovers = []
    named = None if recipe is None else named_by(root, recipe)
    shares = {path for user in known if user not in gone for path in user.stores}
    for path, why in _candidates(root, named, shares):
        if reason := _reason_to_stay(root, path):
            kept.append((path, reason))
        else:
            leftovers.append(Leftover(path, why, int(root.filesystem.du(root.path(path)))))
    for user in known:
        if user not in gone and not user.root.exists(provenance.RECIPE):
            reason = f"used by {user.root.shown}, which no longer exists; pass --forget {user.root.shown} to release it"
            kept += [(path, reason) for path in user.stores if root.exists(path)]
    return Pruning(tuple(leftovers), tuple(kept), tuple(user.entry for user in gone))


def _forgotten(known: list[User], url: str, root: Root) -> User:
    shown = Root(url).absolute.shown
    for user in known:
        if user.root.shown == shown:
            return user
    there = [user.root.shown for user in known]
    raise UserError(
        f"--forget {url}: no such run shares {root.shown}{nearest(shown, there)};"
        f" it is shared by {', '.join(there) or 'none'}"
    )


def _is_prunable(artifact: Artifact) -> bool:
    """Whether one may be left over: of a model, pair or measurement that left the recipe, or a store for others."""
    return artifact.per in ("model", *PAIRS) or artifact.measured is not None or artifact.shareable


def _candidates(root: Root, named: Named | None, shares: Collection[str]) -> Iterator[tuple[str, str]]:
    """Paths that nothing names, and why they may go."""
    own = shared.shared_places(root).keys()
    for instance in instances(root, _is_prunable):
        path = instance.path
        if path not in shares and (named is None or path in own or not _is_named(named, instance)):
            yield path, "no recipe names it"
    yield from ((path, "no model of the recipe has these weights") for path in _weights(root, named))
    if root.list(UPGRADE):
        yield UPGRADE, "left by an upgrade that has ended"
    yield from ((path, "a write that was cut off") for path in _parts(root))


def _is_named(named: Named, instance: Instance) -> bool:
    """Whether a recipe names an artifact; any pair of its models as long as the pairs are not known."""
    unknown = instance.artifact.per in PAIRS and not named.pairs_known
    return instance in named.instances or (unknown and set(instance.names) <= set(named.models))


def _weights(root: Root, named: Named | None) -> Iterator[str]:
    """Weights for workers that no dump of the recipe's models was made with; none as long as one is not begun."""
    if not (offered := offered_weights(root)):
        return
    stored = [stored_attributes(root, ACTIVATIONS.path(model)) for model in (named.models if named else ())]
    if None not in stored:
        digests = {one.get("weights_sha256") for one in stored if one is not None}
        yield from (one.path for one in offered if one.sha256 not in digests)


def _parts(root: Root) -> Iterator[str]:
    """Temporary files of writes, ours and Zarr's; only a local disk has them."""
    if (local := root.local) is None:
        return
    for folder, folders, files in os.walk(local):
        folders[:] = sorted(name for name in folders if Path(folder) / name != Path(local) / UPGRADE)
        for name in sorted(files):
            path = Path(folder) / name
            if _PART.search(name) and time.time() - path.lstat().st_mtime > _OLD:
                yield path.relative_to(local).as_posix()


def _reason_to_stay(root: Root, path: str) -> str | None:
    if (local := root.local) is not None:
        steps = [local / path, *(local / path).parents]
        if any(step.is_symlink() for step in steps[: len(Path(path).parts)]):
            return "reached by a link, so its target belongs to another root"
    if path == UPGRADE:
        return _reason_to_keep_staged(root)
    instance = instance_at(path)
    if instance is not None and instance.artifact.kind == "store" and is_being_written(root, path):
        return "written to a moment ago"
    return None


def _reason_to_keep_staged(root: Root) -> str | None:
    """Why what an upgrade has written must stay: it may be the only copy of a store."""
    if state := unfinished_upgrade(root):
        return f"may hold the only copy of a store (upgrade {state})"
    staged = instances(Root(f"{root.url}/{UPGRADE}"), lambda artifact: artifact.kind == "store")
    alone = [store.path for store in staged if not root.exists(store.index)]
    return f"holds the only copy of {alone[0]}; move that to its place first" if alone else None


def remove(root: Root, pruning: Pruning, advance: Callable[[int], None] = lambda _: None) -> None:
    """Remove leftovers. If cut short, no partly removed artifact looks like a whole one.

    Parameters
    ----------
    advance
        Called for each one that is removed.
    """
    for entry in pruning.entries:
        root.remove(entry)
    for leftover in pruning.leftovers:
        if _reason_to_stay(root, leftover.path) is None:
            if (instance := instance_at(leftover.path)) is not None:
                root.remove(instance.index)
            discard(root, leftover.path)
        advance(1)
