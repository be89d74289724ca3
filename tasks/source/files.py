"""The images of a source: a folder or a glob at any fsspec URL, `zip://*.jpg::photos.zip` among them, of files that are
images or that hold many.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.braces import expanded
from tasks.source.containers import contents_of, is_container, require_one_kind
from tasks.source.contents import BadDatasetError
from tasks.source.file_list import Files
from tasks.source.image_file import as_text, few
from tasks.source.listing import Listing
from tasks.source.places import Place, reason_of
from tasks.source.saved import without_caches
from tasks.source.walking import Pattern, files_of, patterns

_log = logging.getLogger("rosetta")
_AT_ONCE = 8
"""Files of many images that are listed side by side."""


def list_source(images: Images) -> Files:
    """All images of a source, sorted by `source`; logs how many files were left out, and why.

    A folder gives all files below it whose suffix is an image's; a glob, all files that match. Linked folders are
    followed, hidden files and folders left out. Of files that hold many images all are listed.

    Raises
    ------
    UserError
        There are none, or the source cannot be listed.
    """
    assert images.source is not None
    listing = find_images(images.source, "images.source")
    if counts := listing.counts():
        _log.info("%s: left out %s", listing.name, counts)
    for line in listing.lines():
        _log.warning("%s: %s", listing.name, line)
    return listing.files


def find_images(source: str, name: str, wanted: str = "a folder or a glob of images, tars or Parquet files") -> Listing:
    """The images of a folder or a glob; `name` is what messages call it, and `wanted` what they ask for.

    Raises
    ------
    UserError
        There are none, it cannot be listed, or a file that holds many images is damaged.
    """
    listing, pattern = Listing(name), None
    try:
        place = Place.of(source)
        if (paths := _braced(place)) is not None:
            listing.files = _sorted(_of_paths(place, paths, listing))
        else:
            for pattern in patterns(place):
                listing = Listing(name)
                if files := Files.of(files_of(place, pattern, listing)):
                    listing.files = _sorted(_images(place, pattern, files, listing))
                    break
        if listing.files:
            return listing
    except BadDatasetError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # every filesystem has errors of its own, those of a library need not be OSErrors
        is_address = isinstance(error, ValueError | ImportError)
        remedy = "give a path or an installed fsspec protocol" if is_address else "check the path and your access to it"
        raise UserError(f"{name} {source!r} cannot be listed ({reason_of(error)}); {remedy}") from None
    raise UserError(f"{name} {source!r} has no images: {_nothing(listing, pattern, source)}; give {wanted}")


def _sorted(parts: Iterator[Files]) -> Files:
    files = Files.joined(parts)
    listed = files.take(files.by_source())
    pa.default_memory_pool().release_unused()  # what sorting took
    return listed


def _braced(place: Place) -> list[str] | None:
    """What the braces of a path stand for; None where there are none, or they are part of a name."""
    paths = expanded(place.path)
    if paths == [place.path]:
        return None
    before, _, behind = place.path.partition("{")
    return None if place.filesystem.exists(before + "{" + behind.partition("/")[0]) else paths


def _of_paths(place: Place, paths: Sequence[str], listing: Listing) -> Iterator[Files]:
    """The images of all that braces stand for, each of which must be there."""
    above = place.path.partition("{")[0].rpartition("/")[0]
    for path in paths:
        one = replace(place, path=path)
        for pattern in patterns(one):
            if files := Files.of(files_of(one, pattern, listing)):
                inside = (pattern.root if pattern.parts else pattern.root.rpartition("/")[0]).removeprefix(above)
                yield from _images(one, pattern, files, listing, inside.strip("/"))
                break
        else:
            raise BadDatasetError(path.removeprefix(above).lstrip("/"), "is not there", "name what there is")


def _images(place: Place, pattern: Pattern, files: Files, listing: Listing, above: str = "") -> Iterator[Files]:
    """Files that are images, and the images of those that hold many.

    Files that hold many are read where their suffix is asked for, or where there are no others.

    Parameters
    ----------
    above
        A folder that their names are to begin with.
    """
    many = np.fromiter(map(is_container, files.names()), np.bool_, len(files))
    datasets, singles = list(files.take(many)), files.take(~many)
    if pattern.parts and not is_container(pattern.parts[-1]):
        if singles:
            listing.leave_out("datasets beside other files; to read them, name them, as *.parquet", datasets)
            datasets = []
        require_one_kind(datasets)
    if pattern.parts:
        datasets, caches = without_caches(place, pattern.root, datasets, pattern.is_folder)
        listing.leave_out("caches of a saved dataset", caches)
    prefix = f"{as_text(above)}/" * bool(above)
    yield Files.of(replace(file, source=prefix + file.source) for file in singles) if prefix else singles
    datasets = [replace(file, source=prefix + file.source) for file in datasets]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for file, contents in zip(datasets, pool.map(contents_of, datasets), strict=True):
            listing.add(file.source, contents)
            yield contents.files


def _nothing(listing: Listing, pattern: Pattern | None, source: str) -> str:
    """Why there are no images."""
    for line in listing.lines():
        return line
    if listing.datasets:
        return f"there are none in {few(listing.datasets)}"
    if counts := listing.counts():
        return f"it holds {counts}"
    if pattern is not None and pattern.is_folder:
        return "it is empty"
    if "[" in source:
        return "nothing matches it (write [[] for a bracket that is part of a name)"
    return "nothing matches it" + (" (write / between folders)" if "\\" in source else "")
