"""The pixels of images of a source, each with a record of what it was read from."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial

from rosetta.recipe import Images
from storage.artifacts.source_images import FileRecord, LeftOut
from tasks.source.image_file import ImageFile
from tasks.source.pixels import BadImageError, Square, content_of, square
from tasks.source.reading import read_in_place
from tasks.source.recognition import record_of

_AT_ONCE = 64
"""Images that are in memory at once."""


def read_squares(
    files: Sequence[ImageFile], images: Images, pool: Executor
) -> Iterator[tuple[FileRecord, Square] | LeftOut]:
    """Read and decode images, in their order; neighbours in it are read in the order in which they lie.

    Parameters
    ----------
    files
        Any of a source's, in any order.
    pool
        Reads them side by side.

    Raises
    ------
    UserError
        The disk or the network fails; of one file that is bad a :class:`LeftOut` says what is wrong.
    """
    for first in range(0, len(files), _AT_ONCE):
        yield from read_in_place(partial(read_square, images=images), files[first : first + _AT_ONCE], pool)


def read_square(file: ImageFile, images: Images) -> tuple[FileRecord, Square] | LeftOut:
    """Read a file once, for its pixels and for its digest; see :func:`read_squares`."""
    record = record_of(file)
    try:
        content = content_of(file)
        record = record_of(file, content)
        return record, square(file, content, images)
    except BadImageError as error:
        return LeftOut(record, error.reason)
