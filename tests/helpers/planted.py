"""A zoo with a known truth: units that share a signal, a place, pixels or nothing, on grids that differ.

It lies under a root as if models had been dumped, and is judged by the real stages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
import torch
from plans import make, plan_over
from stores import begin, write_blocks

from rosetta.recipe import Measurement, Trust
from rosetta.units import Layer, Units
from rosetta.zoo.families.pixels import pixel_features
from storage.artifacts import catalogue, tables
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.halves import numbers_of
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.correlate.pair import CORRELATE
from tasks.correlate.setting import Setting
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import MATCH
from tasks.trust.pair import JUDGE_PAIRS
from tasks.trust.profile import PROFILE
from tasks.trust.table import JOIN_TRUST

GRIDS = {"g": ((8, 8), (16, 16)), "d": ((6, 6), (12, 9)), "e": ((7, 7), (14, 14))}
"""Of the layers of each model; the first is the anchor."""
SIGNALS = (0.3, 0.45, 0.6, 0.8)
SIDE = 64
"""Of the images, in pixels."""
FOUR = Trust(tests=("chance", "replicates", "lift", "partial"), leave_out=get_args(Measurement))
"""The tests that :func:`judge` makes: those that need no measurement for the sake of trust alone."""
_SETTING = Setting(threads=2)


@dataclass(frozen=True)
class Zoo:
    """What was planted."""

    root: Root
    kinds: Mapping[str, np.ndarray]
    """By model: (unit,) `signal 0.3`, `place`, `pixels`, `smooth` or `white`."""
    twins: Mapping[str, np.ndarray]
    """By model: (unit,) a number that units of one origin share; −1 where a unit shares nothing."""


def smooth(random: np.random.Generator, count: int, grid: tuple[int, int], waves: int = 3) -> np.ndarray:
    """(count, y, x) low-frequency noise of mean 0 and variance 1: few cosines a side, at the centres of a grid."""
    return sample(random.normal(size=(count, waves, waves)), grid)


def sample(coefficients: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(count, y, x) fields of cosines with the given coefficients (count, v, u), seen on a grid; variance about 1."""
    bases = []
    for size, waves in zip(grid, coefficients.shape[1:], strict=True):
        centres = (np.arange(size) + 0.5) / size
        bases.append(
            np.cos(np.pi * np.arange(waves)[:, None] * centres) * np.where(np.arange(waves) > 0, 2**0.5, 1)[:, None]
        )
    return np.einsum("nvu,vy,ux->nyx", coefficients, *bases) / np.sqrt(coefficients[0].size)


def pictures(random: np.random.Generator, images: int) -> np.ndarray:
    """(image, y, x, rgb) uint8: coloured clouds with some grain."""
    clouds = np.stack([smooth(random, images, (SIDE, SIDE), 6) for _ in range(3)], axis=-1)
    grey = smooth(random, images, (SIDE, SIDE), 10)[..., None]
    noisy = 128 + 30 * clouds + 30 * grey + 8 * random.normal(size=clouds.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_images(root: Root, pixels: np.ndarray, classes: np.ndarray | None = None) -> None:
    """`images.zarr` with these pixels and, where they are known, classes (image,)."""
    store = ImageStore.create(
        root,
        fingerprint("images", of="pixels"),
        images=len(pixels),
        size=pixels.shape[1:3],
        block=64,
        latents=None,
        classes=classes,
    )
    for block in range(len(store.written())):
        store.write(block, pixels[block * 64 : (block + 1) * 64])
    store.finish()


def write_maps(
    root: Root, model: str, maps: Mapping[str, np.ndarray], block: int = 32, first: np.ndarray | None = None
) -> None:
    """A finished activation store of maps (image, channel, y, x) by layer, as float32; with halves where given."""
    units = Units(tuple(Layer(name, values.shape[1], values.shape[2:]) for name, values in maps.items()))
    images = len(next(iter(maps.values())))
    made = fingerprint("activations", of=model, images="these")
    labels = {} if first is None else {"half": numbers_of(first)}
    store = begin(
        root, model, made, units, images=images, block=block, labels=labels, generator=False, weights_sha256=""
    )
    write_blocks(store, {name: values.astype(np.float32) for name, values in maps.items()})


def pixel_maps(pixels: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(image, feature, y, x) the pixel features as means over the cells of a grid, each of mean 0 and variance 1."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    values = torch.nn.functional.adaptive_avg_pool2d(pixel_features(images), grid).numpy()
    return (values - values.mean(axis=(0, 2, 3), keepdims=True)) / values.std(axis=(0, 2, 3), keepdims=True)


def plant(root: Root, seed: int, images: int = 200, shared: int = 3, alone: int = 12) -> Zoo:
    """Write the zoo.

    Parameters
    ----------
    shared
        Units of each layer for each signal, for a place and for pixels.
    alone
        Units of each layer of smooth noise, and as many of white noise.
    """
    random = np.random.default_rng(seed)
    pixels = pictures(random, images)
    write_images(root, pixels)
    kinds: dict[str, np.ndarray] = {}
    twins: dict[str, np.ndarray] = {}
    layers = len(next(iter(GRIDS.values())))
    signals = {(layer, rho): random.normal(size=(shared * images, 3, 3)) for layer in range(layers) for rho in SIGNALS}
    places = {layer: random.normal(size=(shared, 3, 3)) for layer in range(layers)}
    features = {layer: random.choice(20, size=shared, replace=False) for layer in range(layers)}
    for model, grids in GRIDS.items():
        maps, names, numbers = {}, [], []
        for layer, grid in enumerate(grids):
            noise = partial(_noise, random, images, grid)
            parts = []
            for index, rho in enumerate(SIGNALS):
                field = sample(signals[layer, rho], grid).reshape(shared, images, *grid)
                parts.append(rho**0.5 * field + (1 - rho) ** 0.5 * noise(shared))
                names += [f"signal {rho}"] * shared
                numbers += [1000 * layer + 100 * index + unit for unit in range(shared)]
            place = sample(places[layer], grid)[:, None]
            parts.append(0.6**0.5 * place / place.std(axis=(2, 3), keepdims=True) + 0.4**0.5 * noise(shared))
            names += ["place"] * shared
            numbers += [1000 * layer + 500 + unit for unit in range(shared)]
            plain = pixel_maps(pixels, grid)[:, features[layer]].swapaxes(0, 1)
            parts.append(0.6**0.5 * plain + 0.4**0.5 * noise(shared))
            names += ["pixels"] * shared
            numbers += [1000 * layer + 600 + unit for unit in range(shared)]
            parts += [noise(alone), random.normal(size=(alone, images, *grid))]
            names += ["smooth"] * alone + ["white"] * alone
            numbers += [-1] * (2 * alone)
            maps[f"layer{layer}"] = np.concatenate(parts).swapaxes(0, 1)
        write_maps(root, model, maps)
        kinds[model], twins[model] = np.array(names), np.array(numbers)
    write_controls(root, random, pixels)
    return Zoo(root, kinds, twins)


def _noise(random: np.random.Generator, images: int, grid: tuple[int, int], count: int) -> np.ndarray:
    return smooth(random, count * images, grid).reshape(count, images, *grid)


def write_controls(
    root: Root, random: np.random.Generator, pixels: np.ndarray, first: np.ndarray | None = None
) -> None:
    """The pixel features with their negations, and a network of random mixtures of them."""
    plain = pixel_maps(pixels, (16, 16))
    write_maps(root, "pixels", {"plain": np.concatenate([plain, -plain], axis=1)}, first=first)
    mixed = np.einsum("nfyx,fc->ncyx", plain, random.normal(size=(plain.shape[1], 30)))
    write_maps(root, "untrained", {"mixed": np.maximum(mixed, 0)}, first=first)


def judge(
    root: Root,
    models: Sequence[str] = ("g", "d", "e", "pixels", "untrained"),
    controls: Sequence[str] = ("pixels", "untrained"),
    neighbours: int = 5,
    knobs: Trust = FOUR,
    setting: Setting = _SETTING,
):
    """Correlate the first model with all, and judge: `tables/trust.parquet`, and what there is to note."""
    plan = plan_over(root, models, setting, controls, neighbours=neighbours, trust=knobs)
    make(plan, CORRELATE, MATCH, WRITE_FEATURES, PROFILE, JUDGE_PAIRS, JOIN_TRUST)
    return tables.read(root, catalogue.TRUST.path()), tables.attributes(root, catalogue.TRUST.path())["notes"]


def profiled(root: Root, models: Sequence[str], setting: Setting) -> None:
    """Pixel features and profiles, the first model with all as partners and the others with it."""
    make(plan_over(root, models, setting), WRITE_FEATURES, PROFILE)


def count_distinct(root: Root) -> int:
    """How many different images the features saw."""
    return FeatureStore.read(root).distinct
