"""What is wrong with a source's files, found and told in one pass; and what reading them changes."""

import errno
import pickle
import re
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import P3, encoded, matrix_profile, png
from PIL import Image
from strategies import SEEDS

import tasks.source.reading
from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.files import list_source
from tasks.source.image_file import ImageFile
from tasks.source.pixels import BadImageError, bad_images, content_of, read_headers, square

SIDE = 24
DRAW = np.random.default_rng(0)
RGB = DRAW.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GREY = DRAW.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


def decoded(content: bytes, images: Images = Images()) -> np.ndarray:
    return square(ImageFile("", "it", len(content), ""), content, images.model_copy(update={"size": SIDE})).pixels


def written(folder, contents: dict[str, bytes]) -> list[ImageFile]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [ImageFile(f"file://{folder}/{name}", name, len(content), "") for name, content in contents.items()]


def lines(folder, contents: dict[str, bytes], size: int = SIDE) -> list[str]:
    images = Images(size=size)
    headers = read_headers(written(folder, contents), images)
    assert not headers.bad
    return list(headers.lines(images))


def test_what_reading_changes_is_said(tmp_path):
    small, large = (encoded(Image.new("RGB", (side, 2 * side))) for side in (SIDE - 7, SIDE))
    profile = matrix_profile(P3, 2.2)
    contents = {
        "a": small,
        "b": large,
        "c": encoded(Image.fromarray(RGB), icc_profile=profile),
        "d": encoded(Image.new("RGBA", (SIDE, SIDE))),
        "e": encoded(Image.fromarray(GREY), transparency=3),
        "f": encoded(Image.fromarray(GREY), "GIF", transparency=3),
    }
    assert lines(tmp_path, contents) == [
        "1 of 6 images is smaller than images.size = 24 and enlarged; with images.size = 17 none would be",
        "1 of 6 images has a colour profile other than sRGB, converted to it",
        "3 of 6 images have transparency, shown over images.background = 'white'",
    ]
    assert lines(tmp_path, {"b": large}) == []


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_said(kind, tmp_path):
    frame = Image.fromarray(RGB)
    several = encoded(frame, kind, save_all=True, append_images=[Image.new("RGB", frame.size)])
    said = lines(tmp_path, {"a": several, "b": encoded(frame, kind)})
    assert said == ["1 of 2 images has several frames, of which the first is taken"]


CUT = ["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "AVIF", "JPEG2000", "TGA", "PCX", "ICO", "QOI", "SGI"]


@pytest.mark.parametrize("kind", CUT)
def test_half_a_file_is_damaged(kind):
    content = encoded(Image.fromarray(RGB), kind)
    decoded(content)
    with pytest.raises(BadImageError, match=r"image it is (damaged|not an image)") as raised:
        decoded(content[: len(content) // 2])
    assert raised.value.reason.startswith("is ")
    assert "0x" not in str(raised.value), "an address says nothing to anyone"


@given(st.sampled_from(CUT), SEEDS, st.integers(1, 60))
def test_damage_of_any_kind_is_told_as_that(kind, seed, changes):
    draw = np.random.default_rng(seed)
    content = bytearray(encoded(Image.fromarray(RGB), kind))
    for place in draw.integers(0, len(content), changes):
        content[place] = draw.integers(0, 256)
    with suppress(BadImageError):
        assert decoded(bytes(content), Images(max_pixels=10**6)).shape == (SIDE, SIDE, 3)


def test_one_pass_names_all_bad_files(tmp_path):
    whole = encoded(Image.fromarray(RGB))
    contents = {
        "a.png": whole,
        "b.png": b"no image",
        "c.png": b"",
        "d.png": png(14_000, 14_000, 8, 0, bytes(99)),
        "e.tiff": encoded(Image.new("F", (9, 9)), "TIFF"),
        "f.tiff": encoded(Image.new("I", (9, 9)), "TIFF"),
        "g.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "h.png": whole,
    }
    files = [*written(tmp_path, contents), ImageFile(f"file://{tmp_path}/i.png", "i.png", 0, "")]
    headers = read_headers(files, Images())
    assert [(error.source, error.reason) for error in headers.bad] == [
        ("b.png", "is not an image that Pillow can read"),
        ("c.png", "is empty"),
        ("d.png", "has 196000000 pixels, more than images.max_pixels = 178956970"),
        ("e.tiff", "has values of unknown range (mode F)"),
        ("f.tiff", "has values of unknown range (mode I)"),
        ("g.jpg", "is not an image that Pillow can read"),
        ("i.png", "cannot be opened (No such file or directory)"),
    ]
    assert len(headers.sides) == 2
    assert str(bad_images(headers.bad[::-1], len(files))) == (
        "images.source: 7 of 9 files cannot be read: b.png is not an image that Pillow can read, c.png is empty,"
        " d.png has 196000000 pixels, more than images.max_pixels = 178956970, e.tiff has values of unknown range"
        " (mode F), f.tiff has values of unknown range (mode I), and 2 more; remove them or narrow the glob or raise"
        " images.max_pixels or set images.range = [black, white], or leave out what cannot be read with --set"
        " images.skip_bad=true"
    )
    assert str(bad_images(headers.bad[:1], 2)) == (
        "images.source: b.png is not an image that Pillow can read; remove it or narrow the glob, or leave out what "
        "cannot be read with --set images.skip_bad=true"
    )
    assert "skip_bad" not in str(bad_images(headers.bad, len(headers.bad))), "nothing would be left to mine"
    ranges = read_headers(files[4:6], Images(range=(0, 1)))
    assert not ranges.bad
    assert "e.tiff, f.tiff each is bad" in str(
        bad_images([BadImageError(file.source, "is bad") for file in files[4:6]], 2)
    )


def test_the_largest_image_is_the_recipes(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    content = encoded(Image.new("L", (11, 10)))
    with pytest.raises(BadImageError, match=r"has 110 pixels, more than images.max_pixels = 100; raise images.max_pix"):
        decoded(content, Images(max_pixels=100))
    assert decoded(content, Images(max_pixels=110)).shape == (SIDE, SIDE, 3)
    with pytest.raises(BadImageError, match=r"has 11 × 10 pixels, more than images\.max_pixels = 109"):
        decoded(content, Images(max_pixels=109))


def test_a_bad_image_goes_between_processes():
    error = pickle.loads(pickle.dumps(BadImageError("a.png", "is empty", "fill it")))  # noqa: S301
    assert (error.source, error.reason, error.remedy) == ("a.png", "is empty", "fill it")
    assert str(error) == "image a.png is empty; fill it"


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), TimeoutError("late"), ConnectionError("no")]
)
def test_a_failing_disk_makes_no_file_bad(error, monkeypatch, tmp_path):
    (file,) = written(tmp_path, {"a.png": encoded(Image.fromarray(RGB))})

    def fail(url):
        raise error

    monkeypatch.setattr(tasks.source.reading, "opened", fail)
    for read in (content_of, lambda file: read_headers([file], Images())):
        with pytest.raises(UserError, match=r"image a\.png cannot be read \(.*\); try again") as raised:
            read(file)
        assert not isinstance(raised.value, BadImageError)


class LibraryError(Exception):
    """An error as a filesystem's library has it, which says nothing of where the fault lies."""


def test_errors_that_no_one_knows_make_no_file_bad(monkeypatch):
    def fail(url):
        raise LibraryError("payload is not completed")

    monkeypatch.setattr(tasks.source.reading, "opened", fail)
    with pytest.raises(UserError, match=r"cannot be read \(payload is not completed\); try again") as raised:
        content_of(ImageFile("s3://a/b.png", "b.png", 1, ""))
    assert not isinstance(raised.value, BadImageError)


def test_a_file_that_is_gone_is_a_bad_one(tmp_path):
    for url in (f"file://{tmp_path}/a.png", "memory://nowhere/a.png"):
        file = ImageFile(url, "a.png", 1, "")
        (error,) = read_headers([file], Images()).bad
        assert re.match(r"cannot be opened \(no such file", error.reason, re.IGNORECASE)
        with pytest.raises(BadImageError, match="cannot be opened"):
            content_of(file)


def test_a_damaged_member_of_an_archive_is_a_bad_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in ("a.png", "b.png"):
            packed.writestr(name, encoded(Image.fromarray(RGB)))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[300] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    first, second = list_source(Images(source=f"zip://*.png::{tmp_path}/a.zip"))
    with pytest.raises(BadImageError, match=r"a\.png is damaged \(Bad CRC-32"):
        content_of(first)
    assert content_of(second) == encoded(Image.fromarray(RGB))
