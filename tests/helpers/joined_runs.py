"""Finished runs of a generator whose correlations and tables are given, for joins and comparisons: none was mined."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from described import described
from stores import begin, write_blocks

from rosetta.mining.buddies import nearest_neighbours
from rosetta.mining.factors import PANEL
from rosetta.mining.plan import ranges
from rosetta.units import Layer, Units
from storage.artifacts import tables
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.neighbours import NeighbourStore
from storage.filesystem.root import Root

IMAGES, SIDE = 4, 8
KEPT = 8
"""Neighbours of a unit where only these are kept."""


@dataclass(frozen=True)
class Seen:
    """A discriminative model that looked at a generator's images."""

    units: Units
    pearson: np.ndarray
    """(generator unit, unit)"""
    weights: str
    control: bool = False


def units_of(*channels: int) -> Units:
    """Layers of so many channels."""
    return Units(tuple(Layer(f"layer.{number}", count, (2, 2)) for number, count in enumerate(channels)))


def write(
    place: Path,
    generator: Units,
    own: np.ndarray,
    models: Mapping[str, Seen],
    *,
    weights: str = "g",
    name: str = "g",
    latents: int = 0,
    keep: str = "matrix",
    neighbours: int = 2,
    frames: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> Path:
    """A run under a folder.

    Parameters
    ----------
    own
        (generator unit, generator unit) correlations.
    weights
        Stands for the digest of the generator's weights.
    latents
        Seed of the images.
    keep
        What is kept of correlations.
    neighbours
        K.
    frames
        By name: rows of its tables, which have none otherwise.
    """
    root = Root(str(place))
    of_models = "".join(
        f'[[models]]\nname = "{model}"\nmodel = "python:tests:{model}"\ncontrol = {str(seen.control).lower()}\n'
        for model, seen in models.items()
    )
    recipe = (
        f'name = "{place.name}"\nroot = "elsewhere"\n[images]\nseed = {latents}\n'
        f'[matching]\nneighbours = {neighbours}\n[[models]]\nname = "{name}"\nmodel = "python:tests:g"\n'
    )
    root.write_bytes("recipe.toml", (recipe + of_models).encode())
    random = np.random.default_rng(latents)
    images = ImageStore.create(
        root, fingerprint("images", seed=latents), images=IMAGES, size=(SIDE, SIDE), block=IMAGES,
        latents=random.normal(size=(IMAGES, 3)).astype(np.float32),
    )  # fmt: skip
    images.write(0, random.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8))
    images.finish()
    _activations(root, name, generator, weights, generator=True, control=False)
    for model, seen in models.items():
        _activations(root, model, seen.units, seen.weights, generator=False, control=seen.control)
        _pair(root, name, model, (generator, seen.units), seen.pearson, keep)
    _pair(root, name, name, (generator, generator), own, keep)
    count = len(generator)
    of_units = pd.DataFrame(
        {"model": name, "layer": generator.layer_names(), "channel": generator.channels(), "unit": np.arange(count),
         "mean": 0.0, "maximum": 3.0}
    )  # fmt: skip
    for table in ("units", "buddies", "trust", "rosetta", "clusters"):
        path = f"tables/{table}.parquet"
        frame = of_units if table == "units" else frames.get(table, pd.DataFrame())
        tables.write(root, path, described(path, frame), fingerprint(table, rows=sorted(frame.to_csv().splitlines())))
    return place


def _activations(root: Root, model: str, units: Units, weights: str, *, generator: bool, control: bool) -> None:
    store = begin(
        root, model, fingerprint("activations", of=model), units, images=IMAGES, block=IMAGES,
        weights_sha256=weights.encode().hex().ljust(64, "0"), generator=generator, control=control, model=model,
    )  # fmt: skip
    random = np.random.default_rng(len(model))
    maps = {
        layer.name: random.normal(size=(IMAGES, layer.channels, *layer.grid)).astype(np.float32)
        for layer in units.layers
    }
    write_blocks(store, maps)


def _pair(root: Root, a: str, b: str, sides: tuple[Units, Units], pearson: np.ndarray, keep: str) -> None:
    made = fingerprint("pair", a=a, b=b, values=float(np.nansum(pearson.astype(np.float64))))
    kind = CorrelationStore if keep == "matrix" else NeighbourStore
    store = kind.create(root, a, b, made, *sides, KEPT)
    for row, rows in enumerate(ranges(len(sides[0]), PANEL)):
        for column, columns in enumerate(ranges(len(sides[1]), PANEL)):
            part = np.ascontiguousarray(pearson[rows, columns], np.float32)
            if isinstance(store, CorrelationStore):
                store.write((row, column), part)
                continue
            of_a = nearest_neighbours(part, KEPT, first_row=rows.start, first_column=columns.start, same=a == b)
            of_b = nearest_neighbours(
                np.ascontiguousarray(part.T), KEPT, first_row=columns.start, first_column=rows.start, same=a == b
            )
            store.write((row, column), of_a, of_b)
    store.finish()


def seen_factors(
    random: np.random.Generator, generator: np.ndarray, model: np.ndarray, noise: float = 0.04
) -> np.ndarray:
    """(generator unit, unit) correlations of units that follow one factor each, with noise; −1 follows none.

    Parameters
    ----------
    generator, model
        (unit,) the factor that each unit follows.
    """
    same = (generator[:, None] == model[None]) & (generator[:, None] >= 0)
    strength = random.uniform(0.5, 0.9, same.shape)
    return (same * strength + random.normal(scale=noise, size=same.shape)).clip(-1, 1).astype(np.float32)
