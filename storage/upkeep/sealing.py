"""Sealing whatever of a run is finished."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import zarr

from storage.artifacts.artifact import MINE
from storage.artifacts.catalogue import SEALS, Instance, instance_at
from storage.artifacts.layout import (
    attributes_of,
    chunk_file,
    file_grid,
    layers_of,
    open_to_read,
    stored_attributes,
)
from storage.artifacts.seals import BrokenSealError, Seal, break_seal, path, read, sha256
from storage.artifacts.shared import Place, place_of
from storage.filesystem.root import Root
from storage.upkeep.expected import begun

_SMALL = 2**20
"""Bytes of a chunk that is kept whole, where it has no marker: labels, means, latents."""


def seal_finished(root: Root) -> None:
    """Seal every finished artifact of a run that has no seal, those that it shares included."""
    for instance, place in _unsealed(root):
        try:
            place.root.write_bytes(path(place.path), _seal(place, instance).encode())
        except OSError:
            if place.root == root:
                raise  # a shared root may be read-only


def seal(root: Root, artifact: str) -> None:
    """Seal one finished artifact, if it has no seal."""
    instance = instance_at(artifact)
    assert instance is not None
    if not root.exists(path(artifact)):
        root.write_bytes(path(artifact), _seal(Place(root, artifact), instance).encode())


def replace_file(root: Root, folder: str, file: str, content: bytes) -> None:
    """Write one file of a sealed folder anew; the others are not looked at, and damage to them still shows.

    Parameters
    ----------
    file
        Its path under the root.
    """
    try:
        known = read(root, folder)
    except BrokenSealError:
        known = None  # as damage, it stays
    else:
        break_seal(root, folder)
    root.write_bytes(file, content)
    if known is not None:
        renewed = replace(known, digests={**known.digests, file: sha256(content)})
        root.write_bytes(path(folder), renewed.encode())


def write_sealed(root: Root, artifact: str, content: bytes) -> None:
    """Write a small file and seal it, unless it is there as it should be."""
    if not root.exists(artifact) or root.read_bytes(artifact) != content:
        break_seal(root, artifact)
        root.write_bytes(artifact, content)
    seal(root, artifact)


def seal_guided(root: Root, folder: str) -> None:
    """Seal a finished inversion or edit; for the process that holds it.

    Parameters
    ----------
    folder
        `inversions/<name>` or `edits/<name>`.
    """
    search = instance_at(folder)
    assert search is not None
    for instance in (*search.inner, search):
        seal(root, instance.path)


def unsealed(root: Root) -> list[str]:
    """Finished artifacts under the run's own root that have no seal."""
    return [place.path for _, place in _unsealed(root) if place.root == root]


def _unsealed(root: Root) -> list[tuple[Instance, Place]]:
    sealed: dict[Root, set[str]] = {}
    found = []
    for instance in begun(root, lambda artifact: artifact.command == MINE):
        place = place_of(root, instance.path)
        if place.root not in sealed:
            sealed[place.root] = {f"{SEALS}/{name}" for name in place.root.list(SEALS)}
        if path(place.path) not in sealed[place.root] and _is_finished(root, instance):
            found.append((instance, place))
    return found


def _is_finished(root: Root, instance: Instance) -> bool:
    if instance.artifact.kind == "store":
        return bool((stored_attributes(root, instance.path) or {}).get("complete"))
    return root.exists(instance.index)


def _seal(place: Place, instance: Instance) -> Seal:
    root, artifact = place.root, instance.artifact
    if artifact.kind == "store":
        return Seal(place.path, dict(_small_files(place, instance)), {})
    if artifact.kept:
        return Seal(place.path, {place.path: root.read_bytes(place.path)}, {})
    # Of a folder all that lies in it, except the artifacts in it, which have seals of their own.
    inner = tuple(f"{other.path}/" for other in instance.inner)
    files = [file for file in root.find(place.path) if not file.startswith(inner)]
    return Seal(place.path, {}, {file: sha256(root.read_bytes(file)) for file in files})


def _small_files(place: Place, instance: Instance) -> Iterator[tuple[str, bytes]]:
    """Metadata of a store and of all that is in it, and small chunks that cannot be rebuilt by themselves."""
    root, store, group = place.root, place.path, open_to_read(place)
    yield f"{store}/zarr.json", root.read_bytes(f"{store}/zarr.json")
    members = dict(group.members(max_depth=None))
    for name in members:
        yield f"{store}/{name}/zarr.json", root.read_bytes(f"{store}/{name}/zarr.json")
    layers = layers_of(attributes_of(group))
    for name, array in members.items():
        if not isinstance(array, zarr.Array):
            continue
        first = (0,) * array.ndim
        if prod(file_grid(array)) == 1 and instance.artifact.entry(name, first, layers) is None:
            file = chunk_file(f"{store}/{name}", array, first)
            if len(content := root.read_bytes(file)) <= _SMALL:
                yield file, content
