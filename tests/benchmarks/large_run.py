"""A finished run of 50,000 units, 3,000 concepts and 20 models that no one mined: what a page must bear."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from synthetic import write

from rosetta.mining.buddies import Neighbours
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Matching, Recipe
from rosetta.units import Layer, Units
from storage.artifacts import tables
from storage.artifacts.blocks import block_count, block_size, block_slice
from storage.artifacts.catalogue import columns_at
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.neighbours import NeighbourStore
from storage.filesystem.root import Root

IMAGES, SIDE, K = 128, 128, 5
CONCEPTS, NEURONS = 3000, 3600
LAYERS = {
    "anchor": [Layer(f"synthesis.b{layer}.conv", 256, (14, 14)) for layer in range(16)],
    **{f"model-{n:02}": [Layer(f"blocks.{layer}.mlp", 302, (14, 14)) for layer in range(8)] for n in range(18)},
    "untrained": [Layer(f"blocks.{layer}.mlp", 302, (14, 14)) for layer in range(8)],
}
UNITS = {model: Units(tuple(layers)) for model, layers in LAYERS.items()}
RECIPE = Recipe(
    name="large",
    root="elsewhere",
    models=tuple(
        ModelSpec(name=name, model=f"python:large:{name}", weights="random:0", control=name == "untrained")
        for name in LAYERS
    ),
    matching=Matching(neighbours=K),
)


def write_run(root: Root) -> None:
    """Images, activations, neighbours of every pair and all tables; random numbers, but none contradicts another."""
    random = np.random.default_rng(0)
    _write_images(root, random)
    for seed, (model, layers) in enumerate(LAYERS.items()):
        write(root, model, layers, IMAGES, seed)
    near = {model: _write_pair(root, model, random) for model in LAYERS}
    for table, frame in _tables(near, random).items():
        path = f"tables/{table}.parquet"
        names = [column.name for column in columns_at(path)]
        others = {name: random.uniform(-0.2, 0.6, len(frame)) for name in names if name not in frame}
        described = frame.assign(**others)[names]
        tables.write(root, path, described, fingerprint(table, of="large"), tables.categories_of(UNITS))


def _write_images(root: Root, random: np.random.Generator) -> None:
    block = block_size(3 * SIDE * SIDE, 1 << 20, IMAGES)
    store = ImageStore.create(
        root, fingerprint("images", of="large"), images=IMAGES, size=(SIDE, SIDE), block=block, latents=None
    )
    for number in range(block_count(IMAGES, block)):
        span = block_slice(number, block, IMAGES)
        coarse = random.integers(0, 256, (span.stop - span.start, 8, 8, 3), dtype=np.uint8)
        store.write(number, coarse.repeat(SIDE // 8, axis=1).repeat(SIDE // 8, axis=2))
    store.finish()


def _write_pair(root: Root, model: str, random: np.random.Generator) -> Neighbours:
    """The anchor's neighbours in a model; theirs point back at them where they can."""
    a, b = UNITS["anchor"], UNITS[model]
    store = NeighbourStore.create(root, "anchor", model, fingerprint("pair", of=model), a, b, K)
    of_a, of_b = _neighbours(len(a), len(b), random), _neighbours(len(b), len(a), random)
    of_b.unit[of_a.unit[:, 0], random.integers(0, K, len(a))] = np.arange(len(a), dtype=np.int32)
    for row in range(store.written().shape[0]):
        for column in range(store.written().shape[1]):
            nothing = [
                Neighbours(np.full((n, K), -1, np.int32), np.full((n, K), np.nan, np.float32))
                for n in _panel(row, column, len(a), len(b))
            ]
            store.write((row, column), nothing[0], nothing[1])
    store.finish()
    for side, found in (("ab", of_a), ("ba", of_b)):
        store.group[f"neighbours_{side}"][:] = found.unit
        store.group[f"pearson_{side}"][:] = found.pearson
    return of_a


def _panel(row: int, column: int, a: int, b: int) -> tuple[int, int]:
    from rosetta.mining.factors import PANEL
    from storage.artifacts.blocks import block_slice

    spans = block_slice(row, PANEL, a), block_slice(column, PANEL, b)
    return spans[0].stop - spans[0].start, spans[1].stop - spans[1].start


def _neighbours(units: int, others: int, random: np.random.Generator) -> Neighbours:
    pearson = np.sort(random.uniform(0.05, 0.9, (units, K)).astype(np.float32), axis=1)[:, ::-1]
    first = random.integers(0, others, units, dtype=np.int32)
    return Neighbours(((first[:, None] + np.arange(K, dtype=np.int32)) % others).astype(np.int32), pearson.copy())


def _labels(model: str, units: npt.NDArray[np.integer], side: str = "") -> dict[str, npt.NDArray[np.generic]]:
    held = UNITS[model]
    return {
        f"model{side}": np.full(len(units), model),
        f"unit{side}": units.astype(np.int32),
        f"layer{side}": np.asarray(held.layer_names())[units],
        f"channel{side}": np.asarray(held.channels())[units].astype(np.int32),
    }


def _tables(near: dict[str, Neighbours], random: np.random.Generator) -> dict[str, pd.DataFrame]:
    units = pd.concat([_units(model, random) for model in LAYERS], ignore_index=True)
    buddies = pd.concat([_buddies(model, found, random) for model, found in near.items()], ignore_index=True)
    trust = buddies.drop(columns=["rank_ab", "rank_ba"]).assign(**_judged(len(buddies), random))
    chosen = np.sort(random.permutation(len(UNITS["anchor"]))[:NEURONS])
    own = pd.DataFrame(
        {
            "rosetta": np.arange(NEURONS, dtype=np.int32),
            # The first neurons are the best of their concepts, the rest are spread over a few large ones.
            "cluster": np.r_[np.arange(CONCEPTS), np.sort(random.integers(0, 60, NEURONS - CONCEPTS))].astype(np.int32),
            "anchor_unit": chosen.astype(np.int32),
            "mean_pearson": np.sort(random.uniform(0.2, 0.8, NEURONS))[::-1],
            **_judged(NEURONS, random),
        }
    )
    parts = []
    for model, found in near.items():
        if model != "untrained":
            member = chosen if model == "anchor" else found.unit[chosen, 0]
            pearson = np.full(NEURONS, np.nan, np.float32) if model == "anchor" else found.pearson[chosen, 0]
            parts.append(own.assign(**_labels(model, member), pearson=pearson))
    best = own.drop_duplicates("cluster").sort_values("cluster")
    clusters = best.drop(columns="rosetta").assign(
        size=np.bincount(own["cluster"]).astype(np.int32),
        min_pearson=best["mean_pearson"] / 2,
        trusted_neurons=best["trusted"].astype(np.int32),
    )
    rosetta = pd.concat(parts, ignore_index=True)
    return {"units": units, "buddies": buddies, "trust": trust, "rosetta": rosetta, "clusters": clusters}


def _units(model: str, random: np.random.Generator) -> pd.DataFrame:
    count = len(UNITS[model])
    measured = {"mean": np.zeros(count), "std": np.ones(count), "maximum": np.full(count, 4.0, np.float32)}
    selective = {"kurtosis": random.uniform(2, 90, count), "half_share": random.uniform(0.05, 0.5, count)}
    grid = {"grid_y": np.full(count, 14, np.int32), "grid_x": np.full(count, 14, np.int32)}
    return pd.DataFrame({**_labels(model, np.arange(count)), **grid, **measured, **selective})


def _buddies(model: str, found: Neighbours, random: np.random.Generator) -> pd.DataFrame:
    """The strongest neighbour of every unit of the anchor, and every second one's next."""
    a = np.r_[np.arange(len(found.unit)), np.arange(0, len(found.unit), 2)]
    place = np.r_[np.zeros(len(found.unit), int), np.ones(len(a) - len(found.unit), int)]
    sides = {**_labels("anchor", a, "_a"), **_labels(model, found.unit[a, place], "_b")}
    ranks = {"rank_ab": (place + 1).astype(np.int32), "rank_ba": random.integers(1, K + 1, len(a), dtype=np.int32)}
    return pd.DataFrame({**sides, "pearson": found.pearson[a, place], **ranks})


def _judged(count: int, random: np.random.Generator) -> dict[str, npt.NDArray[np.generic]]:
    numbers = {
        name: random.uniform(-0.2, 0.6, count)
        for name in ("pearson_half_1", "pearson_half_2", "pearson_centred", "positional", "pearson_partial",
                     "pixel_explained", "control_best", "lift")
    }  # fmt: skip
    chances = {"p_value": random.uniform(0, 0.1, count), "q_value": random.uniform(0, 0.1, count)}
    return {**chances, **numbers, "replicates": random.random(count) < 0.7, "trusted": random.random(count) < 0.3}
