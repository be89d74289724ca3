"""Put right what :mod:`storage.check` finds, or take away just so much that mining makes it again."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import zarr

from storage import images, seals
from storage.check import Finding, check_root
from storage.location import Root
from storage.markers import marker
from storage.sealing import chunk_file
from storage.seals import BrokenSealError, Seal
from storage.shared import place_of
from storage.status import stores
from storage.zarrs import stored_attributes

_ROUNDS = 5
"""Damaged metadata hides what else is wrong behind it, so a run is looked at until nothing more is found."""


def mend(root: Root) -> list[Finding]:
    """Mend a run as far as its own stages made it.

    Small files are put back from their seals. A damaged chunk goes, with the marker that it is in, and its store is
    unfinished again; tables and the page go. What cannot be told apart goes as a whole store. Inversions and edits stay
    as they are.

    Returns
    -------
    list of Finding
        What was damaged.

    Raises
    ------
    UserError
        There is no run under this root.
    """
    mended: list[Finding] = []
    for _ in range(_ROUNDS):
        found = [finding for finding in check_root(root) if _is_mendable(finding)]
        if not found:
            break
        for (_, artifact), findings in groupby(sorted(found, key=_whose), key=_whose):
            group = list(findings)
            _mend(group[0].elsewhere or root, artifact, group)
        if any(finding.artifact.startswith(f"{images.PATH}/") for finding in found):
            _dump_pixels_again(root)
        mended += found
    return mended


def _whose(finding: Finding) -> tuple[str, str]:
    return finding.elsewhere.url if finding.elsewhere else "", finding.part_of


def _is_mendable(finding: Finding) -> bool:
    return finding.kind in ("file", "chunk", "seal") and not finding.part_of.startswith(("inversions/", "edits/"))


def _mend(root: Root, artifact: str, findings: Sequence[Finding]) -> None:
    if artifact.startswith(f"{seals.FOLDER}/"):
        root.remove(artifact)
        return
    try:
        seal = seals.read(root, artifact)
    except BrokenSealError:
        return  # another finding; the artifact is looked at again once that one is gone
    if seal is not None and all(finding.artifact in seal.kept for finding in findings):
        for finding in findings:
            root.write_bytes(finding.artifact, seal.kept[finding.artifact])
    elif artifact.endswith(".zarr"):
        _mend_store(root, artifact, seal, findings)
    else:
        seals.discard(root, artifact)


def _mend_store(root: Root, store: str, seal: Seal | None, findings: Sequence[Finding]) -> None:
    for finding in findings:
        if seal is not None and finding.artifact in seal.kept:
            root.write_bytes(finding.artifact, seal.kept[finding.artifact])
    seals.break_seal(root, store)
    markers = {finding: _marker(root, finding) for finding in findings if finding.kind == "chunk"}
    if not markers or None in markers.values():
        root.remove(store)
    else:
        group = zarr.open_group(root.store(store), mode="r+", use_consolidated=False)
        group.attrs["complete"] = False
        for finding, entry in markers.items():
            array = zarr.open_array(root.store(store), path=finding.artifact[len(store) + 1 :], mode="r")
            root.remove(chunk_file(finding.artifact, array, finding.chunk))
            assert entry is not None
            _unmark(root, group, store, entry)


def _marker(root: Root, finding: Finding) -> tuple[int, ...] | None:
    rows: Any = (stored_attributes(root, finding.part_of) or {}).get("layers", [])
    array = finding.artifact[len(finding.part_of) + 1 :]
    return marker(finding.part_of, array, finding.chunk, [row[0] for row in rows])


def _unmark(root: Root, group: zarr.Group, store: str, entry: tuple[int, ...]) -> None:
    written = group["written"]
    assert isinstance(written, zarr.Array)
    # The marker's own chunk may be what is damaged.
    root.remove(chunk_file(f"{store}/written", written, entry))
    written[entry] = False


def _dump_pixels_again(root: Root) -> None:
    """A generator's pixels come with its dump, which must not count as finished while any are missing."""
    pixels = stored_attributes(root, images.PATH)
    if pixels is not None and pixels.get("complete"):
        return
    for store in stores(root):
        if store.startswith("activations/") and (stored_attributes(root, store) or {}).get("generator"):
            place = place_of(root, store)
            seals.break_seal(place.root, place.path)
            group = zarr.open_group(place.root.store(place.path), mode="r+", use_consolidated=False)
            group.attrs["complete"] = False
