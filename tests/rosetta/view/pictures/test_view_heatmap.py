"""Heat lies where the map is high."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS

from rosetta.view.pictures.colours import gradient, heat, opacity
from rosetta.view.pictures.heatmap import enlarge, overlay, resample

GREY = np.full((40, 60, 3), 128, dtype=np.uint8)


@pytest.mark.parametrize("grid", [(1, 1), (4, 4), (7, 3), (3, 50), (130, 9), (96, 96)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_resample_is_what_torch_does(grid: tuple[int, int], dtype: type) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, *grid)).astype(dtype)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps.astype(np.float64)), size=(96, 96), mode="bilinear", align_corners=False
    ).numpy()
    got = resample(maps, 96)
    assert got.dtype == np.float32
    assert got.shape == (2, 3, 96, 96)
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


def test_resample_takes_one_map_and_leaves_it_alone() -> None:
    grid = np.arange(6.0).reshape(2, 3)
    before = grid.copy()
    assert resample(grid, 5).shape == (5, 5)
    np.testing.assert_array_equal(grid, before)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (4, 0)])
def test_resample_refuses_empty_maps(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot resample"):
        resample(np.zeros(shape), 8)


@given(st.integers(1, 150), st.integers(1, 150), st.sampled_from([32, 80, 96, 128]), SEEDS)
def test_a_peak_keeps_its_height_and_its_place(height: int, width: int, size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    maps = random.uniform(-1.0, 0.5, (height, width)).astype(np.float32)
    place = np.array([random.integers(height), random.integers(width)])
    maps[tuple(place)] = 1.0
    drawn = enlarge(maps, size)
    assert drawn.shape == (size, size)
    assert drawn.max() == pytest.approx(1.0, abs=1e-6)
    # The pixel that the centre of the position lies in; on an edge, the two beside it.
    centre = (place + 0.5) / (height, width) * size
    first, last = np.ceil(centre - 1 - 1e-6).astype(int), np.floor(centre + 1e-6).astype(int)
    assert drawn[first[0] : last[0] + 1, first[1] : last[1] + 1].max() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("grid", [(4, 8), (8, 4), (6, 6), (3, 11)])
def test_heat_is_where_the_map_is_high(grid: tuple[int, int]) -> None:
    gy, gx = grid
    y, x = 0, gx - 1
    activation = np.zeros(grid, dtype=np.float16)
    activation[y, x] = 1.0
    tile = overlay(GREY, activation, 0.0, 1.0).astype(int)
    changed = np.abs(tile - 128).sum(axis=-1)
    assert changed.shape == (96, 96)
    top, right = np.unravel_index(int(changed.argmax()), changed.shape)
    # Upper right, within the hot cell; nothing in the other corners.
    assert top < 96 / gy
    assert right >= 96 - 96 / gx
    np.testing.assert_array_equal(tile[-1, 0], 128)
    np.testing.assert_array_equal(tile[-1, -1], 128)
    np.testing.assert_array_equal(tile[0, 0], 128)


def test_low_shows_the_image_and_high_the_full_colour() -> None:
    image = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(image, np.full((5, 5), -3.0), -1.0, 2.0), image)
    full = overlay(image, np.full((5, 5), 7.0), -1.0, 2.0)
    assert (full == np.rint(heat(np.float32(1.0)) * 255)).all()


def test_more_activation_is_more_heat() -> None:
    ramp = np.linspace(0.0, 1.0, 12)
    covers = [
        float(np.abs(overlay(np.zeros_like(GREY), np.full((2, 2), value), 0.0, 1.0).astype(int)).sum())
        for value in ramp
    ]
    assert covers == sorted(covers)
    assert opacity(np.float32(0.0)) == 0.0
    assert opacity(np.float32(1.0)) == 1.0


@pytest.mark.parametrize(
    ("low", "high"), [(0.5, 0.5), (1.0, 0.0), (np.nan, 1.0), (0.0, np.nan), (-np.inf, np.inf), (0.0, np.inf)]
)
def test_a_unit_without_a_scale_leaves_the_image(low: float, high: float) -> None:
    with np.errstate(all="raise"):
        tile = overlay(GREY, np.full((4, 4), 0.5, dtype=np.float32), low, high)
    np.testing.assert_array_equal(tile, 128)


def test_nan_and_infinity_stay_where_they_are() -> None:
    activation = np.zeros((8, 8), dtype=np.float32)
    activation[0, 0] = np.nan
    np.testing.assert_array_equal(overlay(GREY, activation, 0.0, 1.0), 128)
    activation[7, 7] = -np.inf
    np.testing.assert_array_equal(overlay(GREY, activation, 0.0, 1.0)[:40], 128)
    np.testing.assert_array_equal(overlay(GREY, np.full((3, 3), np.nan), 0.0, 1.0), 128)


def test_one_scale_per_unit_makes_tiles_comparable() -> None:
    weak, strong = (overlay(GREY, np.full((2, 2), value), 0.0, 1.0) for value in (0.2, 0.9))
    assert np.abs(strong.astype(int) - 128).mean() > 2 * np.abs(weak.astype(int) - 128).mean()


def test_large_and_narrow_images_come_to_size() -> None:
    image = np.zeros((301, 17, 3), dtype=np.uint8)
    image[:150] = 255
    tile = overlay(image, np.zeros((1, 1)), 0.0, 1.0, size=32)
    assert tile.shape == (32, 32, 3)
    assert tile.dtype == np.uint8
    assert tile[:14].min() > 240
    assert tile[-14:].max() < 15


def test_the_legend_starts_clear_and_ends_full() -> None:
    stops = gradient(5)
    assert stops.startswith("linear-gradient(to right, rgb(")
    assert "/ 0.000) 0.00%" in stops
    assert stops.endswith("/ 1.000) 100.00%)")
