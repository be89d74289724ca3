"""Sealing whatever of a run is finished, and the files that this is about."""

from collections.abc import Iterator
from typing import Any

import zarr

from storage import provenance, tables
from storage.location import Root
from storage.markers import marker
from storage.seals import FOLDER, Seal, path, sha256
from storage.status import TABLES, stores

REPORT = "report"
_SMALL = 2**20
"""Bytes of a chunk that is kept whole, where no marker is about it: labels, means, latents."""


def seal_finished(root: Root) -> None:
    """Seal every finished artifact that has no seal."""
    for artifact in unsealed(root):
        root.write_bytes(path(artifact), _seal(root, artifact).encode())


def unsealed(root: Root) -> list[str]:
    """Finished artifacts that have no seal."""
    there = {f"{FOLDER}/{name}" for name in root.list(FOLDER)}
    return [artifact for artifact in _finished(root) if path(artifact) not in there]


def _finished(root: Root) -> Iterator[str]:
    for store in stores(root):
        group = zarr.open_group(root.store(store, read_only=True), mode="r", use_consolidated=False)
        if group.attrs.get("complete"):
            yield store
    parts = [f"trust/{name.removesuffix('.parquet')}" for name in root.list("tables/trust")]
    files = [*(tables.path(table) for table in (*TABLES, *parts)), provenance.RECIPE, provenance.PROVENANCE]
    yield from (file for file in files if root.exists(file))
    if root.exists(f"{REPORT}/index.html"):
        yield REPORT


def _seal(root: Root, artifact: str) -> Seal:
    if artifact.endswith(".zarr"):
        return Seal(artifact, dict(_small_files(root, artifact)), {})
    if artifact in (provenance.RECIPE, provenance.PROVENANCE):
        return Seal(artifact, {artifact: root.read_bytes(artifact)}, {})
    files = root.find(artifact) if artifact == REPORT else [artifact]
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
