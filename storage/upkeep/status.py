"""How far the artifacts of a run are, read from its stores alone."""

import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import zarr

from storage.artifacts import after_mining, provenance, shared, tables, workers
from storage.artifacts.catalogue import ACTIVATIONS, CATALOGUE, REPORT, USERS, Instance
from storage.artifacts.layout import arrays_in, bookkeeping, markers, written_of
from storage.artifacts.provenance import require_run
from storage.artifacts.shared import Place, place_of
from storage.artifacts.workers import Work
from storage.filesystem.lock import holder
from storage.filesystem.root import Root
from storage.upkeep.expected import begun, named_by, of_runs
from storage.upkeep.formats import unfinished_upgrade

_RECENT = 120.0
"""Seconds since something was last written to an artifact, within which it counts as being worked on."""


@dataclass(frozen=True)
class Progress:
    """One artifact and how far it is."""

    artifact: str
    """Its path, as the run calls it."""
    state: str
    """`complete`, `missing`, `damaged`, `outdated` of a page that lacks a table which was added since, or how much is
    there."""
    done: int | None = None
    """Blocks, panels or layers that are complete; None where it has no such parts."""
    total: int | None = None
    """Of how many."""
    bytes: int | None = None
    """Size of what is complete, before compression; of a table or page the size of its file."""
    active: bool = False
    """Whether it is unfinished and was written to in the last two minutes."""
    shared: str | None = None
    """Its location, if under another root."""


@dataclass(frozen=True)
class Status:
    """How far a run is."""

    root: str
    run: str | None
    """Its name in the recipe; None for a root that only holds shared stores."""
    running: str | None
    """Who is at work and on what, or None."""
    without_store: tuple[str, ...]
    """Models of the recipe that have no activation store yet."""
    users: tuple[str, ...]
    """Roots of runs that have stores here."""
    artifacts: tuple[Progress, ...]
    work: Work | None = None
    """What each worker of the stage under way does, once one has said so."""
    upgrade: str | None = None
    """That an upgrade of the root is not finished, and how to finish it; None where there is none."""

    @property
    def state(self) -> str:
        """`complete`, `running` or `incomplete`."""
        if self.upgrade is None and all(entry.state == "complete" for entry in self.artifacts):
            return "complete"
        return "running" if self.running else "incomplete"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        work = None if self.work is None else self.work.model_dump()
        return {**asdict(replace(self, work=None)), "work": work, "state": self.state}


def status(root: Root) -> Status:
    """How far a run is, or a root that runs share. Reads metadata and markers, lists no chunks.

    Raises
    ------
    UserError
        There is neither under this root, or a newer version of this project made it.
    """
    found = artifacts(root)
    recipe = provenance.stored_recipe(root)
    models = [spec.name for spec in recipe.models] if recipe else []
    states = {entry.artifact: entry.state for entry in found}
    return Status(
        root.shown,
        recipe.name if recipe else None,
        _under_way(root, found),
        tuple(name for name in models if states[ACTIVATIONS.path(name)] == "missing"),
        tuple(user.root.shown for user in shared.users(root)),
        tuple(found),
        workers.under_way(root),
        unfinished_upgrade(root),
    )


def _under_way(root: Root, found: list[Progress]) -> str | None:
    """Who works on a run: whoever holds its lock, and what was written to lately."""
    who = holder(root)
    process = [f"process {who.pid} on {who.host} since {who.since}"] if who is not None and who.alive else []
    return ", ".join([*process, *(entry.artifact for entry in found if entry.active)]) or None


def artifacts(root: Root) -> list[Progress]:
    """Every store, table and folder that the root's recipe names or that lies there.

    Raises
    ------
    UserError
        There is no run, join, comparison or study under this root, nor anything that runs share.
    """
    recipe = provenance.stored_recipe(root)
    several = of_runs(root)
    if recipe is None and not several and not root.list(USERS):
        require_run(root)
    expected = several if recipe is None else named_by(root, recipe).expected
    listed = sorted(dict.fromkeys([*expected, *begun(root)]), key=lambda one: CATALOGUE.index(one.artifact))
    return [_progress(root, instance) for instance in listed if instance.artifact.kind in _PROGRESS]


def _progress(root: Root, instance: Instance) -> Progress:
    path = instance.index if instance.artifact.kind == "folder" else instance.path
    place = place_of(root, path)
    elsewhere = None if place.root == root else f"{place.root.shown}/{place.path}"
    return _PROGRESS[instance.artifact.kind](place, Progress(path, "missing", shared=elsewhere))


def _of_store(place: Place, progress: Progress) -> Progress:
    if not place.root.exists(f"{place.path}/zarr.json"):
        return progress
    try:
        group = zarr.open_group(place.root.store(place.path, read_only=True), mode="r")
        complete = bool(group.attrs.get("complete"))
        size = sum(array.size * array.dtype.itemsize for _, array in arrays_in(group))
        if "written" not in bookkeeping(group):
            return replace(progress, state="complete" if complete else "begun", bytes=size if complete else None)
        written = markers(group)
        if complete:
            return replace(progress, state="complete", done=written.size, total=written.size, bytes=size)
        done = int(written.sum())
    except Exception:  # whatever damaged metadata makes zarr raise
        return replace(progress, state="damaged")
    return replace(
        progress,
        state=f"{done} of {written.size} blocks",
        done=done,
        total=written.size,
        bytes=size * done // max(1, written.size),
        active=_is_recent(place.root, f"{place.path}/{written_of(group).path}"),
    )


def _of_table(place: Place, progress: Progress) -> Progress:
    # A table is written whole; one without a fingerprint is not of this project.
    state = "complete" if tables.attributes(place.root, place.path) else "missing"
    return replace(progress, state=state, bytes=_size(place))


def _of_index(place: Place, progress: Progress) -> Progress:
    size = _size(place)
    if size is None:
        return progress
    of_run = progress.artifact == Instance(REPORT).index
    return replace(progress, state="complete" if not of_run or _shows_all(place) else "outdated", bytes=size)


def _shows_all(place: Place) -> bool:
    """Whether the page of a run was written from all tables that are there; it names the fingerprint of each."""
    page = place.root.read_bytes(place.path)
    return all(digest.encode() in page for digest in after_mining.fingerprints(place.root).values())


_PROGRESS = {"store": _of_store, "table": _of_table, "folder": _of_index}
"""By kind of artifact; files say nothing about progress."""


def is_being_written(root: Root, path: str) -> bool:
    """Whether a store under this very root is unfinished and was written to in the last two minutes."""
    return _of_store(Place(root, path), Progress(path, "missing")).active


def _size(place: Place) -> int | None:
    try:
        return int(place.root.filesystem.size(place.root.path(place.path)))
    except FileNotFoundError:
        return None


def _is_recent(root: Root, folder: str) -> bool:
    """Whether a marker was set in the last two minutes; each block, panel or layer has one small file."""
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
