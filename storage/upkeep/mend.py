"""Restore what :mod:`storage.upkeep.check` finds damaged, or remove just so much that mining rebuilds it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from storage.artifacts import seals
from storage.artifacts.artifact import MINE
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES, SEALS, WEIGHTS, Instance, instance_at
from storage.artifacts.layout import (
    array_of,
    attributes_at,
    chunk_file,
    layers_of,
    open_to_write,
    stored_attributes,
    written_of,
)
from storage.artifacts.seals import BrokenSealError
from storage.artifacts.shared import Place, place_of
from storage.filesystem.lock import lock_of, locked
from storage.filesystem.root import Root
from storage.upkeep.check import Finding, check_run, check_search
from storage.upkeep.expected import begun, searches
from storage.upkeep.sealing import seal_guided

_ROUNDS = 5
"""Damaged metadata hides what else is damaged behind it, so a run is checked until nothing more is found."""


def mend(root: Root) -> list[Finding]:
    """Mend what lies under a root; for the process that holds it.

    Small files are restored from their seals. A damaged chunk is removed with its marker, and its store is unfinished
    again. Tables, pages and figures are removed. A store is removed as a whole where no marker stands for what is
    damaged. Mining rebuilds the artifacts of a run; for inversions, edits and figures a finding names the command.

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
    for folder, search in searches(root):
        check = partial(check_search, root, search)
        if any(map(_is_mendable, check())):
            with locked(root, lock_of(folder)):
                mended += _mended(root, check)
                if not check():
                    seal_guided(root, folder)
    return mended


def _mended(root: Root, check: Callable[[], list[Finding]]) -> Iterator[Finding]:
    for _ in range(_ROUNDS):
        found = [finding for finding in check() if _is_mendable(finding)]
        if not found:
            break
        for (_, path), findings in groupby(sorted(found, key=_whose), key=_whose):
            group = list(findings)
            again = _mend(Place(group[0].elsewhere or root, path), group)
            yield from (replace(finding, again=again) for finding in group)


def _whose(finding: Finding) -> tuple[str, str]:
    return finding.elsewhere.url if finding.elsewhere else "", finding.part_of


def _is_mendable(finding: Finding) -> bool:
    return finding.kind in ("file", "chunk", "seal")


def _mend(place: Place, findings: Sequence[Finding]) -> str:
    """Mend one artifact; gives the command that rebuilds what was removed, if that is not rosetta mine."""
    root, path = place.root, place.path
    if path.startswith((f"{SEALS}/", f"{WEIGHTS}/")):
        root.remove(path)
        return ""
    try:
        seal = seals.read(root, path)
    except BrokenSealError:
        return ""  # another finding; the artifact is checked again once that one is mended
    kept = seal.kept if seal else {}
    for file in {finding.artifact for finding in findings} & kept.keys():
        root.write_bytes(file, kept[file])
    if all(finding.artifact in kept for finding in findings):
        return ""
    instance = instance_at(path)
    assert instance is not None
    seals.break_seal(root, path)
    if instance.artifact.kind == "store":
        _mend_store(place, instance, [finding for finding in findings if finding.kind == "chunk"])
    elif instance.artifact.kind == "folder":
        # Other artifacts may lie in it. Without its index it is unfinished.
        for file in (*(finding.artifact for finding in findings), instance.index):
            root.remove(file)
    else:
        root.remove(path)
    return "" if instance.artifact.command == MINE else instance.artifact.command


def _mend_store(place: Place, instance: Instance, damaged: Sequence[Finding]) -> None:
    store = place.path
    layers = layers_of((damaged and attributes_at(place)) or {})
    entries = {one: instance.artifact.entry(one.artifact[len(store) + 1 :], one.chunk, layers) for one in damaged}
    if not entries or None in entries.values():
        place.root.remove(store)
        return
    group = open_to_write(place)
    group.attrs["complete"] = False
    written = written_of(group)
    for finding, entry in entries.items():
        array = array_of(group, finding.artifact[len(store) + 1 :])
        place.root.remove(chunk_file(finding.artifact, array, finding.chunk))
        if entry:
            # The marker's own chunk may be what is damaged.
            place.root.remove(chunk_file(f"{store}/{written.path}", written, entry))
            written[entry] = False


def _dump_pixels_again(root: Root) -> None:
    """A generator's pixels are written with its dump, which must not count as finished while any are missing."""
    pixels = stored_attributes(root, IMAGES.path())
    if pixels is not None and pixels.get("complete"):
        return
    for store in begun(root, lambda artifact: artifact is ACTIVATIONS):
        if (stored_attributes(root, store.path) or {}).get("generator"):
            place = place_of(root, store.path)
            seals.break_seal(place.root, place.path)
            open_to_write(place).attrs["complete"] = False
