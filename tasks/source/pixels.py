"""An image file as a square of pixels; and all that is wrong with files, found from their headers in one pass."""

import errno
import io
import re
import tarfile
import warnings
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.file_list import Files
from tasks.source.formats import formats
from tasks.source.image_file import DamagedError, ImageFile
from tasks.source.modes import UnknownRangeError, has_transparency, is_deep, is_foreign, known_range, to_srgb
from tasks.source.places import reason_of
from tasks.source.reading import opened_image, read, read_as_they_lie

# Pillow warns of half the size that it refuses and of oddities in metadata, in several lines on standard error.
warnings.filterwarnings("ignore", module=r"PIL\.")

_OF_ONE_FILE = frozenset({None, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""What the system says where one file cannot be read; else it is the disk or the network. Pillow's errors have none."""

_LOST = (FileNotFoundError, PermissionError)
"""The same from filesystems that give no number."""

_OF_ARCHIVES = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, DamagedError)
"""What reading a damaged member of an archive or a damaged row of a table raises."""

_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF", "TIFF", "FLI"})
"""Formats whose further frames are images like the first, not previews or layers."""

_NAMED = 5
"""Files that a message names."""

_REMOVE = "remove it or narrow the glob"
_REMOVE_PART = "remove it from the dataset"
_SKIP = ", or leave out what cannot be read with --set images.skip_bad=true"


class BadImageError(UserError):
    """A file that is no image, or none that can be read."""

    def __init__(self, source: str, reason: str, remedy: str = _REMOVE) -> None:
        super().__init__(f"image {source} {reason}; {remedy}")
        self.source = source
        """Its path in its source."""
        self.reason = reason
        """What is wrong, as `is damaged (…)`."""
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["BadImageError"], tuple[str, str, str]]:  # type: ignore[override]
        return type(self), (self.source, self.reason, self.remedy)


def what_of(files: Files) -> str:
    """What messages call them."""
    return "files" if files.are_whole else "images"


def bad_images(
    errors: Sequence[BadImageError], total: int, name: str = "images.source", what: str = "files"
) -> UserError:
    """One line for many: the first few by name with what is wrong, how many there are and what can be done."""
    skip = _SKIP if len(errors) < total else ""
    if len(errors) == 1:
        return UserError(f"{name}: {errors[0].source} {errors[0].reason}; {errors[0].remedy}{skip}")
    errors = sorted(errors, key=lambda error: error.source)
    groups = groupby(errors[:_NAMED], key=lambda error: error.reason)
    shown = ", ".join(_together([error.source for error in group], reason) for reason, group in groups)
    more = f", and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
    remedies = " or ".join(dict.fromkeys(error.remedy.replace("remove it", "remove them") for error in errors))
    return UserError(f"{name}: {len(errors)} of {total} {what} cannot be read: {shown}{more}; {remedies}{skip}")


def _together(sources: Sequence[str], reason: str) -> str:
    return f"{', '.join(sources)} {'each ' if len(sources) > 1 else ''}{reason}"


def decoding(images: Images) -> dict[str, object]:
    """What pixels depend on and a recipe does not leave to its default, for a fingerprint."""
    stated: dict[str, object] = {} if images.background == "white" else {"background": images.background}
    return stated if images.range is None else {**stated, "range": list(images.range)}


@dataclass(frozen=True)
class Headers:
    """What the headers of a source's files say."""

    bad: tuple[BadImageError, ...]
    """In the order of the files."""
    sides: npt.NDArray[np.int64]
    """(file,) shorter side of each of the others, in pixels, in any order."""
    traits: Counter[str]
    """How many are transparent, have several frames or other colours than sRGB, by the words that tell of it."""

    def lines(self, images: Images) -> Iterator[str]:
        """What reading them changes."""
        small, total = self.sides[self.sides < images.side], len(self.sides)
        if len(small):
            yield (
                f"{_of(len(small), total, 'is', 'are')} smaller than images.size = {images.side} and enlarged;"
                f" with images.size = {small.min()} none would be"
            )
        for told, count in sorted(self.traits.items()):
            yield f"{_of(count, total, 'has', 'have')} {told}"


def _of(count: int, total: int, one: str, several: str) -> str:
    return f"{count} of {total} images {one if count == 1 else several}"


def read_headers(files: Sequence[ImageFile], images: Images) -> Headers:
    """Read the header of every file.

    Raises
    ------
    UserError
        The disk or the network fails; what is wrong with single files is in :attr:`Headers.bad`.
    """
    return _headers(Files.of(files), images)


@lru_cache(maxsize=1)  # a command looks twice: before it begins, and when it has the root to itself
def _headers(files: Files, images: Images) -> Headers:
    def header(file: ImageFile) -> tuple[int, list[str]] | BadImageError:
        try:
            with opened_image(file) as content, _open(content, file, images) as image:
                return min(image.size), list(_traits(image, images.background))
        except BadImageError as error:
            return error
        except Exception as error:
            return _unreadable(file, error)

    bad: dict[int, BadImageError] = {}
    sides, traits = array("q"), Counter[str]()
    with ThreadPoolExecutor(8) as pool:
        for index, _, found in read_as_they_lie(header, files, pool):
            if isinstance(found, BadImageError):
                bad[index] = found
            else:
                sides.append(found[0])
                traits.update(found[1])
    return Headers(tuple(error for _, error in sorted(bad.items())), np.array(sides, np.int64), traits)


def _traits(image: Image.Image, background: str) -> Iterator[str]:
    if has_transparency(image):
        yield f"transparency, shown over images.background = {background!r}"
    if image.format in _ANIMATED and getattr(image, "is_animated", False):
        yield "several frames, of which the first is taken"
    if is_foreign(image.info.get("icc_profile"), image.mode):
        yield "a colour profile other than sRGB, converted to it"


def content_of(file: ImageFile) -> bytes:
    """All of a file.

    Raises
    ------
    BadImageError
        It cannot be opened.
    UserError
        The disk or the network fails.
    """
    try:
        return read(file)
    except Exception as error:
        # Only what is known to be about this file makes it a bad one: networks have errors of their own.
        if isinstance(error, (*_OF_ARCHIVES, *_LOST)) or getattr(error, "errno", None) in _OF_ONE_FILE - {None}:
            raise _unreadable(file, error) from None
        raise _failed(file, error) from None


@dataclass(frozen=True)
class Square:
    """An image as it is mined."""

    pixels: npt.NDArray[np.uint8]
    """(size, size, rgb) in sRGB."""
    crop: tuple[float, float, float, float]
    """y0, x0, y1, x1: what of the upright original is in it, in fractions of it."""
    composited: bool
    """Whether parts were transparent, so that the background shows."""


def square(file: ImageFile, content: bytes, images: Images) -> Square:
    """The shorter side scaled to the recipe's size, the middle of the longer; upright, in sRGB.

    Raises
    ------
    BadImageError
        The file is no image, not all of one, or none that is decoded so.
    """
    try:
        with _open(io.BytesIO(content), file, images) as image:
            image.load()
            rgb, composited = to_srgb(image, images.background, images.range)
    except BadImageError:
        raise
    except Exception as error:
        raise _unreadable(file, error) from None
    pixels = np.asarray(ImageOps.fit(rgb, (images.side, images.side), Image.Resampling.BICUBIC))
    return Square(pixels, _middle(rgb.width, rgb.height), composited)


def _middle(width: int, height: int) -> tuple[float, float, float, float]:
    """The square in the middle of an image, as :func:`PIL.ImageOps.fit` takes it."""
    y0, x0 = (max(0, side - other) / 2 / side for side, other in ((height, width), (width, height)))
    return y0, x0, 1 - y0, 1 - x0


@contextmanager
def _open(content: IO[bytes], file: ImageFile, images: Images) -> Iterator[Image.Image]:
    """An image of which the header has been read and found good.

    Raises
    ------
    BadImageError
        It is no image, too large, or has no range of values.
    """
    _allow(images.max_pixels)
    try:
        image = Image.open(content, formats=formats())
    except UnidentifiedImageError:
        is_empty = content.seek(0, io.SEEK_END) == 0
        reason = "is empty" if is_empty else "is not an image that Pillow can read"
        raise BadImageError(file.source, reason, _remedy(file)) from None
    except Image.DecompressionBombError as error:
        raise _too_large(file, re.findall(r"\d+", str(error))[0], images) from None
    with image:
        if image.width * image.height > images.max_pixels:
            raise _too_large(file, f"{image.width} × {image.height}", images)
        if is_deep(image):
            try:
                known_range(image, images.range)
            except UnknownRangeError as error:
                remedy = "set images.range = [black, white]"
                raise BadImageError(file.source, str(error), remedy) from None
        yield image


def _allow(pixels: int) -> None:
    """Raise Pillow's own limit, which is one for the process, to what is allowed; others may still need it as high."""
    if Image.MAX_IMAGE_PIXELS is not None and pixels > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = -(-pixels // 2)


def _too_large(file: ImageFile, size: str, images: Images) -> BadImageError:
    reason = f"has {size} pixels, more than images.max_pixels = {images.max_pixels}"
    return BadImageError(file.source, reason, "raise images.max_pixels")


def _unreadable(file: ImageFile, error: Exception) -> BadImageError:
    """What Pillow or the filesystem stumbled over; decoders raise errors of all kinds over a damaged file.

    Raises
    ------
    UserError
        It is not about this one file.
    """
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, TimeoutError | ConnectionError) or getattr(error, "errno", None) not in _OF_ONE_FILE:
        raise _failed(file, error) from None
    if isinstance(error, _LOST) or getattr(error, "errno", None) is not None:
        reason = f"cannot be opened ({getattr(error, 'strerror', None) or reason_of(error)})"
        return BadImageError(file.source, reason, _remedy(file))
    return BadImageError(file.source, f"is damaged ({reason_of(error)})", _remedy(file))


def _remedy(file: ImageFile) -> str:
    return _REMOVE if file.part is None else _REMOVE_PART


def _failed(file: ImageFile, error: Exception) -> UserError:
    return UserError(f"image {file.source} cannot be read ({reason_of(error)}); try again")
