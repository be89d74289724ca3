"""Pixels of any images of a source, one by one and together: the same, whatever the order and the kind of source."""

from concurrent.futures import ThreadPoolExecutor

import many_images
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from many_images import KINDS, PICTURES, bmp, put

from rosetta.recipe import Images
from storage.artifacts.seals import sha256
from storage.artifacts.source_images import LeftOut
from tasks.source import squares
from tasks.source.pixels import content_of, square
from tasks.source.recognition import in_order
from tasks.source.squares import read_square, read_squares


@pytest.fixture(scope="module", params=["files", *KINDS])
def images(request, tmp_path_factory) -> Images:
    folder = str(tmp_path_factory.mktemp("squares"))
    if request.param == "files":
        for picture in PICTURES:
            put(f"{folder}/{picture.name}", picture.content)
        return Images(source=folder, size=5)
    return Images(source=many_images.write(request.param, folder), size=5)


@settings(max_examples=10)
@given(st.data())
def test_squares_are_those_of_each_file_alone_in_any_order(images, data):
    files = in_order(images)
    at = data.draw(st.lists(st.integers(0, len(files) - 1), max_size=20))
    some = files.take(np.array(at, np.int64))
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(3) as pool:
        patch.setattr(squares, "_AT_ONCE", data.draw(st.integers(1, 8)))
        found = list(read_squares(some, images, pool))
    assert len(found) == len(at)
    for file, (record, one) in zip(some, found, strict=True):
        content = content_of(file)
        assert (record.source, record.stamp, record.sha256) == (file.source, file.stamp, sha256(content))
        expected = square(file, content, images)
        np.testing.assert_array_equal(one.pixels, expected.pixels)
        assert (one.crop, one.composited) == (expected.crop, expected.composited)


def test_a_bad_one_is_left_out_and_says_why(tmp_path):
    put(f"{tmp_path}/0.bmp", bmp(0))
    put(f"{tmp_path}/1.bmp", b"no image")
    put(f"{tmp_path}/2.bmp", bmp(2))
    images = Images(source=str(tmp_path), size=4, order="listed")
    files = in_order(images)
    (tmp_path / "2.bmp").unlink()
    with ThreadPoolExecutor(2) as pool:
        first, second, third = read_squares(files, images, pool)
    assert not isinstance(first, LeftOut)
    assert isinstance(second, LeftOut)
    assert second.reason == "is not an image that Pillow can read"
    assert second.record.sha256 == sha256(b"no image")
    assert isinstance(third, LeftOut)
    assert (third.reason, third.record.sha256) == ("cannot be opened (No such file or directory)", "")
    assert read_square(files[1], images) == second
