"""What of a run is there, read from its stores alone."""

import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import zarr

from rosetta.errors import UserError
from storage.artifacts import provenance, shared, tables
from storage.artifacts.guided import KINDS, RESULT
from storage.artifacts.layout import markers
from storage.artifacts.shared import Place, place_of
from storage.filesystem.lock import holder
from storage.filesystem.root import Root
from storage.upkeep.expected import PAGE, TABLES, expected

_RECENT = 120.0
"""Seconds since something was last written to an artifact, within which it counts as being worked on."""


@dataclass(frozen=True)
class Artifact:
    """One artifact and how far it is."""

    artifact: str
    """Its path, as the run calls it."""
    state: str
    """`complete`, `missing`, `damaged`, or how much is there."""
    done: int | None = None
    """Blocks, panels or layers that are in; None where it has no such parts."""
    total: int | None = None
    """Of how many."""
    bytes: int | None = None
    """What is in, before compression; of a table or page its size."""
    active: bool = False
    """Whether it is unfinished and was written to in the last two minutes."""
    shared: str | None = None
    """Where it lies, if under another root."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Status:
    """What of a run is there."""

    root: str
    run: str | None
    """What its recipe calls it; None for a root that is only there to be shared."""
    running: str | None
    """What is under way, or None."""
    without_store: tuple[str, ...]
    """Models of the recipe of which nothing has been dumped yet."""
    users: tuple[str, ...]
    """Roots of runs that have stores here."""
    artifacts: tuple[Artifact, ...]

    @property
    def state(self) -> str:
        """`complete`, `running` or `incomplete`."""
        if all(entry.state == "complete" for entry in self.artifacts):
            return "complete"
        return "running" if self.running else "incomplete"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "state": self.state}


def status(root: Root) -> Status:
    """What of a run, or of a root that runs share, is there. Reads metadata and markers, lists no chunks.

    Raises
    ------
    UserError
        There is neither under this root.
    """
    found = artifacts(root)
    recipe = provenance.stored_recipe(root)
    models = [spec.name for spec in recipe.models] if recipe else []
    states = {entry.artifact: entry.state for entry in found}
    return Status(
        root.shown,
        recipe.name if recipe else None,
        _under_way(root, found),
        tuple(name for name in models if states[f"activations/{name}.zarr"] == "missing"),
        tuple(user.root.shown for user in shared.users(root)),
        tuple(found),
    )


def _under_way(root: Root, found: list[Artifact]) -> str | None:
    """Who works on a run: whoever holds its lock, and what was written to lately."""
    held = holder(root)
    who = [f"process {held.pid} on {held.host} since {held.since}"] if held is not None and held.alive else []
    return ", ".join([*who, *(entry.artifact for entry in found if entry.active)]) or None


def require_run(root: Root) -> None:
    """
    Raises
    ------
    UserError
        There is no run under this root, or one that a newer version of this project made.
    """
    if not root.exists(provenance.RECIPE):
        raise UserError(f"{root.shown} holds no run (it has no {provenance.RECIPE}); give the root of one")
    provenance.require_known_root(root)


def stores(root: Root) -> list[str]:
    """Paths of all Zarr stores that have been begun: those of a run, and of its inversions and edits."""
    return [*own_stores(root), *(f"{place}/{RESULT}" for place in guided(root))]


def own_stores(root: Root) -> list[str]:
    """Paths of all Zarr stores of a run that have been begun, those that lie under another root included."""
    found = [path for path in ("images.zarr", "features.zarr") if root.exists(f"{path}/zarr.json")]
    for folder in ("activations", "profiles", "correlations"):
        found += [f"{folder}/{name}" for name in root.list(folder) if name.endswith(".zarr")]
    elsewhere = [
        path for path, place in shared.shared_places(root).items() if place.root.exists(f"{place.path}/zarr.json")
    ]
    return list(dict.fromkeys([*found, *elsewhere]))


def guided(root: Root) -> list[str]:
    """Where inversions and edits lie that have been begun."""
    places = [f"{kind}/{name}" for kind in KINDS for name in root.list(kind)]
    return [place for place in places if root.exists(f"{place}/{RESULT}/zarr.json")]


def artifacts(root: Root) -> list[Artifact]:
    """Every artifact that the root's recipe names or that lies there.

    Raises
    ------
    UserError
        There is no run under this root, nor anything that runs share.
    """
    recipe = provenance.stored_recipe(root)
    if recipe is None and not root.list(shared.USERS):
        require_run(root)
    begun = stores(root)
    if recipe is None:
        return [_store(root, path) for path in begun]
    wanted = expected(root, recipe)
    listed = [_store(root, path) for path in dict.fromkeys([*wanted.stores, *begun])]
    parts = [f"tables/trust/{name}" for name in root.list("tables/trust") if name.endswith(".parquet")]
    for path in dict.fromkeys([*TABLES, *(wanted.parts or ()), *parts]):
        listed.append(_table(root, path))
    size = _size(root, PAGE)
    return [*listed, Artifact(PAGE, "missing" if size is None else "complete", bytes=size)]


def _store(root: Root, path: str) -> Artifact:
    place = place_of(root, path)
    elsewhere = None if place.root == root else f"{place.root.shown}/{place.path}"
    return _store_at(place, Artifact(path, "missing", shared=elsewhere))


def _store_at(place: Place, found: Artifact) -> Artifact:
    if not place.root.exists(f"{place.path}/zarr.json"):
        return found
    try:
        group = zarr.open_group(place.root.store(place.path, read_only=True), mode="r")
        complete = bool(group.attrs.get("complete"))
        arrays = [member for _, member in group.members(max_depth=None) if isinstance(member, zarr.Array)]
        size = sum(array.size * array.dtype.itemsize for array in arrays)
        if "written" not in group:
            return replace(found, state="complete" if complete else "begun", bytes=size if complete else None)
        written = markers(group)
        if complete:
            return replace(found, state="complete", done=written.size, total=written.size, bytes=size)
        done = int(written.sum())
    except Exception:  # whatever damaged metadata makes zarr raise
        return replace(found, state="damaged")
    return replace(
        found,
        state=f"{done} of {written.size} blocks",
        done=done,
        total=written.size,
        bytes=size * done // max(1, written.size),
        active=_is_recent(place.root, f"{place.path}/written"),
    )


def is_being_written(root: Root, path: str) -> bool:
    """Whether a store under this very root is unfinished and was written to in the last two minutes."""
    return _store_at(Place(root, path), Artifact(path, "missing")).active


def _table(root: Root, path: str) -> Artifact:
    size = _size(root, path)
    if size is None:
        return Artifact(path, "missing")
    # A table is written whole; one without a fingerprint is none of ours.
    state = "complete" if tables.attributes(root, path) else "missing"
    return Artifact(path, state, bytes=size)


def _size(root: Root, path: str) -> int | None:
    try:
        return int(root.filesystem.size(root.path(path)))
    except FileNotFoundError:
        return None


def _is_recent(root: Root, folder: str) -> bool:
    """Whether a marker was set lately; one small file for each block, panel or layer."""
    files: Any = root.filesystem.find(root.path(folder), detail=True)
    stamps = [_seconds(info) for info in files.values()]
    return bool(stamps) and time.time() - max(stamps) < _RECENT


def _seconds(info: dict[str, Any]) -> float:
    """When a file was last written, by whichever name its file system calls that."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return 0.0
