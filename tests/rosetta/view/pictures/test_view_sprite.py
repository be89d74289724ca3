"""One picture holds all tiles, each in its place."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rosetta.view.pictures.sprite import GAP, TILE, extent, webp


def _decode(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as picture:
        assert picture.format == "WEBP"
        return np.asarray(picture.convert("RGBA"))


def test_shape_and_places() -> None:
    tiles = np.zeros((2, 3, TILE, TILE, 3), dtype=np.uint8)
    for row in range(2):
        for column in range(3):
            tiles[row, column] = (60 + 60 * row, 40 + 80 * column, 128)
    picture = _decode(webp(tiles))
    assert picture.shape == (2 * TILE + GAP, 3 * TILE + 2 * GAP, 4)
    assert picture.shape[:2] == (extent(2), extent(3))
    for row in range(2):
        for column in range(3):
            y, x = row * (TILE + GAP), column * (TILE + GAP)
            tile = picture[y : y + TILE, x : x + TILE]
            assert (tile[..., 3] == 255).all()
            middle = tile[20:-20, 20:-20, :3].reshape(-1, 3).mean(axis=0)
            np.testing.assert_allclose(middle, tiles[row, column, 0, 0], atol=6)
    # The gap lets the page through.
    assert (picture[TILE : TILE + GAP, :, 3] == 0).all()
    assert (picture[:, TILE : TILE + GAP, 3] == 0).all()


def test_without_a_gap_and_of_another_size() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (1, 4, 10, 10, 3), dtype=np.uint8)
    assert _decode(webp(tiles, gap=0)).shape == (10, 40, 4)


def test_same_tiles_same_bytes() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), dtype=np.uint8)
    assert webp(tiles) == webp(tiles.copy())
    assert len(webp(tiles, quality=20)) < len(webp(tiles, quality=95))


@pytest.mark.parametrize("shape", [(0, 2, 8, 8, 3), (2, 0, 8, 8, 3), (1, 1, 8, 9, 3), (1, 1, 8, 8, 4), (8, 8, 3)])
def test_what_is_no_grid_of_tiles_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tiles are"):
        webp(np.zeros(shape, dtype=np.uint8))


def test_more_rows_than_a_picture_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 16383"):
        webp(np.zeros((200, 1, TILE, TILE, 3), dtype=np.uint8))
