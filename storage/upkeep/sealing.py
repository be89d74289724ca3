"""Sealing whatever of a run is finished, and the files that this is about."""

from collections.abc import Iterator
from typing import Any

import zarr

from storage.artifacts import provenance, shared
from storage.artifacts.guided import RESULT
from storage.artifacts.layout import stored_attributes
from storage.artifacts.seals import FOLDER, Seal, path, sha256
from storage.artifacts.shared import Place, place_of
from storage.filesystem.root import Root
from storage.upkeep.markers import marker
from storage.upkeep.status import TABLES, own_stores

REPORT, FIGURES = "report", "figures"
_KEPT = (provenance.RECIPE, provenance.PROVENANCE, shared.FILE)
_SMALL = 2**20
"""Bytes of a chunk that is kept whole, where no marker is about it: labels, means, latents."""


def seal_finished(root: Root) -> None:
    """Seal every finished artifact of a run that has no seal, those that it shares included."""
    for place in _unsealed(root):
        try:
            place.root.write_bytes(path(place.path), _seal(place.root, place.path).encode())
        except OSError:
            if place.root == root:
                raise  # a shared root may be there to be read only


def seal(root: Root, artifact: str) -> None:
    """Seal one finished artifact, if it has no seal."""
    if not root.exists(path(artifact)):
        root.write_bytes(path(artifact), _seal(root, artifact).encode())


def seal_guided(root: Root, place: str) -> None:
    """Seal a finished inversion or edit; for whoever holds it.

    Parameters
    ----------
    place
        `inversions/<name>` or `edits/<name>`.
    """
    seal(root, f"{place}/{RESULT}")
    seal(root, place)


def unsealed(root: Root) -> list[str]:
    """Finished artifacts of a run's own that have no seal."""
    return [place.path for place in _unsealed(root) if place.root == root]


def _unsealed(root: Root) -> list[Place]:
    there: dict[Root, set[str]] = {}
    found = []
    for place in _finished(root):
        if place.root not in there:
            there[place.root] = {f"{FOLDER}/{name}" for name in place.root.list(FOLDER)}
        if path(place.path) not in there[place.root]:
            found.append(place)
    return found


def _finished(root: Root) -> Iterator[Place]:
    for store in own_stores(root):
        if (stored_attributes(root, store) or {}).get("complete"):
            yield place_of(root, store)
    parts = [f"tables/trust/{name}" for name in root.list("tables/trust")]
    files = [*TABLES, *parts, *_KEPT]
    yield from (Place(root, file) for file in files if root.exists(file))
    if root.exists(f"{REPORT}/index.html"):
        yield Place(root, REPORT)


def _seal(root: Root, artifact: str) -> Seal:
    if artifact.endswith(".zarr"):
        return Seal(artifact, dict(_small_files(root, artifact)), {})
    if artifact in _KEPT:
        return Seal(artifact, {artifact: root.read_bytes(artifact)}, {})
    # Of a folder all that lies in it; the store in it has a seal of its own.
    files = [file for file in root.find(artifact) if not file.startswith(f"{artifact}/{RESULT}/")]
    return Seal(artifact, {}, {file: sha256(root.read_bytes(file)) for file in files})


def _small_files(root: Root, store: str) -> Iterator[tuple[str, bytes]]:
    """Metadata of a store and of all that is in it, and small chunks that cannot be made again by themselves."""
    group = zarr.open_group(root.store(store, read_only=True), mode="r", use_consolidated=False)
    yield f"{store}/zarr.json", root.read_bytes(f"{store}/zarr.json")
    rows: Any = group.attrs.asdict().get("layers", [])
    layers = [row[0] for row in rows]
    for name, member in group.members(max_depth=None):
        yield f"{store}/{name}/zarr.json", root.read_bytes(f"{store}/{name}/zarr.json")
        if isinstance(member, zarr.Array) and member.nchunks == 1:
            first = (0,) * member.ndim
            file = chunk_file(f"{store}/{name}", member, first)
            if marker(store, name, first, layers) is None and len(content := root.read_bytes(file)) <= _SMALL:
                yield file, content


def chunk_file(array_path: str, array: zarr.Array, place: tuple[int, ...]) -> str:
    """Where a chunk lies under the root."""
    return f"{array_path}/{array.metadata.encode_chunk_key(place)}"
