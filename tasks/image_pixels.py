"""An image file as a square of pixels."""

import io

import fsspec
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from rosetta.errors import UserError
from tasks.image_files import ImageFile


class BadImageError(UserError):
    """A file that is no image, or not all of one."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"image {source} {reason}; remove it or narrow the glob")
        self.reason = reason
        """What is wrong, as `is damaged (…)`."""


def content_of(file: ImageFile) -> bytes:
    """All of a file.

    Raises
    ------
    BadImageError
        It cannot be opened.
    """
    try:
        with fsspec.open(file.url, "rb") as opened:
            return bytes(opened.read())
    except (FileNotFoundError, PermissionError) as error:
        raise BadImageError(file.source, f"cannot be opened ({error.strerror})") from None


def square(file: ImageFile, content: bytes, size: int) -> npt.NDArray[np.uint8]:
    """(size, size, rgb): the shorter side scaled to `size`, the middle of the longer.

    Raises
    ------
    BadImageError
        The file is no image, or not all of one.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC))
    except UnidentifiedImageError:
        raise BadImageError(file.source, "is no image") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImageError(file.source, f"is damaged ({error})") from None
