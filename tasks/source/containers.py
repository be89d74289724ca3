"""Files that hold many images: WebDataset tars, Parquet, and the Arrow files of a saved Hugging Face dataset."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import IO

from tasks.source.contents import BadDatasetError, Contents
from tasks.source.image_file import ImageFile, suffix_of
from tasks.source.places import opened
from tasks.source.tables import list_arrow, list_parquet
from tasks.source.tars import list_tar

_KINDS: Mapping[str, Callable[[ImageFile, IO[bytes]], Contents]] = {
    ".tar": list_tar,
    ".parquet": list_parquet,
    ".arrow": list_arrow,
}
CONTAINERS = frozenset(_KINDS)
"""Suffixes of files that hold many images."""
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


def is_container(source: str) -> bool:
    """Whether a file holds many images, by its name."""
    return suffix_of(source) in CONTAINERS or source.lower().endswith(_COMPRESSED)


def contents_of(container: ImageFile) -> Contents:
    """The images of a file that holds many. The file is read once, as long as its filesystem says it is the same.

    Raises
    ------
    BadDatasetError
        It is damaged as a whole, or cannot be read here. Beside it, whatever its filesystem raises.
    """
    return _listed(container) if container.modified else _listed.__wrapped__(container)


@lru_cache(maxsize=4096)
def _listed(container: ImageFile) -> Contents:
    if container.source.lower().endswith(_COMPRESSED):
        remedy = f"decompress it, or name its members as tar://**::{container.url.removeprefix('file://')}"
        raise BadDatasetError(container.source, "is compressed, so single images cannot be read", remedy)
    with opened(container.url) as content:
        return _KINDS[suffix_of(container.source)](container, content)


def require_one_kind(containers: Iterable[ImageFile]) -> None:
    """
    Raises
    ------
    BadDatasetError
        A folder holds files of several kinds, which may be the same images twice.
    """
    kinds = sorted({suffix_of(one.source) for one in containers})
    if len(kinds) > 1:
        raise BadDatasetError("it", f"holds {' and '.join(kinds)} files", f"name those of one kind, as **/*{kinds[0]}")
