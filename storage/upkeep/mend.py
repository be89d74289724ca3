"""Put right what :mod:`storage.upkeep.check` finds, or take away just so much that mining makes it again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import zarr

from storage.artifacts import seals
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.guided import KINDS
from storage.artifacts.layout import stored_attributes
from storage.artifacts.seals import BrokenSealError, Seal
from storage.artifacts.shared import place_of
from storage.filesystem.lock import locked
from storage.filesystem.root import Root
from storage.upkeep.check import Finding, check_guided, check_run
from storage.upkeep.markers import marker
from storage.upkeep.sealing import FIGURES, chunk_file, seal_guided
from storage.upkeep.status import guided, own_stores

_ROUNDS = 5
"""Damaged metadata hides what else is wrong behind it, so a run is looked at until nothing more is found."""


def mend(root: Root) -> list[Finding]:
    """Mend what lies under a root; for whoever holds it.

    Small files are put back from their seals. A damaged chunk goes, with the marker that it is in, and its store is
    unfinished again; tables, pages and figures go. What cannot be told apart goes as a whole store. Mining makes again
    what is the run's own; of inversions, edits and figures what is found says which command does.

    Returns
    -------
    list of Finding
        What was damaged.

    Raises
    ------
    UserError
        There is no run under this root, or another process is at work on an inversion or an edit that is damaged.
    """
    mended = list(_mended(root, partial(check_run, root)))
    if any(finding.artifact.startswith(f"{IMAGES.path()}/") for finding in mended):
        _dump_pixels_again(root)
    for place in guided(root):
        check = partial(check_guided, root, place)
        if any(map(_is_mendable, check())):
            with locked(root, f"{place}.lock"):
                mended += _mended(root, check)
                if not check():
                    seal_guided(root, place)
    return mended


def _mended(root: Root, check: Callable[[], list[Finding]]) -> Iterator[Finding]:
    for _ in range(_ROUNDS):
        found = [finding for finding in check() if _is_mendable(finding)]
        if not found:
            break
        for (_, artifact), findings in groupby(sorted(found, key=_whose), key=_whose):
            group = list(findings)
            put_back = _mend(group[0].elsewhere or root, artifact, group)
            again = "" if put_back else _maker(artifact)
            yield from (replace(finding, again=again) for finding in group)


def _maker(artifact: str) -> str:
    """Which command makes an artifact again that is no part of a run."""
    commands = {"inversions": "rosetta invert", "edits": "rosetta edit", FIGURES: "rosetta report"}
    return commands.get(artifact.partition("/")[0], "")


def _whose(finding: Finding) -> tuple[str, str]:
    return finding.elsewhere.url if finding.elsewhere else "", finding.part_of


def _is_mendable(finding: Finding) -> bool:
    return finding.kind in ("file", "chunk", "seal")


def _mend(root: Root, artifact: str, findings: Sequence[Finding]) -> bool:
    """Whether all of it is as it was; if not, it has been taken away."""
    if artifact.startswith(f"{seals.FOLDER}/"):
        root.remove(artifact)
        return True
    try:
        seal = seals.read(root, artifact)
    except BrokenSealError:
        return True  # another finding; the artifact is looked at again once that one is gone
    if seal is not None and all(finding.artifact in seal.kept for finding in findings):
        for finding in findings:
            root.write_bytes(finding.artifact, seal.kept[finding.artifact])
        return True
    if artifact.endswith(".zarr"):
        _mend_store(root, artifact, seal, findings)
    elif artifact.startswith(KINDS):
        _mend_beside(root, artifact, findings)
    else:
        seals.discard(root, artifact)
    return False


def _mend_beside(root: Root, place: str, findings: Sequence[Finding]) -> None:
    """Of an inversion or an edit, what lies beside its store; the page goes with any of its pictures."""
    seals.break_seal(root, place)
    for finding in findings:
        root.remove(finding.artifact)
    root.remove(f"{place}/index.html")


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
    pixels = stored_attributes(root, IMAGES.path())
    if pixels is not None and pixels.get("complete"):
        return
    for store in own_stores(root):
        if store.startswith("activations/") and (stored_attributes(root, store) or {}).get("generator"):
            place = place_of(root, store)
            seals.break_seal(place.root, place.path)
            group = zarr.open_group(place.root.store(place.path), mode="r+", use_consolidated=False)
            group.attrs["complete"] = False
