"""Whether the images of a run are those that its source holds now.

A quick stamp of each file, its size and when it was last written, decides where it is the one that was read. Where it
is not, the file's content does: it may only have been touched, or copied to another machine.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rosetta.errors import UserError
from rosetta.mining.draw import drawn_order
from rosetta.recipe import Images
from rosetta.view.numbers import counted
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.fingerprint import Fingerprint, fingerprint, first_difference
from storage.artifacts.halves import HALVES
from storage.artifacts.layout import attributes_at
from storage.artifacts.provenance import stored_recipe
from storage.artifacts.seals import sha256
from storage.artifacts.shared import Place, place_of
from storage.artifacts.source_images import (
    FileRecord,
    SourceStore,
    stamps_digest,
    texts,
    was_never_finished,
    without_content,
)
from storage.filesystem.root import Root
from storage.upkeep.check import Finding
from tasks.source.file_list import Files
from tasks.source.files import list_source
from tasks.source.image_file import ImageFile
from tasks.source.labels import FOLDER, NONE, labelled, labels_of
from tasks.source.pixels import BadImageError, content_of, decoding
from tasks.source.reading import read_as_they_lie
from tasks.source.streamed import Streamed

_log = logging.getLogger("rosetta")
_AT_ONCE = 8
"""Files that are read side by side."""
_NAMED = 5
"""Files that a message names."""


@dataclass(frozen=True)
class Recognised:
    """What the images that are there are to a recipe's source."""

    fingerprint: Fingerprint | None = None
    """Of images that are those of the source; None where they are yet to be read."""
    difference: str = ""
    """Why they are not; empty where they are, where there are none, or none that anything depends on."""
    agreed: Mapping[str, str] = field(default_factory=dict)
    """Stamps of files that were compared by content, by the fingerprint of the images; to be kept."""

    def require_none_other(self) -> None:
        """
        Raises
        ------
        UserError
            There are others.
        """
        if self.difference:
            raise UserError(
                f"{IMAGES.path()} was made from something else ({self.difference}); give --replace to rebuild it,"
                " or another --root"
            )


def in_order(images: Images) -> Files:
    """All images of a source in the order in which they are mined, with their labels; a run takes the first
    `images.count`.

    Raises
    ------
    UserError
        There are none, or fewer than `images.count`; or their labels cannot be read, or are for others.
    """
    files = labelled(list_source(images), images)
    if images.count is not None and images.count > len(files):
        raise UserError(f"images.source has {len(files)} images but images.count asks for {images.count}; lower it")
    if images.order == "listed":
        return files
    return files.take(drawn_order(files.names(), images.seed))


def listing_digest(files: Files) -> str:
    """Of the names and stamps of files, in their order."""
    digest = hashlib.sha256()
    for one in zip(files.names(), files.stamps(), strict=True):
        digest.update(json.dumps(one).encode())
    return digest.hexdigest()


def settings(images: Images, streamed: Streamed | None = None, stored: Mapping[str, Any] | None = None) -> Fingerprint:
    """What is known of a source's images before its files have been read.

    Parameters
    ----------
    streamed
        All images, where only some are stored.
    stored
        What a store that is there depends on. One that an earlier version has finished keeps its halves.
    """
    stated: dict[str, object] = {} if images.order == "listed" else {"seed": images.seed}
    if images.labels is not None:
        # Of a table the content counts, see SourceStore.finish_files, not where it lies.
        stated["labels"] = images.labels if images.labels in (FOLDER, NONE) else "table"
    if streamed is not None:
        stated |= {"streamed": streamed.images, "listing": streamed.listing}
    if stored is None or was_never_finished(stored) or HALVES in stored:
        stated[HALVES] = images.seed
    return fingerprint("images", None, size=images.side, order=images.order, **stated, **decoding(images))


def record_of(file: ImageFile, content: bytes | None = None) -> FileRecord:
    """A file as it is, with its content where that could be read."""
    digest = "" if content is None else sha256(content)
    return FileRecord(file.source, file.stamp, digest)


def recognise(
    place: Place, images: Images, files: Files, agreed: Mapping[str, Any], streamed: Streamed | None = None
) -> Recognised:
    """Compare the images in a place with a recipe's source; nothing is written.

    Parameters
    ----------
    files
        Those of :func:`in_order`; where others are streamed those that are kept.
    streamed
        All of them, where these are not all.
    agreed
        Stamps of files that were compared by content before (:func:`storage.artifacts.agreed.known`).

    Raises
    ------
    UserError
        The store's metadata are damaged, or a file cannot be read.
    """
    attributes = attributes_at(place)
    if attributes is None or was_never_finished(attributes["depends"]):
        return Recognised()
    depends: dict[str, Any] = attributes["depends"]
    if isinstance(depends.get("files"), list):
        return _recognise_older(attributes, images, files)
    if difference := first_difference(without_content(depends), settings(images, streamed, depends).depends):
        return Recognised(difference=difference)
    store = SourceStore.at(place)
    left = {one.record.source: one.record for one in store.left_out()} if images.skip_bad else {}
    is_left = np.isin(np.arange(len(files)), files.find(list(left)))
    chosen, bad = files.take(~is_left)[: images.count], files.take(is_left)
    found, stamps = Fingerprint(depends), stamps_digest(_stamps(chosen), _stamps(bad))
    as_read = stamps in (attributes.get("stamps"), agreed.get(found.digest))
    if not as_read and (difference := _other_files(chosen, store.column("source"), bool(attributes.get("complete")))):
        return Recognised(difference=difference)
    if difference := _other_labels(chosen, store, images):
        return Recognised(difference=difference)
    if as_read:
        return Recognised(found)
    # Of a store that is not whole only the first ones are known, and of these not all.
    chosen = chosen[: store.count]
    records_left = [left[source] for source in bad.names()]

    def then(name: str) -> pa.ChunkedArray:
        ends = pa.array([getattr(record, name) for record in records_left], pa.large_string())
        return pa.chunked_array([*store.column(name).slice(0, len(chosen)).chunks, ends])

    now, stamps_then = Files.joined([chosen, bad]), then("stamp")
    rows = zip(texts(then("source")), texts(stamps_then), now.stamps(), strict=True)
    doubtful = np.flatnonzero(np.fromiter((bool(source) and old != new for source, old, new in rows), np.bool_))
    files = now.take(doubtful)
    sizes = (FileRecord("", stamp, "").size for stamp in texts(stamps_then.take(doubtful)))
    if changed := [file.source for file, size in zip(files, sizes, strict=True) if str(file.size) != size]:
        return Recognised(difference=f"{named(changed)} changed")
    _log.info("images: comparing the content of %s written since", counted(len(files), "file", "files"))
    if changed := list(files.take(_changed(files, then("sha256").take(doubtful))).names()):
        return Recognised(difference=f"{named(changed)} changed")
    return Recognised(found, agreed={found.digest: stamps})


def _stamps(files: Files) -> Iterator[tuple[str, str]]:
    """Source and stamp of each, by source."""
    files = files.take(files.by_source())
    return zip(files.names(), files.stamps(), strict=True)


def _other_files(chosen: Files, stored: pa.ChunkedArray, whole: bool) -> str:
    """In which files a source differs from the ones that were read; empty where they are the same, in this order.

    Parameters
    ----------
    stored
        (image,) sources of those that were read. Of a store that is not whole not every one is known.
    """
    pairs = zip(chosen.names(), texts(stored), strict=False)
    same = all(then in ("", now) for now, then in pairs)
    if same and (len(chosen) == len(stored) or not whole):
        return ""
    now, then = chosen.sources, stored.filter(pc.not_equal(stored, ""))
    new, gone = _without(now, then), _without(then, now)
    told = [f"{named(new)} new"] * bool(new) + [f"{named(gone)} gone"] * bool(gone)
    return ", ".join(told) or "the same files in another order"


def _other_labels(chosen: Files, store: SourceStore, images: Images) -> str:
    """Which images of a finished store have another label now; empty where none have."""
    if not store.complete or not (store.has_given_labels or chosen.have_labels):
        return ""
    none = [""] * len(chosen)
    try:
        stored = store.labels() or none
    except ValueError:  # its checksum; `rosetta check` names it
        return ""
    pairs = zip(labels_of(chosen, images) or none, stored, strict=True)
    changed = [
        f"{source}: {then!r} → {now!r}"
        for source, (now, then) in zip(chosen.names(), pairs, strict=True)
        if now != then
    ]
    return f"labels changed, {named(changed)}" if changed else ""


def _without(some: pa.ChunkedArray, others: pa.ChunkedArray) -> list[str]:
    without: list[str] = some.filter(pc.invert(pc.is_in(some, others))).to_pylist()
    return without


def _recognise_older(attributes: dict[str, Any], images: Images, files: Files) -> Recognised:
    """Images of before their order was drawn and their content kept: they are known by names and sizes, as listed."""
    if not attributes.get("complete"):
        return Recognised(difference="begun by an older rosetta, in the order of the listing")
    depends = attributes["depends"]
    listed = files.take(files.by_source())[: images.count]
    now = [[file.source.rpartition("/")[2], file.size] for file in listed]
    if depends["size"] != images.side:
        return Recognised(difference=f"size: {depends['size']} → {images.side}")
    if now == depends["files"]:
        return Recognised(Fingerprint(depends))
    pairs = zip(now, depends["files"], strict=False)
    first = next((new[0] for new, old in pairs if new != old), None)
    return Recognised(
        difference=f"{first} is another file than before"
        if first
        else f"{len(depends['files'])} files → {len(now)} files"
    )


def named(sources: Sequence[str]) -> str:
    """The first of some files, and how many more there are."""
    more = f" and {len(sources) - _NAMED:,} more" if len(sources) > _NAMED else ""
    return f"{', '.join(sources[:_NAMED])}{more}"


def check_sources(root: Root) -> list[Finding]:
    """Read every file that the images of a run were read from; names those that are gone or have other content.

    Raises
    ------
    UserError
        The source is not available.
    """
    place = place_of(root, IMAGES.path())
    recipes = (stored_recipe(home) for home in dict.fromkeys([root, place.root]))
    images = next((recipe.images for recipe in recipes if recipe and recipe.images.source), None)
    attributes = attributes_at(place)
    if images is None or attributes is None:
        return []
    wrong = _wrong_files(place, attributes["depends"], images)
    return [Finding(what, problem, IMAGES.path(), "source") for what, problem in wrong]


def _wrong_files(place: Place, depends: dict[str, Any], images: Images) -> Iterator[tuple[str, str]]:
    """What is not as it was mined, and the problem."""
    if isinstance(depends.get("files"), list):
        yield IMAGES.path(), "has no digests to compare with; an older rosetta made it"
        return
    store, files = SourceStore.at(place), list_source(images)
    stored = store.column("source")
    known = pc.not_equal(stored, "")
    stored, digests = stored.filter(known), store.column("sha256").filter(known)
    at = pc.index_in(stored, files.sources)
    there = np.flatnonzero(at.is_valid())
    differ = set(there[_changed(files.take(at.drop_null().to_numpy()), digests.take(there))].tolist())
    for image, (source, is_there) in enumerate(zip(texts(stored), at.is_valid().to_pylist(), strict=True)):
        if not is_there:
            yield f"{images.source}: {source}", "is gone since it was mined"
        elif image in differ:
            yield f"{images.source}: {source}", "differs from what was mined"


def _changed(files: Files, digests: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Indices of those whose content has another SHA-256 now, or cannot be read."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        now = read_as_they_lie(_digest, files, pool)
        return np.array(sorted(at for at, _, digest in now if digest != digests[at].as_py()), np.int64)


def _digest(file: ImageFile) -> str:
    try:
        return record_of(file, content_of(file)).sha256
    except BadImageError:
        return ""
