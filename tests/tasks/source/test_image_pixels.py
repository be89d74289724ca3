"""Files of every mode into pixels, against arithmetic of our own; and what is wrong with files, in one pass."""

import colorsys
import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import ADOBE, P3, SRGB, encoded, grey_profile, in_srgb, lab_in_srgb, matrix_profile, png
from PIL import Image, ImageCms
from strategies import SEEDS

from rosetta.errors import UserError
from rosetta.recipe import Images, recipe_from
from tasks.source.image_file import ImageFile
from tasks.source.modes import UnknownRangeError, to_srgb
from tasks.source.pixels import BadImageError, decoding, square

SIDE = 24
DRAW = np.random.default_rng(0)
RGB = DRAW.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GREY = DRAW.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
ALPHA = DRAW.choice(np.array([0, 1, 90, 128, 254, 255], np.uint8), (SIDE, SIDE))
DEEP = DRAW.integers(0, 65536, (SIDE, SIDE), dtype=np.uint16)
TEAL = (0, 128, 128)


def decoded(content: bytes, images: Images = Images(), size: int = SIDE) -> np.ndarray:
    return square(ImageFile("", "it", len(content), ""), content, images.model_copy(update={"size": size})).pixels


def thrice(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def over(colours: np.ndarray, alpha: np.ndarray, background: tuple[int, int, int] = TEAL) -> np.ndarray:
    part = alpha[..., None] / 255
    return colours * part + np.array(background) * (1 - part)


def with_alpha(mode: str, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(colours)
    image.putalpha(Image.fromarray(ALPHA))
    return image.convert(mode)


def hsv() -> np.ndarray:
    return np.array([[colorsys.hsv_to_rgb(*pixel) for pixel in row] for row in RGB / 255]) * 255


def cmyk() -> np.ndarray:
    inks = np.dstack([RGB, GREY]).astype(float)
    return (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255


def ycbcr() -> np.ndarray:
    y, cb, cr = np.moveaxis(RGB.astype(float), 2, 0) - [[[0]], [[128]], [[128]]]
    return np.clip(np.dstack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]), 0, 255)


LAB = np.dstack([GREY, DRAW.integers(108, 149, (SIDE, SIDE, 2), dtype=np.uint8)])
PALETTE = DRAW.integers(0, 256, (256, 3), dtype=np.uint8)


def paletted() -> Image.Image:
    image = Image.fromarray(GREY)
    image.putpalette(PALETTE.tobytes())
    return image


def paletted_with_alpha() -> Image.Image:
    image = Image.frombytes("PA", (SIDE, SIDE), np.dstack([GREY, ALPHA]).tobytes())
    image.putpalette(PALETTE.tobytes())
    return image


def from_bytes(mode: str, values: np.ndarray) -> Image.Image:
    return Image.frombytes(mode, (SIDE, SIDE), values.tobytes())


def premultiplied(mode: str) -> tuple[Image.Image, np.ndarray, int]:
    image = with_alpha("LA" if mode == "La" else "RGBA", GREY if mode == "La" else RGB).convert(mode)
    bands = np.asarray(image).astype(float)
    return image, bands[..., :-1] + np.array(TEAL) * (1 - ALPHA[..., None] / 255), 1


MODES = {
    "1": (Image.fromarray(GREY > 99), thrice(255.0 * (GREY > 99)), 0),
    "L": (Image.fromarray(GREY), thrice(GREY), 0),
    "RGB": (Image.fromarray(RGB), RGB, 0),
    "RGBX": (Image.fromarray(RGB).convert("RGBX"), RGB, 0),
    "P": (paletted(), PALETTE[GREY], 0),
    "LA": (with_alpha("LA", GREY), over(thrice(GREY), ALPHA), 1),
    "RGBA": (with_alpha("RGBA", RGB), over(RGB, ALPHA), 1),
    "La": premultiplied("La"),
    "RGBa": premultiplied("RGBa"),
    "PA": (paletted_with_alpha(), over(PALETTE[GREY], ALPHA), 1),
    "CMYK": (from_bytes("CMYK", np.dstack([RGB, GREY])), cmyk(), 1),
    "YCbCr": (Image.fromarray(RGB, "YCbCr"), ycbcr(), 2),
    "HSV": (Image.fromarray(RGB, "HSV"), hsv(), 3),
    "LAB": (Image.merge("LAB", [Image.fromarray(LAB[..., band]) for band in range(3)]),
            lab_in_srgb(np.dstack([LAB[..., 0] / 2.55, LAB[..., 1:].astype(float) - 128])), 1),
    "I;16": (from_bytes("I;16", DEEP.astype("<u2")), thrice(DEEP / 257), 0.5),
    "I;16L": (from_bytes("I;16L", DEEP.astype("<u2")), thrice(DEEP / 257), 0.5),
    "I;16B": (from_bytes("I;16B", DEEP.astype(">u2")), thrice(DEEP / 257), 0.5),
    "I;16N": (from_bytes("I;16N", DEEP), thrice(DEEP / 257), 0.5),
    "I": (Image.fromarray(DEEP.astype(np.int32) - 9), thrice(DEEP / 257), 0.5),
    "F": (Image.fromarray(DEEP.astype(np.float32) / 2 - 4.5), thrice(DEEP / 257), 0.5),
}  # fmt: skip
"""By mode: an image, its colours over TEAL, and by how many of 255 steps arithmetic in whole numbers may miss them."""
STATED = {"I": (-9.0, 65526.0), "F": (-4.5, 32763.0)}
"""The ranges of those that do not say theirs."""


def test_the_table_has_every_mode_that_pillow_has():
    assert {mode for mode in Image.MODES if not mode.startswith("BGR;")} == set(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_right(mode):
    image, expected, tolerance = MODES[mode]
    assert image.mode == mode
    image.format = "PNG"
    found = np.asarray(to_srgb(image, "#008080", STATED.get(mode))[0])
    assert found.shape == (SIDE, SIDE, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= tolerance


@pytest.mark.parametrize("kind", ["TIFF", "IM", "FITS", None])
@pytest.mark.parametrize("mode", STATED)
def test_a_range_that_no_one_states_is_not_guessed(mode, kind):
    image = MODES[mode][0]
    image.format = kind
    with pytest.raises(UnknownRangeError, match=f"mode {mode}"):
        to_srgb(image, "white", None)


def test_sixteen_bits_keep_the_levels_of_a_ramp():
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    found = decoded(encoded(Image.fromarray(ramp)), size=64)
    assert len(np.unique(found)) == 64
    np.testing.assert_array_equal(found, thrice(np.rint(ramp / 257).astype(np.uint8)))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), SEEDS)
def test_sixteen_bits_that_hold_eight_are_those_eight(height, width, size, seed):
    grey = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    deep = decoded(encoded(Image.fromarray(grey.astype(np.uint16) * 257)), size=size)
    np.testing.assert_array_equal(deep, decoded(encoded(Image.fromarray(grey)), size=size))


def tiff(values: np.ndarray, bits: int, white_is_zero: bool, order: str) -> bytes:
    """An uncompressed TIFF of one grey channel, as Pillow does not write them."""
    height, width = values.shape
    if bits == 12:
        digits = "".join(f"{value:03x}" for value in values.ravel())
        data = bytes.fromhex(digits)
    else:
        data = values.astype(f"{order}u2").tobytes()
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: 0 if white_is_zero else 1,
        273: 8,
        277: 1,
        278: height,
        279: len(data),
    }
    table = struct.pack(f"{order}H", len(tags))
    for tag, value in tags.items():
        table += struct.pack(f"{order}HHII", tag, 4, 1, value)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", 8 + len(data)) + data + table + bytes(4)


@pytest.mark.parametrize(
    ("bits", "zero", "order"), [(12, False, "<"), (16, False, "<"), (16, True, "<"), (16, False, ">")]
)
def test_tiff_says_how_many_bits_and_which_end_is_white(bits, zero, order):
    values = DEEP >> (16 - bits)
    expected = np.rint(values / (2**bits - 1) * 255).astype(np.uint8)
    found = decoded(tiff(values, bits, zero, order))
    np.testing.assert_array_equal(found, thrice(255 - expected if zero else expected))


def test_a_stated_range_scales_what_has_more_than_8_bits():
    floats = DEEP.astype(np.float32) / 65535 * 3 - 1
    stated = Images(range=(0, 1))
    expected = np.rint(np.clip(floats.astype(float), 0, 1) * 255).astype(np.uint8)
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(floats), "TIFF"), stated), thrice(expected))
    twelve = Images(range=(0, 4095))
    found = decoded(encoded(Image.fromarray(DEEP >> 4)), twelve)
    np.testing.assert_array_equal(found, thrice(np.rint((DEEP >> 4) / 4095 * 255).astype(np.uint8)))
    np.testing.assert_array_equal(decoded(encoded(Image.fromarray(RGB)), stated), RGB)
    floats[0, 0] = np.nan
    with pytest.raises(BadImageError, match="NaN among its values"):
        decoded(encoded(Image.fromarray(floats), "TIFF"), stated)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_is_composited(kind):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    content = encoded(with_alpha("RGBA", RGB), kind, **options)
    for background in ("white", "#008080", "black"):
        colour = {"white": (255,) * 3, "#008080": TEAL, "black": (0,) * 3}[background]
        found = decoded(content, Images(background=background))
        assert np.abs(found - over(RGB, ALPHA, colour)).max() <= 1
        np.testing.assert_array_equal(found[ALPHA == 0], np.broadcast_to(colour, (np.sum(ALPHA == 0), 3)))
        np.testing.assert_array_equal(found[ALPHA == 255], RGB[ALPHA == 255])


def test_a_transparent_colour_is_composited():
    few = GREY // 64 * 64
    deep = few.astype(np.uint16) * 257
    image = paletted()
    cases = [
        (Image.fromarray(few), {"transparency": 64}, few == 64, thrice(few)),
        (Image.fromarray(deep), {"transparency": 64 * 257}, few == 64, thrice(few)),
        (Image.fromarray(few > 0), {"transparency": 0}, few == 0, thrice(255 * (few > 0))),
        (Image.fromarray(thrice(few)), {"transparency": (64, 64, 64)}, few == 64, thrice(few)),
        (image, {"transparency": 7}, GREY == 7, PALETTE[GREY]),
        (image, {"transparency": bytes(range(256))}, None, over(PALETTE[GREY], GREY)),
    ]
    for picture, options, clear, colours in cases:
        expected = colours if clear is None else np.where(clear[..., None], TEAL, colours)
        found = decoded(encoded(picture, **options), Images(background="teal"))
        assert np.abs(found - expected).max() <= (clear is None)


def test_a_transparent_colour_of_sixteen_bits():
    deep = np.repeat(DEEP[..., None], 3, axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    clear = deep[3, 4]
    found = decoded(png(SIDE, SIDE, 16, 2, rows, clear.astype(">u2").tobytes()), Images(background="teal"))
    alike = (deep >> 8 == clear >> 8).all(axis=2)
    assert alike[3, 4]
    np.testing.assert_array_equal(found, np.where(alike[..., None], TEAL, deep >> 8))


ORIENTED = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
            5: lambda a: a.swapaxes(0, 1), 6: lambda a: a[::-1].swapaxes(0, 1),
            7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: a[:, ::-1].swapaxes(0, 1)}  # fmt: skip
"""What EXIF's orientations do to (y, x, ...)."""


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.sampled_from(["PNG", "JPEG", "BMP", "TIFF"]),
    st.booleans(), st.sampled_from([None, *ORIENTED]), SEEDS,
)  # fmt: skip
def test_eight_bits_are_what_they_always_were(height, width, size, kind, is_grey, orientation, seed):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    options = {}
    if orientation is not None and kind != "BMP":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    image = Image.fromarray(values[..., 0] if is_grey else values)
    content = encoded(image, kind, **options)
    pixels = np.asarray(Image.open(io.BytesIO(encoded(image, kind))))  # a JPEG is not what was put in
    pixels = ORIENTED[orientation if options else 1](thrice(pixels) if is_grey else pixels)
    rows, columns = pixels.shape[:2]
    side = min(rows, columns)
    left, top = (columns - side) / 2, (rows - side) / 2
    box = (left, top, left + side, top + side)
    upright = Image.fromarray(np.ascontiguousarray(pixels))
    expected = np.asarray(upright.resize((size, size), Image.Resampling.BICUBIC, box=box))
    np.testing.assert_array_equal(decoded(content, size=size), expected)


@pytest.mark.parametrize(("primaries", "gamma"), [(P3, 2.2), (ADOBE, 563 / 256), (SRGB, 1.8)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colours_of_another_profile_become_srgb(primaries, gamma, kind):
    profile = matrix_profile(primaries, gamma)
    expected = in_srgb(RGB, primaries, gamma)
    assert np.abs(expected - RGB).max() > 9
    found = decoded(encoded(Image.fromarray(RGB), kind, icc_profile=profile))
    assert np.abs(found - expected).max() <= 1.5
    found = decoded(encoded(with_alpha("RGBA", RGB), kind, icc_profile=profile), Images(background="teal"))
    assert np.abs(found - over(expected, ALPHA)).max() <= 2.5


def test_greys_of_another_profile_become_srgb():
    found = decoded(encoded(Image.fromarray(GREY), icc_profile=grey_profile(1.8)))
    assert np.abs(found - in_srgb(thrice(GREY), SRGB, 1.8)).max() <= 1.5


def test_profiles_that_change_nothing():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"damaged", srgb[:200], grey_profile(1.8)):
        np.testing.assert_array_equal(decoded(encoded(Image.fromarray(RGB), icc_profile=profile)), RGB)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_is_taken(kind):
    frames = [Image.fromarray(np.full((SIDE, SIDE, 3), level, np.uint8)) for level in (51, 102, 204)]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(decoded(content), np.full((SIDE, SIDE, 3), 51))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "background",
            "nocolour",
            "images.background: 'nocolour' is not an opaque colour; write a name such as 'white'",
        ),
        ("background", "#11223344", "not an opaque colour"),
        ("range", [1, 1], "images.range: [1.0, 1.0] is not a range"),
        ("range", [0, float("nan")], "images.range"),
        ("range", [0], "images.range"),
        ("max_pixels", 0, "images.max_pixels"),
    ],
)
def test_what_a_recipe_says_wrong(key, value, words):
    with pytest.raises(UserError, match="recipe it: ") as raised:
        recipe_from({"name": "it", "root": "it", "images": {key: value}, "models": []}, "it")
    assert words in str(raised.value)


def test_only_what_is_stated_changes_a_fingerprint():
    assert decoding(Images()) == {}
    stated = Images(background="teal", range=(0, 1), max_pixels=7)
    assert decoding(stated) == {"background": "teal", "range": [0.0, 1.0]}
