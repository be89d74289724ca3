"""What the atlas holds: text that cannot get out, maps the right way up, rankings, neighbours, samples, sheets."""

import json
from io import BytesIO

import numpy as np
import pytest
import torch
from atlas_files import decoded, peaks_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from strategies import SEEDS, grids

from rosetta.mining.buddies import Neighbours, nearest_neighbours
from rosetta.view.atlas.maps import encode, quantise
from rosetta.view.atlas.near import concept_neighbours, listed, mutual
from rosetta.view.atlas.rankings import choose_images, percentiles, strengths, strongest
from rosetta.view.atlas.scatter import draw, values_at
from rosetta.view.atlas.script import columns, json_text, number, numbers, put
from rosetta.view.atlas.sheets import card, sheet, thumbnail
from rosetta.view.pictures.pooling import shrink

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--",
    "]]>",
    "&lt;",
    "\"'\\",
    "\u2028\u2029",
    "🦩",
    "\ud800",
    "x" * 300,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_gets_out_of_its_script(name: str) -> None:
    for text in (json_text({name: [name]}), put("concept/3", name).decode("ascii")):
        assert text.isascii()
        assert not set("<>&") & set(text)
        assert "\n" not in text.rstrip("\n")
    assert json.loads(json_text({name: [name]})) == {name: [name]}
    assert put("a/1", name).startswith(b'atlas.put("a/1",')


@given(st.text())
def test_any_text_comes_back(name: str) -> None:
    text = json_text(name)
    assert json.loads(text) == name
    assert text.isascii()
    assert not set("<>&") & set(text)


def test_what_is_not_finite_is_nothing() -> None:
    assert [number(value) for value in (np.nan, np.inf, -np.inf)] == [None] * 3
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text([float("nan")])


def test_numbers_keep_their_shape_and_few_digits() -> None:
    values = np.array([[1.23456, np.nan], [-9.87654e-12, 123456.0]])
    assert numbers(values) == [[1.235, None], [-9.877e-12, 123500.0]]
    assert numbers(np.arange(6).reshape(1, 2, 3)) == [[[0, 1, 2], [3, 4, 5]]]
    assert numbers(np.array([True, False])) == [True, False]
    assert json_text(numbers(np.float32([0.1, 0.3221]))) == "[0.1,0.3221]"
    assert numbers(np.empty((0, 2))) == []


@given(arrays(np.float64, (5,), elements=st.floats()), st.sampled_from([2, 4, 7]))
def test_numbers_of_an_array_are_each_what_number_says(values: np.ndarray, digits: int) -> None:
    found = numbers(values, digits)
    for value, one in zip(values.tolist(), found, strict=True):
        expected = number(value, digits)
        assert one == (None if expected is None else pytest.approx(expected, rel=1.01 * 10.0 ** (1 - digits), abs=0))
        assert one is None or float(f"{one:.{digits}g}") == one, "no more digits than asked for"


def test_columns_of_a_table() -> None:
    value = columns(
        {
            "model": np.array(["a", "</script>"], dtype=object),
            "pearson": np.float32([0.123456789, np.nan]),
            "rank": np.int32([3, -1]),
            "trusted": np.array([True, False]),
        }
    )
    assert value == {
        "model": ["a", "</script>"],
        "pearson": [0.1234568, None],
        "rank": [3, -1],
        "trusted": [True, False],
    }


@given(grids(70), st.integers(1, 40), SEEDS)
def test_a_small_map_has_the_highest_value_of_each_part(grid: tuple[int, int], most: int, seed: int) -> None:
    maps = np.random.default_rng(seed).normal(size=(2, *grid)).astype(np.float16)
    small = shrink(maps, most)
    assert small.dtype == np.float32
    assert small.shape[1:] == tuple(np.minimum(grid, most))
    for one, before in zip(small, maps, strict=True):
        np.testing.assert_array_equal(one, peaks_of(before, most))


@given(grids(70), st.integers(1, 40), SEEDS, st.floats(0.05, 1.0))
def test_what_is_drawn_at_the_peak_is_what_is_written_beside_it(
    grid: tuple[int, int], most: int, seed: int, height: float
) -> None:
    """The label is the stored peak on the unit's scale; the colour, of whatever map, is within half a step of it."""
    random = np.random.default_rng(seed)
    maps = np.minimum(random.normal(scale=0.3, size=(1, *grid)), 0.99 * height).astype(np.float32)
    place = tuple(int(random.integers(size)) for size in grid)
    maps[0, *place] = height
    low, high = np.array([-0.5]), np.array([1.0])
    label = strengths(maps.max(axis=(1, 2))[:, None], low, high)[0, 0]
    levels = quantise(shrink(maps, most), low, high)[0]
    assert abs(float(levels.max()) - 255 * label) <= 0.51
    strongest_cell = np.argwhere(levels == levels.max()) / levels.shape
    centre = (np.array(place) + 0.5) / grid
    inside = (strongest_cell <= centre + 1e-9) & (centre < strongest_cell + 1 / np.array(levels.shape) + 1e-9)
    assert inside.all(axis=1).any()


def test_maps_keep_their_place_and_orientation() -> None:
    maps = np.zeros((1, 40, 64), dtype=np.float32)
    maps[0, 1, 60] = 1.0  # at the top right
    small = shrink(maps, 16)[0]
    assert np.unravel_index(small.argmax(), small.shape) == (0, 15)
    levels = decoded(encode(quantise(small[None], np.zeros(1), small.max(keepdims=True)[0])[0].tobytes()), [16, 16])
    assert levels[0, 15] == 255
    assert (levels > 0).sum() == 1


def test_levels_run_from_low_to_high() -> None:
    maps = np.float32([[[-5.0, 1.0, 2.0, 3.0, 99.0]], [[7.0] * 5], [[np.nan, np.inf, -np.inf, 0.0, 0.5]]])
    levels = quantise(maps, np.array([1.0, 7.0, 0.0]), np.array([3.0, 7.0, 1.0]))
    assert levels.tolist() == [[[0, 0, 128, 255, 255]], [[0] * 5], [[0, 255, 0, 0, 128]]]
    assert quantise(maps[:1], np.array([np.nan]), np.array([np.nan])).max() == 0


def test_the_strongest_images_come_first_and_ties_in_order() -> None:
    peaks = np.float32([[1, 3, 2, 3, 0], [5, 5, 5, 5, 5]])
    assert strongest(peaks, 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    assert strongest(peaks).shape == (2, 5)


@given(arrays(np.float32, (7, 3), elements=st.sampled_from([0.0, 0.5, 1.0, -2.0])))
def test_percentiles_are_the_share_of_images_below(peaks: np.ndarray) -> None:
    below = (peaks[None] < peaks[:, None]).mean(axis=1) + (peaks[None] == peaks[:, None]).mean(axis=1) / 2
    np.testing.assert_allclose(percentiles(peaks), below, atol=1e-6)


def test_strength_is_a_share_of_the_scale() -> None:
    found = strengths(np.float32([[1, 4, 9], [3, 4, -9]]), np.array([1.0, 4.0, 0.0]), np.array([5.0, 4.0, 9.0]))
    assert found.tolist() == [[0.0, 0.0, 1.0], [0.5, 0.0, 0.0]]


def test_images_with_a_file_are_all_or_those_that_concepts_show_first() -> None:
    rankings = np.int32([[9, 8, 7], [9, 3, 2]])
    assert choose_images(rankings, 4, 4).tolist() == [0, 1, 2, 3]
    assert choose_images(rankings, 10, 3).tolist() == [3, 8, 9]
    assert choose_images(rankings, 10, 7).tolist() == [0, 1, 2, 3, 7, 8, 9]


@given(SEEDS, st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.booleans())
def test_mutual_neighbours(seed: int, rows: int, units: int, k: int, same: bool) -> None:
    random = np.random.default_rng(seed)
    pearson = random.choice(np.float32([0.1, 0.2, 0.3, np.nan]), size=(rows, rows if same else units))
    of_a = nearest_neighbours(pearson, k, same=same)
    of_b = of_a if same else nearest_neighbours(np.ascontiguousarray(pearson.T), k)
    found = mutual(of_a, of_b)
    for a, row in enumerate(of_a.unit.tolist()):
        expected = [[b, number(float(pearson[a, b])), int(a in of_b.unit[b].tolist())] for b in row if b >= 0]
        assert listed(of_a, found, slice(a, a + 1)) == [expected]


def test_concepts_are_near_where_their_best_units_are() -> None:
    found = Neighbours(np.int32([[5, 2, 0], [3, 5, -1]]), np.float32([[0.9, 0.5, 0.25], [0.8, 0.4, np.nan]]))
    concepts = np.full(6, -1)
    concepts[[0, 3, 5]] = [0, 1, 2]
    assert concept_neighbours(found, concepts) == [[[2, 0.9], [0, 0.25]], [[1, 0.8], [2, 0.4]]]
    assert concept_neighbours(found, concepts, 1) == [[[2, 0.9]], [[1, 0.8]]]


def test_samples_are_values_on_the_common_grid() -> None:
    a, b = np.array([(4, 4), (5, 12), (1, 1)]), np.array([(16, 16), (7, 3), (2, 9)])
    points, again = draw(3, 9, a, b, 200), draw(3, 9, a, b, 200)
    assert (points.image == again.image).all()
    assert (points.x == again.x).all()
    assert set(points.image.ravel().tolist()) == set(range(9))
    assert points.grid.tolist() == [[16, 16], [7, 12], [2, 9]]
    random = np.random.default_rng(0)
    for pair, grid in enumerate(points.grid.tolist()):
        for axis, place in enumerate((points.y[pair], points.x[pair])):
            assert set(place.tolist()) == set(range(grid[axis]))
        for native in (a[pair], b[pair]):
            maps = random.normal(size=(9, 2, *native)).astype(np.float16)
            up = torch.nn.functional.interpolate(
                torch.from_numpy(maps.astype(np.float64)), size=grid, mode="bilinear", align_corners=False
            ).numpy()
            channel = random.integers(0, 2, 200)
            place = points.image[pair], channel, points.y[pair], points.x[pair]
            found = values_at(maps, *place, np.tile(points.grid[pair], (200, 1)))
            np.testing.assert_allclose(found, up[place], atol=1e-9)


def test_samples_come_from_few_images_spread_over_the_run() -> None:
    images = np.unique(draw(0, 10_000, np.array([(8, 8)]), np.array([(8, 8)]), 5000).image)
    assert len(images) == 64
    assert images[[0, -1]].tolist() == [0, 9999]
    assert np.diff(images).max() < 200


def test_pictures_lie_row_by_row_in_a_sheet() -> None:
    pictures = [np.full((128, 128, 3), 4 * place, dtype=np.uint8) for place in range(20)]
    with Image.open(BytesIO(sheet(pictures))) as opened:
        found = np.asarray(opened.convert("RGB"), dtype=float)
    assert found.shape == (1024, 1024, 3)
    for place in range(20):
        y, x = 128 * (place // 8) + 64, 128 * (place % 8) + 64
        assert found[y, x] == pytest.approx(4 * place, abs=4)
    assert found[1000].max() < 8
    for wrong in ([], pictures * 4):
        with pytest.raises(ValueError, match="1 to 64 pictures"):
            sheet(wrong)


def test_a_card_is_hot_where_the_map_is_high() -> None:
    thumb = thumbnail(np.full((40, 60, 3), 60, dtype=np.uint8))
    levels = np.zeros((4, 8), dtype=np.uint8)
    levels[0, 7] = 255
    found = card(thumb, levels).astype(int)
    assert found.shape == (128, 128, 3)
    assert found[10, 122].sum() > 500
    assert (found[64:, :64] == 60).all()
