"""Read a whole run and name what is damaged.

Every chunk carries a checksum, so reading it checks it; all other files are compared with their seals. Nothing is
written.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, Literal

import zarr
from zarr.storage import StorePath

from storage.artifacts import provenance, seals, shared, tables
from storage.artifacts.guided import RESULT
from storage.artifacts.layout import markers, store_of
from storage.artifacts.seals import BrokenSealError, Seal
from storage.artifacts.shared import Place, place_of
from storage.filesystem.root import Root
from storage.upkeep.markers import marker
from storage.upkeep.sealing import FIGURES, REPORT, chunk_file
from storage.upkeep.status import TABLES, guided, own_stores, require_run

Kind = Literal["file", "chunk", "seal", "unfinished", "missing", "source"]
_AT_ONCE = 8
"""Chunks that are read side by side: each waits for its disk or its object store."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    artifact: str
    """Its path under the root."""
    problem: str
    part_of: str
    """The artifact that is made again, or put right, where this is mended."""
    kind: Kind
    chunk: tuple[int, ...] = ()
    """Of an array, which chunk."""
    elsewhere: Root | None = None
    """The root that it lies under, where that is not the run's own."""
    again: str = ""
    """Of what mending took away and no mining makes: the command that does."""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"artifact": self.shown, "problem": self.problem}

    @property
    def shown(self) -> str:
        """Its path, with the root where that is not the run's own."""
        return f"{self.elsewhere.shown}/{self.artifact}" if self.elsewhere else self.artifact


def is_damage(error: BaseException) -> bool:
    """Whether an error is that of bytes that do not fit their checksum: of a chunk, or of a table's page."""
    return isinstance(error, ValueError | OSError) and "checksum" in str(error).lower()


def check_root(root: Root) -> list[Finding]:
    """Read every chunk of every store, every table and every sealed file under a root.

    Raises
    ------
    UserError
        There is no run under this root.
    """
    return [*check_run(root), *(finding for place in guided(root) for finding in check_guided(root, place))]


def check_run(root: Root) -> list[Finding]:
    """The same without inversions and edits, which are no part of a run.

    Raises
    ------
    UserError
        There is no run under this root.
    """
    require_run(root)
    found: list[Finding] = []
    sealed: dict[str, Seal] = {}
    for name in root.list(seals.FOLDER):
        file = f"{seals.FOLDER}/{name}"
        if seals.is_guided(file):
            continue
        try:
            seal = Seal.decode(root.read_bytes(file))
        except BrokenSealError:
            found.append(_broken(file))
        else:
            sealed[seal.artifact] = seal
    if shared.FILE in sealed and (wrong := list(_check_files(root, sealed[shared.FILE]))):
        return [*found, *wrong]  # it says where stores lie
    for path in own_stores(root):
        place = place_of(root, path)
        if place.root == root:
            found += _check_store(root, path, sealed.get(path))
        else:
            found += [replace(finding, elsewhere=place.root) for finding in _check_shared(place)]
    parts = [f"tables/trust/{name}" for name in root.list("tables/trust")]
    for path in (*TABLES, *parts):
        found += _check_table(root, path, sealed.get(path))
    for artifact in (provenance.RECIPE, provenance.PROVENANCE, REPORT):
        if artifact in sealed:
            found += _check_files(root, sealed[artifact])
    for name in root.list(FIGURES):
        if (file := f"{FIGURES}/{name}") in sealed:
            found += _check_files(root, sealed[file])
    return found


def check_guided(root: Root, place: str) -> list[Finding]:
    """Everything of one inversion or edit: its store, its tables, its page.

    Parameters
    ----------
    place
        `inversions/<name>` or `edits/<name>`.
    """
    found: list[Finding] = []
    sealed: dict[str, Seal] = {}
    store = f"{place}/{RESULT}"
    for artifact in (store, place):
        try:
            seal = seals.read(root, artifact)
        except BrokenSealError:
            found.append(_broken(seals.path(artifact)))
        else:
            if seal is not None:
                sealed[artifact] = seal
    found += _check_store(root, store, sealed.get(store))
    if place in sealed:
        return [*found, *_check_files(root, sealed[place])]
    for name in root.list(place):
        if name.endswith(".parquet") and (problem := _unreadable(root, f"{place}/{name}")):
            found.append(Finding(f"{place}/{name}", problem, place, "file"))
    if not found and not (root.exists(f"{place}/metrics.parquet") and root.exists(f"{place}/index.html")):
        found.append(Finding(place, "has no metrics or no page; the command that began it goes on", place, "missing"))
    return found


def _broken(seal: str) -> Finding:
    return Finding(seal, "is no seal as it was written; the artifact is sealed anew", seal, "seal")


def _check_store(root: Root, path: str, seal: Seal | None) -> Iterator[Finding]:
    if seal is None:
        yield from _check_unsealed(root, path)
        return
    yield from _check_files(root, seal)
    store = root.store(path, read_only=True)
    for file, content in seal.kept.items():
        folder, _, name = file.rpartition("/")
        if name == "zarr.json" and (metadata := json.loads(content))["node_type"] == "array":
            # As the seal knows it: metadata that are damaged on the disk must not hide a damaged chunk.
            place = StorePath(store, folder.removeprefix(path).strip("/"))
            array = zarr.Array(zarr.AsyncArray(metadata, place))
            if chunk_file(folder, array, (0,) * array.ndim) not in seal.kept:
                yield from _check_array(root, path, folder, array)


def _check_shared(place: Place) -> Iterator[Finding]:
    try:
        seal = seals.read(place.root, place.path)
    except BrokenSealError:
        yield _broken(seals.path(place.path))
        seal = None
    yield from _check_store(place.root, place.path, seal)


def _check_unsealed(root: Root, path: str) -> Iterator[Finding]:
    try:
        group = zarr.open_group(store_of(root, path, read_only=True), mode="r", use_consolidated=False)
        members = list(group.members(max_depth=None))
    except Exception as error:  # whatever a damaged metadata file makes zarr raise
        yield Finding(path, f"its metadata cannot be read ({_short(error)})", path, "file")
        return
    if not group.attrs.get("complete"):
        yield Finding(path, "is not finished; the command that began it goes on with it", path, "unfinished")
        if "fingerprint" in group.attrs:
            yield from _check_begun(root, path, group, members)
        return
    for name, member in members:
        if isinstance(member, zarr.Array):
            yield from _check_array(root, path, f"{path}/{name}", member)


def _check_begun(root: Root, path: str, group: zarr.Group, members: Sequence[tuple[str, Any]]) -> Iterator[Finding]:
    """What is there of a store that is not finished: what markers say is in, and what no marker is about."""
    written = markers(group)
    rows: Any = group.attrs.asdict().get("layers", [])
    layers = [str(row[0]) for row in rows]
    for name, member in members:
        if not isinstance(member, zarr.Array):
            continue

        def is_wanted(chunk: tuple[int, ...], name: str = name, array: zarr.Array = member) -> bool:
            entry = None if name == "written" else marker(path, name, chunk, layers)
            if entry is None:
                return root.exists(chunk_file(f"{path}/{name}", array, chunk))
            return bool(written[entry])

        yield from _check_array(root, path, f"{path}/{name}", member, is_wanted)


def _check_array(
    root: Root,
    store: str,
    path: str,
    array: zarr.Array,
    is_wanted: Callable[[tuple[int, ...]], bool] = lambda chunk: True,
) -> Iterator[Finding]:
    counts = [-(-length // size) for length, size in zip(array.shape, array.chunks, strict=True)]
    places = [place for place in product(*map(range, counts)) if is_wanted(place)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for place, problem in zip(places, pool.map(partial(_chunk_problem, root, path, array), places), strict=True):
            if problem:
                yield Finding(path, f"{_entries(array, place)} {problem}", store, "chunk", place)


def _chunk_problem(root: Root, path: str, array: zarr.Array, place: tuple[int, ...]) -> str:
    if not root.exists(chunk_file(path, array, place)):
        return "are missing"
    try:
        array[tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, array.chunks, strict=True))]
    except Exception as error:  # a checksum, a codec, a shape: any way in which bytes can be wrong
        return f"are damaged ({_short(error)})"
    return ""


def _entries(array: zarr.Array, place: tuple[int, ...]) -> str:
    """`entries 32 to 63 of image`; along each axis that is cut into chunks."""
    names = getattr(array.metadata, "dimension_names", None) or [f"axis {axis}" for axis in range(array.ndim)]
    told = [
        f"{at * size} to {min((at + 1) * size, length) - 1} of {name}"
        for at, size, length, name in zip(place, array.chunks, array.shape, names, strict=True)
        if size < length
    ]
    return f"entries {', '.join(told)}" if told else "its entries"


def _check_files(root: Root, seal: Seal) -> Iterator[Finding]:
    for file in (*seal.kept, *seal.digests):
        try:
            content = root.read_bytes(file)
        except FileNotFoundError:
            yield Finding(file, "is missing", seal.artifact, "file")
            continue
        whole = content == seal.kept[file] if file in seal.kept else seals.sha256(content) == seal.digests[file]
        if not whole:
            yield Finding(file, "is damaged: it is not what was written", seal.artifact, "file")


def _check_table(root: Root, file: str, seal: Seal | None) -> Iterator[Finding]:
    if not root.exists(file):
        yield Finding(file, "is missing; rosetta mine writes it", file, "missing")
        return
    if seal is not None:
        yield from _check_files(root, seal)
        return
    if problem := _unreadable(root, file):
        yield Finding(file, problem, file, "file")


def _unreadable(root: Root, file: str) -> str:
    try:
        tables.decode(root.read_bytes(file))
    except Exception as error:  # pyarrow raises many kinds
        return f"cannot be read ({_short(error)})"
    return ""


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
