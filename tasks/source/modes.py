"""A picture of any of Pillow's modes as upright sRGB over a background."""

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageColor, ImageOps

Range = tuple[float, float]

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
"""The colour space that a profile must be about, by the mode of the pixels."""

_WHITE_IS_ZERO, _PHOTOMETRIC, _BITS = 0, 262, 258
"""Of TIFF: tags, and one value of the first."""

_FULL_RANGE = {("I;16", "PNG"), ("I;16", "JPEG2000"), ("I", "PNG"), ("I", "PPM")}
"""Mode and format of pictures whose values are 0 to 65535, read or scaled."""


class UnknownRangeError(Exception):
    """The file does not say which values are black and white."""

    def __init__(self, mode: str) -> None:
        super().__init__(f"has values of unknown range (mode {mode})")


def to_srgb(image: Image.Image, background: str, value_range: Range | None) -> tuple[Image.Image, bool]:
    """The picture in mode RGB, upright, its colours in sRGB, over a background where it is transparent; and whether it
    is so anywhere.

    Parameters
    ----------
    image
        Of any mode. Of several frames the one that is open.
    background
        A colour as :func:`PIL.ImageColor.getrgb` takes it.
    value_range
        The values that become black and white in images of more than 8 bits; None: what the format says.

    Raises
    ------
    UnknownRangeError
        See :func:`known_range`.
    """
    profile = image.info.get("icc_profile")
    limits = known_range(image, value_range) if is_deep(image) else None
    image = ImageOps.exif_transpose(image)
    colours, alpha = _split(image, limits)
    srgb = _converted(colours, profile)
    if alpha is None or alpha.getextrema() == (255, 255):
        return srgb, False
    return Image.composite(srgb, Image.new("RGB", srgb.size, ImageColor.getrgb(background)), alpha), True


def is_deep(image: Image.Image) -> bool:
    """Whether a picture's one channel has more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def has_transparency(image: Image.Image) -> bool:
    """Whether parts of a picture may be transparent."""
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    return image.mode.lower().endswith("a") or palette.endswith("A") or "transparency" in image.info


def is_foreign(profile: bytes | None, mode: str) -> bool:
    """Whether a colour profile says other colours than sRGB for pixels of a mode."""
    return _transform(profile, _colour_mode(mode)) is not None


def known_range(image: Image.Image, stated: Range | None = None) -> Range:
    """The values that are black and white in a picture of more than 8 bits.

    Raises
    ------
    UnknownRangeError
        Nothing is stated and neither mode nor format say: floating point, 32 bits, signed numbers.
    """
    if stated is not None:
        return stated
    kind = "I;16" if image.mode.startswith("I;16") else image.mode
    if (kind, image.format) in _FULL_RANGE:
        return 0, 65535
    if (kind, image.format) != ("I;16", "TIFF"):
        raise UnknownRangeError(image.mode)
    tags = image.tag_v2  # type: ignore[attr-defined]
    white = 2 ** tags.get(_BITS, (16,))[0] - 1
    return (white, 0) if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else (0, white)


def _split(image: Image.Image, limits: Range | None) -> tuple[Image.Image, Image.Image | None]:
    """Opaque colours in one of the modes L, RGB, CMYK and LAB; and alpha, if any."""
    clear = image.info.get("transparency")
    if limits is not None:
        values = np.asarray(image)
        alpha = None if clear is None else Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
        return Image.fromarray(_scaled(values, limits)), alpha
    if isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, of which Pillow keeps the upper 8
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if not has_transparency(image):
        return image if image.mode in _SPACES else image.convert(_colour_mode(image.mode)), None
    layered = image.convert("LA" if _colour_mode(image.mode) == "L" else "RGBA")
    return layered.convert(layered.mode[:-1]), layered.getchannel("A")


def _scaled(values: npt.NDArray[np.generic], limits: Range) -> npt.NDArray[np.uint8]:
    black, white = limits
    if np.isnan(values).any():
        raise ValueError("NaN among its values")
    fractions = (values.astype(np.float64) - black) / (white - black)
    return np.rint(np.clip(fractions, 0, 1) * 255).astype(np.uint8)


def _colour_mode(mode: str) -> str:
    """The opaque mode that a mode's colours go into."""
    if mode in _SPACES:
        return mode
    return "L" if mode in ("1", "LA", "La", "I", "F") or mode.startswith("I;16") else "RGB"


def _converted(colours: Image.Image, profile: bytes | None) -> Image.Image:
    transform = _transform(profile, colours.mode)
    if transform is None:
        return colours.convert("RGB")
    converted = ImageCms.applyTransform(colours, transform)
    assert converted is not None
    return converted


@lru_cache(maxsize=64)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile's colours to sRGB; None where they are the same, give or take one of 255 steps."""
    if profile is None and mode != "LAB":
        return None
    srgb = ImageCms.createProfile("sRGB")
    if mode == "LAB":
        # What it is optimised to by default misses dark colours by up to 16 steps.
        exact = ImageCms.Flags.NOOPTIMIZE
        return ImageCms.buildTransform(ImageCms.createProfile("LAB"), srgb, "LAB", "RGB", flags=exact)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, srgb, mode, "RGB")
    except (ImageCms.PyCMSError, OSError):  # a damaged profile says nothing
        return None
    if mode == "CMYK":
        return transform
    probe = _probe(mode)
    converted = ImageCms.applyTransform(probe, transform)
    steps = np.asarray(converted).astype(int) - np.asarray(probe.convert("RGB"))
    return transform if np.abs(steps).max() > 1 else None


def _probe(mode: str) -> Image.Image:
    """Colours from all over the cube, or all greys."""
    levels = np.arange(0, 256, 1 if mode == "L" else 17, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(levels[None])
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return Image.fromarray(cube.reshape(len(levels), -1, 3))
