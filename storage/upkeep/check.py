"""Read a whole run and name what is damaged.

Every chunk carries a checksum, so reading it checks it; all other files are compared with their seals. Nothing is
written.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Literal, get_args

import zarr
from zarr.storage import StorePath

from rosetta.errors import UserError
from rosetta.recipe import Measurement
from storage.artifacts import seals, tables
from storage.artifacts.artifact import Chunk
from storage.artifacts.catalogue import CATALOGUE, SHARED, Instance
from storage.artifacts.layout import (
    arrays_in,
    attributes_of,
    chunk_file,
    file_grid,
    layers_of,
    markers,
    open_to_read,
    written_of,
)
from storage.artifacts.offered_weights import offered_weights
from storage.artifacts.provenance import require_run, stored_recipe
from storage.artifacts.seals import BrokenSealError, Seal
from storage.artifacts.shards import ShardReader
from storage.artifacts.shared import Place, place_of
from storage.filesystem.root import Root
from storage.upkeep.expected import begun, command_of, of_runs, searches

Kind = Literal["file", "chunk", "seal", "unfinished", "missing", "source"]
_AT_ONCE = 8
"""Chunks that are read side by side: each waits for its disk or its object store."""


@dataclass(frozen=True)
class Finding:
    """Something that is damaged, missing or not finished."""

    artifact: str
    """Its path under the root."""
    problem: str
    part_of: str
    """The artifact that is rebuilt or restored when this is mended."""
    kind: Kind
    chunk: Chunk = ()
    """Of an array, which chunk."""
    elsewhere: Root | None = None
    """The root that it lies under, where that is not the run's own."""
    again: str = ""
    """Of what was removed and rosetta mine does not rebuild: the command that does."""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"artifact": self.shown, "problem": self.problem}

    @property
    def shown(self) -> str:
        """Its path, with the root where that is not the run's own."""
        return f"{self.elsewhere.shown}/{self.artifact}" if self.elsewhere else self.artifact


def is_damage(error: BaseException) -> bool:
    """Whether an error is a failed checksum, of a chunk or of a table's page."""
    return isinstance(error, ValueError | OSError) and "checksum" in str(error).lower()


def check_root(root: Root) -> list[Finding]:
    """Read every chunk of every store, every table and every sealed file under a root.

    Raises
    ------
    UserError
        There is no run under this root.
    """
    return [*check_run(root), *(finding for _, search in searches(root) for finding in check_search(root, search))]


def check_run(root: Root) -> list[Finding]:
    """The same without inversions and edits, which are no part of a run.

    Raises
    ------
    UserError
        There is no run under this root.
    """
    several = of_runs(root)
    if not several:
        require_run(root)
    wrong = list(_check(root, Instance(SHARED)))
    if any(finding.kind == "file" for finding in wrong):
        return wrong  # it gives the locations of stores
    there = begun(root, lambda artifact: artifact.per != "search" and artifact is not SHARED)
    # Files that there is one of per run are missed even where they are gone; some only where they were finished once.
    left_out = _left_out(root)
    rows = [row for row in CATALOGUE if row.per == "run" and row.kind != "store" and row is not SHARED]
    once = several or [
        Instance(row)
        for row in rows
        if row.measured not in left_out and ((row.expected and not row.added) or root.exists(seals.path(row.path())))
    ]
    wrong += [finding for instance in dict.fromkeys([*there, *once]) for finding in _check(root, instance)]
    damaged = [one.path for one in offered_weights(root) if not one.intact]
    return wrong + [Finding(path, "are not the weights that its name says", path, "file") for path in damaged]


def _left_out(root: Root) -> Collection[Measurement]:
    """The measurements that the run does not make; all that it may leave out where its recipe cannot be read."""
    try:
        recipe = stored_recipe(root)
    except UserError:  # another finding
        return get_args(Measurement)
    return () if recipe is None else recipe.trust.leave_out


def check_search(root: Root, search: Iterable[Instance]) -> list[Finding]:
    """Everything of one inversion or edit, given the artifacts that it consists of."""
    found = [finding for instance in search for finding in _check(root, instance)]
    # As long as its store is not finished, the page is not due.
    return [finding for finding in found if finding.kind != "missing"] or found


def _check(root: Root, instance: Instance) -> Iterator[Finding]:
    place = place_of(root, instance.path)
    for finding in _check_place(place, instance):
        yield finding if place.root == root else replace(finding, elsewhere=place.root)


def _check_place(place: Place, instance: Instance) -> Iterator[Finding]:
    try:
        seal = seals.read(place.root, place.path)
    except BrokenSealError:
        file = seals.path(place.path)
        yield Finding(file, "is damaged; the artifact is sealed again", file, "seal")
        seal = None
    if seal is None or (instance.artifact.kind == "table" and not place.root.exists(place.path)):
        yield from _UNSEALED[instance.artifact.kind](place, instance)
        return
    yield from _check_files(place.root, seal)
    if instance.artifact.kind == "store":
        yield from _check_chunks(place, seal)


def _check_chunks(place: Place, seal: Seal) -> Iterator[Finding]:
    store = place.root.store(place.path, read_only=True)
    for file, content in seal.kept.items():
        folder, _, name = file.rpartition("/")
        if name == "zarr.json" and (metadata := json.loads(content))["node_type"] == "array":
            # As the seal knows it: damaged metadata on the disk must not hide a damaged chunk.
            at = StorePath(store, folder.removeprefix(place.path).strip("/"))
            array = zarr.Array(zarr.AsyncArray(metadata, at))
            if chunk_file(folder, array, (0,) * array.ndim) not in seal.kept:
                yield from _check_array(place, folder, array)


def _unsealed_store(place: Place, instance: Instance) -> Iterator[Finding]:
    root, path = place.root, place.path
    try:
        group = open_to_read(place)
        arrays, attributes = list(arrays_in(group)), attributes_of(group)
    except Exception as error:  # whatever a damaged metadata file makes zarr raise
        yield Finding(path, f"its metadata cannot be read ({_short(error)})", path, "file")
        return
    if attributes.get("complete"):
        for name, array in arrays:
            yield from _check_array(place, f"{path}/{name}", array)
        return
    yield Finding(path, f"is not finished; {instance.artifact.command} resumes it", path, "unfinished")
    if "fingerprint" not in attributes:
        return
    written, layers, marks = markers(group), layers_of(attributes), written_of(group)
    for name, array in arrays:

        def is_due(chunk: Chunk, name: str = name, array: zarr.Array = array) -> bool:
            """Whether a marker says that a chunk is there; without a marker, whether it is."""
            entry = None if array == marks else instance.artifact.entry(name, chunk, layers)
            return bool(written[entry]) if entry else root.exists(chunk_file(f"{path}/{name}", array, chunk))

        yield from _check_array(place, f"{path}/{name}", array, is_due)


def _unsealed_table(place: Place, instance: Instance) -> Iterator[Finding]:
    if not place.root.exists(place.path):
        yield Finding(place.path, f"is missing; {instance.artifact.command} rebuilds it", place.path, "missing")
    elif problem := _unreadable(place.root, place.path):
        yield Finding(place.path, problem, place.path, "file")


def _unsealed_folder(place: Place, instance: Instance) -> Iterator[Finding]:
    root, path, artifact = place.root, place.path, instance.artifact
    names = root.list(path)
    for file in (f"{path}/{name}" for name in names if name.endswith(".parquet")):
        if problem := _unreadable(root, file):
            yield Finding(file, problem, path, "file")
    missing = [name for name in (*artifact.parts, artifact.index) if name not in names]
    if names and missing:
        yield Finding(path, f"has no {missing[0]}; {command_of(root, artifact)} writes it", path, "missing")


_UNSEALED: dict[str, Callable[[Place, Instance], Iterator[Finding]]] = {
    "store": _unsealed_store,
    "table": _unsealed_table,
    "folder": _unsealed_folder,
    "file": lambda place, instance: iter(()),
}
"""By kind of artifact: how one without a seal is checked."""


def _check_array(
    place: Place, path: str, array: zarr.Array, is_due: Callable[[Chunk], bool] = lambda chunk: True
) -> Iterator[Finding]:
    chunks = [chunk for chunk in product(*map(range, file_grid(array))) if is_due(chunk)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        problems = pool.map(partial(_chunk_problem, place.root, path, array), chunks)
        for chunk, problem in zip(chunks, problems, strict=True):
            if problem:
                yield Finding(path, f"{_entries(array, chunk)} {problem}", place.path, "chunk", chunk)


def _chunk_problem(root: Root, path: str, array: zarr.Array, chunk: Chunk) -> str:
    if not root.exists(chunk_file(path, array, chunk)):
        return "are missing"
    try:
        if array.shards:
            first = chunk[0] * array.shards[0]
            ShardReader(array).read(slice(first, first + array.shards[0]), slice(None))
        else:
            array.blocks[chunk]
    except Exception as error:  # a checksum, a codec, a shape: any way in which bytes can be wrong
        return f"are damaged ({_short(error)})"
    return ""


def _entries(array: zarr.Array, chunk: Chunk) -> str:
    """`entries 32 to 63 of image`; along each axis that is cut into chunks."""
    names = getattr(array.metadata, "dimension_names", None) or [f"axis {axis}" for axis in range(array.ndim)]
    spans = [
        f"{at * size} to {min((at + 1) * size, length) - 1} of {name}"
        for at, size, length, name in zip(chunk, array.shards or array.chunks, array.shape, names, strict=True)
        if size < length
    ]
    return f"entries {', '.join(spans)}" if spans else "its entries"


def _check_files(root: Root, seal: Seal) -> Iterator[Finding]:
    for file in (*seal.kept, *seal.digests):
        try:
            content = root.read_bytes(file)
        except FileNotFoundError:
            yield Finding(file, "is missing", seal.artifact, "file")
            continue
        intact = content == seal.kept[file] if file in seal.kept else seals.sha256(content) == seal.digests[file]
        if not intact:
            yield Finding(file, "is damaged: its checksum is wrong", seal.artifact, "file")


def _unreadable(root: Root, file: str) -> str:
    try:
        tables.decode(root.read_bytes(file))
    except Exception as error:  # pyarrow raises many kinds
        return f"cannot be read ({_short(error)})"
    return ""


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
