"""A finished run that no one mined: three models of spots at known places, for tests of what reads a run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from described import described
from stores import begin, write_blocks

from rosetta.mining.buddies import nearest_neighbours
from rosetta.units import Layer, Units
from storage.artifacts import tables
from storage.artifacts.blocks import block_slice
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.neighbours import NeighbourStore
from storage.filesystem.root import Root

IMAGES, BLOCK, SIDE = 10, 4, 16
HOSTILE = '<script>"$x$"&'
"""A layer's name as it may be."""
LAYERS = {
    "g": (Layer(HOSTILE, 2, (4, 4)), Layer("late", 1, (8, 8))),
    "d": (Layer("early", 2, (8, 4)), Layer("deep", 1, (2, 2))),
    "c": (Layer("random", 2, (4, 4)),),
}
RECIPE = """name = "spots"
root = "elsewhere"
[[models]]
name = "d"
model = "python:tests:d"
[[models]]
name = "g"
model = "python:tests:g"
[[models]]
name = "c"
model = "python:tests:c"
control = true
[matching]
neighbours = 2
"""


def spot(image: int) -> tuple[int, int]:
    """Where the spot of an image lies on a 4 × 4 grid."""
    return image % 4, (3 * image + 1) % 4


def maps_of(model: str) -> dict[str, np.ndarray]:
    """By layer (image, channel, y, x): channel 0 of the first layer of g and d is the spot, brighter image by image."""
    random = np.random.default_rng(ord(model))
    found = {}
    for layer in LAYERS[model]:
        maps = random.normal(scale=0.2, size=(IMAGES, layer.channels, *layer.grid))
        if model != "c" and layer is LAYERS[model][0]:
            high, wide = layer.grid[0] // 4, layer.grid[1] // 4
            for image in range(IMAGES):
                y, x = spot(image)
                maps[image, 0, y * high : (y + 1) * high, x * wide : (x + 1) * wide] += 2 + image
        found[layer.name] = maps.astype(np.float16).astype(np.float32)
    return found


def pixels() -> np.ndarray:
    """(image, y, x, rgb) grey, with a blue square where the spot is."""
    found = np.full((IMAGES, SIDE, SIDE, 3), 120, dtype=np.uint8)
    for image in range(IMAGES):
        y, x = spot(image)
        found[image, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = (0, 0, 255)
    return found


def pearson(a: str, b: str) -> np.ndarray:
    """(unit_a, unit_b) by upsampling every pair to its common grid."""

    def units(model: str) -> list[np.ndarray]:
        return [maps[:, channel] for maps in maps_of(model).values() for channel in range(maps.shape[1])]

    def brought(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
        tensor = torch.from_numpy(maps.astype(np.float64))[:, None]
        return torch.nn.functional.interpolate(tensor, size=grid, mode="bilinear", align_corners=False).numpy().ravel()

    def one(x: np.ndarray, y: np.ndarray) -> float:
        grid = tuple(np.maximum(x.shape[1:], y.shape[1:]).tolist())
        return float(np.corrcoef(brought(x, grid), brought(y, grid))[0, 1])

    return np.array([[one(x, y) for y in units(b)] for x in units(a)], dtype=np.float32)


def write(place: Path, keep: str = "matrix", kept: Sequence[int] | None = None, seen: int = IMAGES) -> Path:
    """The run under a folder, with correlations kept as a matrix or as neighbours.

    Parameters
    ----------
    kept
        (image,) index of each image where they are only some of so many as are `seen`.
    """
    root = Root(str(place))
    root.write_bytes("recipe.toml", RECIPE.encode())
    _write_images(root, kept, seen)
    for model in LAYERS:
        _write_activations(root, model)
    for other in ("g", "d", "c"):
        _write_pair(root, "g", other, keep)
    categories = tables.categories_of({model: Units(layers) for model, layers in LAYERS.items()})
    for name, frame in _tables().items():
        path = f"tables/{name}.parquet"
        tables.write(root, path, described(path, frame), fingerprint(name), categories)
    return place


def _write_images(root: Root, kept: Sequence[int] | None, seen: int) -> None:
    made = fingerprint("images") if kept is None else fingerprint("images", streamed=seen)
    store = ImageStore.create(
        root, made, images=IMAGES, size=(SIDE, SIDE), block=BLOCK,
        latents=np.zeros((IMAGES, 3), dtype=np.float32), classes=np.arange(IMAGES) % 2, indices=kept,
    )  # fmt: skip
    for block in range(-(-IMAGES // BLOCK)):
        store.write(block, pixels()[block_slice(block, BLOCK, IMAGES)])
    store.finish()


def _write_activations(root: Root, model: str) -> None:
    units, maps = Units(LAYERS[model]), maps_of(model)
    made = fingerprint("activations", of=model)
    pictures = ImageStore.read(root)
    known, indices = pictures.coordinates(), pictures.indices(slice(None))
    store = begin(
        root, model, made, units, images=IMAGES, block=BLOCK, labels=known, indices=indices, generator=model == "g"
    )
    write_blocks(store, maps)


def _write_pair(root: Root, a: str, b: str, keep: str) -> None:
    units, values, made = (Units(LAYERS[a]), Units(LAYERS[b])), pearson(a, b), fingerprint("pair", a=a, b=b)
    if keep == "matrix":
        matrix = CorrelationStore.create(root, a, b, made, *units, 2)
        matrix.write((0, 0), values)
        matrix.finish()
        return
    near = NeighbourStore.create(root, a, b, made, *units, 2)
    sides = (values, np.ascontiguousarray(values.T))
    near.write((0, 0), *(nearest_neighbours(side, 2, same=a == b) for side in sides))
    near.finish()


def _tables() -> dict[str, pd.DataFrame]:
    rows = []
    for model, layers in LAYERS.items():
        unit = 0
        for layer in layers:
            maps = maps_of(model)[layer.name].astype(np.float64)
            for channel in range(layer.channels):
                held = maps[:, channel]
                rows.append((model, layer.name, channel, unit, *layer.grid, held.mean(), held.std(), held.max()))
                unit += 1
    units = pd.DataFrame(
        rows, columns=["model", "layer", "channel", "unit", "grid_y", "grid_x", "mean", "std", "maximum"]
    )
    match = {"model_a": "g", "unit_a": 0, "layer_a": HOSTILE, "channel_a": 0, "model_b": "d", "unit_b": 0,
             "layer_b": "early", "channel_b": 0, "pearson": pearson("g", "d")[0, 0]}  # fmt: skip
    buddies = pd.DataFrame([{**match, "rank_ab": 1, "rank_ba": 1}])
    trust = pd.DataFrame([{**match, "p_value": 0.01, "q_value": 0.01, "trusted": True}])
    whole = {"rosetta": 0, "cluster": 0, "anchor_unit": 0, "mean_pearson": match["pearson"], "trusted": True}
    rosetta = pd.DataFrame(
        [
            {**whole, "model": "g", "unit": 0, "layer": HOSTILE, "channel": 0, "pearson": np.nan},
            {**whole, "model": "d", "unit": 0, "layer": "early", "channel": 0, "pearson": match["pearson"]},
        ]
    )
    clusters = pd.DataFrame(
        [{"cluster": 0, "size": 1, "anchor_unit": 0, "mean_pearson": match["pearson"],
          "min_pearson": match["pearson"], "trusted_neurons": 1}]
    )  # fmt: skip
    found = {"units": units, "buddies": buddies, "trust": trust, "rosetta": rosetta, "clusters": clusters}
    return found | _of_run()


def _of_run() -> dict[str, pd.DataFrame]:
    """What is measured of the run as a whole: a dictionary of one neuron, and three more times nothing."""
    pair = {"model_a": "g", "model_b": "d"}
    null = [
        (exchange, of, int(exchange == 0)) for exchange in range(4) for of in ("d", "c", "Rosetta neurons", "concepts")
    ]
    return {
        "null": pd.DataFrame(null, columns=["exchange", "of", "count"]),
        "stability": pd.DataFrame(
            [{"neighbours": k, "neurons": 1, "trusted": 1, "concepts": 1, "largest": 1, "jaccard": 1.0} for k in (1, 2)]
        ),
        "distances": pd.DataFrame([{**pair, "distance": 0.7, "assigned": 1, "unmatched_a": 2, "unmatched_b": 2}]),
        "layers": pd.DataFrame([{**pair, "layer_a": HOSTILE, "layer_b": "early", "cka": 0.8, "cka_null": 0.1}]),
        "rarefaction": pd.DataFrame([{**pair, "units": 2, "draw": draw, "buddies": 1} for draw in range(3)]),
        "classes": pd.DataFrame([{"model": "d", "layer": "early", "rank": 1, "label": "0", "auroc": 0.9}]),
        "concept_classes": pd.DataFrame([{"cluster": 0, "rank": 1, "label": "0", "auroc": 0.9}]),
    }
