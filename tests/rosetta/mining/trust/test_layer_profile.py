"""A layer's profile against its definition in float64, however its maps come."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis
from torch.utils._python_dispatch import TorchDispatchMode

from rosetta.mining.grid import upsampling
from rosetta.mining.halves import Mask, drawn_halves
from rosetta.mining.room import Room
from rosetta.mining.trust import layer_sums
from rosetta.mining.trust.layer_sums import LayerSums
from rosetta.mining.trust.pixels import FeatureProducts, FeatureSpan, FeatureSums, resampling
from rosetta.mining.trust.profile import LayerProfile, shape_images
from rosetta.mining.trust.selectivity import half_share
from rosetta.mining.trust.standardised import dead_in_halves, layer_profile
from rosetta.mining.trust.thumbs import thumb_grid, thumbs
from rosetta.units import Grid, Layer

FEATURES, SIDE = 3, 8


def features_of(images: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(1, 1, (images, FEATURES, SIDE, SIDE)).astype(np.float32))


def first_of(images: int) -> Mask:
    """(image,) the first half."""
    return drawn_halves(map(str, range(images)), 3, None)


def summed(maps: np.ndarray, features: torch.Tensor, commons: tuple[Grid, ...], chunk: int = 16, width: int = 0):
    """Sums of maps (image, channel, y, x) that come in chunks; in columns of `width` channels where it is given."""
    images, channels, *grid = maps.shape
    layer = Layer("l", channels, (grid[0], grid[1]))
    sums = LayerSums(layer, first_of(images), commons, FEATURES, width=width or None)
    products, span, room = (
        FeatureProducts(layer.grid, SIDE, commons, torch.device("cpu")),
        FeatureSpan.of(features),
        Room(),
    )
    for start in range(0, images, chunk):
        part = torch.from_numpy(maps[start : start + chunk])
        if width:
            columns = torch.zeros(-(-channels // width), len(part), width, *grid)
            for column in range(len(columns)):
                held = part[:, column * width : (column + 1) * width]
                columns[column, :, : held.shape[1]] = held
            part = columns
        sums.add(part, products, span.at(start), room)
    return sums


def moments_of(features: torch.Tensor, commons: tuple[Grid, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    sums = FeatureSums(SIDE, FEATURES, commons)
    for block in FeatureSpan.of(features).blocks:
        sums.add(block)
    return [(one.mean, np.sqrt(np.diagonal(one.covariance))) for one in sums.moments().values()]


def statistics(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flat = maps.astype(np.float64).transpose(1, 0, 2, 3).reshape(maps.shape[1], -1)
    single = flat.min(axis=1) == flat.max(axis=1)
    return np.where(single, flat[:, 0], flat.mean(axis=1)), np.where(single, 0.0, flat.std(axis=1))


def profiled(maps: np.ndarray, features: torch.Tensor, commons: tuple[Grid, ...], **how: int) -> LayerProfile:
    return layer_profile(summed(maps, features, commons, **how), *statistics(maps), moments_of(features, commons))


def on(maps: np.ndarray, common: Grid) -> np.ndarray:
    down, across = (upsampling(native, size) for native, size in zip(maps.shape[2:], common, strict=True))
    return np.asarray(down @ maps @ across.T)


def moments_in(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return field.mean((0, 2, 3)), (field**2).mean((0, 2, 3))


def expected(maps: np.ndarray, features: torch.Tensor, commons: tuple[Grid, ...]) -> LayerProfile:
    """The definition, in float64."""
    images, channels, *grid = maps.shape
    mean, std = statistics(maps)
    dead = std == 0
    z = (maps.astype(np.float64) - mean[:, None, None]) / np.where(dead, np.inf, std)[:, None, None]
    flat = z.transpose(1, 0, 2, 3).reshape(channels, -1)
    small, tiny = thumb_grid((grid[0], grid[1])), thumb_grid((grid[0], grid[1]), 4)

    def cells(grid_of_cells: Grid) -> np.ndarray:
        """(channel, image, position)"""
        down, across = (upsampling(to, native) for to, native in zip(grid_of_cells, grid, strict=True))
        share = grid_of_cells[0] * grid_of_cells[1] / (grid[0] * grid[1])
        return (down.T @ z @ across * share).transpose(1, 0, 2, 3).reshape(channels, images, -1)

    thumb = cells(small)
    centred = thumb - thumb.mean(axis=1, keepdims=True)
    covariance = np.einsum("cnp,cnq->cpq", centred, centred) / images
    upper = np.triu_indices(thumb.shape[2])
    half = first_of(images)
    with np.errstate(all="ignore"):
        fields = [on(z, common) for common in commons]
        halves = [
            np.stack([moment for part in (half, ~half) for moment in moments_in(field[part])], axis=1)
            for field in fields
        ]
        pixels = []
        for common, field in zip(commons, fields, strict=True):
            seen = [np.array(resampling(SIDE, size)) for size in common]
            shown = seen[0] @ features.numpy().astype(np.float64) @ seen[1].T
            both = [part.transpose(1, 0, 2, 3).reshape(part.shape[1], -1) for part in (field, shown)]
            pixels.append(np.corrcoef(*both)[:channels, channels:])
        by_kurtosis = np.where(dead, np.nan, kurtosis(flat, axis=1, fisher=False))
    tiny_of_thumb = np.kron(*(upsampling(a, b) for a, b in zip(tiny, small, strict=True)))
    shape = thumb[:, shape_images(images)] @ (tiny_of_thumb / (tiny_of_thumb.sum() / tiny_of_thumb.shape[1]))
    of_fields = [(field.mean((0, 2, 3)), np.where(dead, np.nan, field.std((0, 2, 3)))) for field in fields]
    mean_on, std_on = np.array(of_fields).reshape(-1, 2, channels).transpose(1, 2, 0)
    return LayerProfile(
        by_kurtosis,
        half_share(np.maximum(maps, 0).sum(axis=(2, 3)).T.astype(np.float32)),
        z.mean(axis=0),
        covariance[:, upper[0], upper[1]],
        shape,
        mean_on,
        std_on,
        np.stack(halves, axis=1) if fields else np.zeros((channels, 0, 4)),
        np.stack(pixels, axis=1) if fields else np.zeros((channels, 0, FEATURES)),
    )  # fmt: skip


BOUNDS = {"kurtosis": 2e-5, "pixels": 5e-5, "covariance": 1e-3, "shape": 1e-3}


def assert_close(found: LayerProfile, true: LayerProfile) -> None:
    for name, values in vars(found).items():
        of_truth = np.clip(getattr(true, name), -65504, 65504)
        largest = np.nanmax(np.abs(of_truth), initial=1.0, axis=tuple(range(1, of_truth.ndim)))
        bound = BOUNDS.get(name, 1e-5)
        np.testing.assert_array_equal(np.isnan(values), np.isnan(of_truth), err_msg=name)
        error = np.nan_to_num(np.abs(values.astype(np.float64) - of_truth))
        relative = error / largest.reshape(-1, *[1] * (error.ndim - 1))
        assert relative.max(initial=0) < bound, (name, relative.max(), np.unravel_index(relative.argmax(), error.shape))


GRIDS = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(deadline=None, max_examples=30)
@given(GRIDS, st.lists(GRIDS, max_size=3), st.integers(2, 70), st.sampled_from([1, 4, 16, 64]), st.integers(0, 9))
def test_a_profile_is_what_it_says(grid, partners, images, chunk, seed):
    random = np.random.default_rng(seed)
    commons = tuple(dict.fromkeys(tuple(map(max, grid, partner)) for partner in partners))
    maps = (random.gamma(0.5, size=(images, 5, *grid)) - 0.2).astype(np.float32)
    maps[:, 3] = 0.75
    features = features_of(images, seed)
    with np.errstate(invalid="ignore"):
        assert_close(profiled(maps, features, commons, chunk=chunk), expected(maps, features, commons))


def hard(kind: str, images: int = 64) -> np.ndarray:
    random = np.random.default_rng(5)
    maps = random.normal(size=(images, 4, 10, 6))
    scale = np.array([1.0, 2.0, 0.5, 3.0])[:, None, None]
    match kind:
        case "large offsets":
            maps = maps * scale + 1000
        case "tiny":
            maps *= 1e-13 * scale
        case "huge":
            maps *= 1e13 * scale
        case "scales apart":
            maps *= np.array([1e-6, 1.0, 1e6, 1e3])[:, None, None]
        case "silent at first":
            maps[: images // 2, 1:3] = 0.0
            maps[: images // 2, 2] = -4.0
        case "nearly silent at first":
            maps[: images // 2, 1:] *= 1e-12
        case "one burst":
            maps = np.where(random.random((images, 4, 1, 1)) < 0.03, 40 * np.abs(maps), 0.0)
        case "all silent at first":
            maps[: images // 2] = 2.0
        case "drifts":
            maps += np.linspace(0, 8, images)[:, None, None, None]
    return maps.astype(np.float32)


@pytest.mark.parametrize(
    "kind",
    [
        "large offsets",
        "tiny",
        "huge",
        "scales apart",
        "silent at first",
        "nearly silent at first",
        "one burst",
        "all silent at first",
        "drifts",
    ],
)
def test_a_profile_holds_where_the_first_images_say_little(kind):
    maps, commons = hard(kind), ((10, 6), (10, 14), (16, 8))
    features = features_of(len(maps))
    assert_close(profiled(maps, features, commons, chunk=8), expected(maps, features, commons))


def test_maps_in_columns_give_the_same_bytes():
    maps, commons = hard("one burst"), ((10, 6), (10, 14))
    maps = np.concatenate([maps, maps[:, ::-1] * 2, maps[:, :3]], axis=1)
    features = features_of(len(maps))
    columns = profiled(maps, features, commons, width=4)
    layer = summed(maps, features, commons, width=4)
    whole = LayerSums(layer.layer, first_of(len(maps)), commons, FEATURES, width=4)
    products = FeatureProducts(layer.layer.grid, SIDE, commons, torch.device("cpu"))
    for start in range(0, len(maps), 16):
        part = torch.from_numpy(maps[start : start + 16])
        whole.add(part, products, FeatureSpan.of(features).at(start), Room())
    again = layer_profile(whole, *statistics(maps), moments_of(features, commons))
    for name, values in vars(columns).items():
        np.testing.assert_array_equal(values, getattr(again, name), err_msg=name)


def test_long_sums_stay_exact(monkeypatch):
    maps, commons = hard("drifts", 96), ((10, 6), (12, 12))
    features = features_of(len(maps))
    monkeypatch.setattr(layer_sums, "TERMS", 20)
    assert_close(profiled(maps, features, commons, chunk=8), expected(maps, features, commons))
    small = maps[:, :, :3, :3].copy()
    assert_close(profiled(small, features, ((8, 8),), chunk=8), expected(small, features, ((8, 8),)))


def test_units_that_never_vary_in_a_half_are_known_or_doubted():
    maps = np.random.default_rng(0).normal(size=(64, 4, 9, 9)).astype(np.float32)
    half = first_of(64)
    maps[:, 0] = 3.0
    maps[half, 1] = 5.0
    maps[~half, 2] = 0.25
    sums = summed(maps, features_of(64), ())
    dead, doubtful = dead_in_halves(sums, statistics(maps)[1])
    truth = np.array([[True, True], [True, False], [False, True], [False, False]])
    assert not (dead & ~truth).any()
    np.testing.assert_array_equal(dead | doubtful, truth)


def test_thumbs_of_a_sum_are_sums_of_thumbs():
    maps = torch.from_numpy(hard("drifts"))[:, :, :9].transpose(0, 1).contiguous()
    whole = thumbs(maps.sum(dim=1, keepdim=True), (8, 6))
    torch.testing.assert_close(whole[:, 0], thumbs(maps, (8, 6)).sum(dim=1), rtol=1e-4, atol=1e-3)


class Crossings(TorchDispatchMode):
    """Notes each operation that would bring a value from a device to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        moved = (
            name == "_to_copy" and str((kwargs or {}).get("device", "meta")) == "cpu" and args[0].device.type != "cpu"
        )
        if name in ("_local_scalar_dense", "nonzero", "equal", "is_nonzero") or moved:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_host():
    commons = ((10, 6), (10, 14))
    for grid, finer in (((10, 6), commons), ((3, 3), ((8, 8),))):
        sums = LayerSums(Layer("l", 5, grid), first_of(64), finer, FEATURES, device="meta")
        products = FeatureProducts(grid, SIDE, finer, torch.device("meta"))
        span = FeatureSpan.of(features_of(64).to("meta"))
        with Crossings() as crossings:
            for start in range(0, 64, 16):
                sums.add(torch.zeros(16, 5, *grid), products, span.at(start), Room())
        assert sums.done == 64
        assert crossings.found == []
