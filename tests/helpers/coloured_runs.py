"""A finished run of coloured squares on grey, whose concepts are detectors of one colour each."""

from pathlib import Path

import numpy as np
import pandas as pd
import planted
from described import described
from toy_clip import COLOURS, SIDE

from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import CLUSTERS, ROSETTA
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root

IMAGES, NOISE = 96, 2
"""Images; units of each model that detect nothing, the last two, which make a concept each."""
PATCH = 8
GRIDS = {"g": (SIDE, SIDE), "d": (SIDE // 2, SIDE // 2)}


def placed(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(image, y, x) which colour is where, −1 for none, and (image, y, x, rgb) the pixels; two squares an image."""
    random = np.random.default_rng(seed)
    where = np.full((IMAGES, SIDE, SIDE), -1)
    for image in where:
        cells = random.permutation((SIDE // PATCH) ** 2)[:2]
        for cell, colour in zip(cells, random.permutation(len(COLOURS))[:2], strict=True):
            y, x = PATCH * (cell // (SIDE // PATCH)), PATCH * (cell % (SIDE // PATCH))
            image[y : y + PATCH, x : x + PATCH] = colour
    palette = np.array([*COLOURS.values(), (120, 120, 120)], np.uint8)
    return where, palette[where]


def write(folder: Path, concepts: bool = True) -> np.ndarray:
    """The run; returns where each colour is.

    Concept i is that of colour i; those behind the colours are of noise.
    """
    root = Root(str(folder))
    root.write_bytes("recipe.toml", _recipe(folder).encode())
    where, pixels = placed()
    planted.write_images(root, pixels)
    random = np.random.default_rng(1)
    units = len(COLOURS) + NOISE
    for model, grid in GRIDS.items():
        step = SIDE // grid[0]
        on = where[:, None, ::step, ::step] == np.arange(len(COLOURS))[:, None, None]
        maps = np.concatenate([on.astype(np.float32), np.zeros((IMAGES, NOISE, *grid), np.float32)], axis=1)
        maps += 0.05 * random.random(maps.shape, dtype=np.float32)
        planted.write_maps(root, model, {"low": maps[:, :5], "high": maps[:, 5:]})
    stores = {model: ActivationStore.read(root, model) for model in GRIDS}
    categories = tables.categories_of({model: store.units for model, store in stores.items()})
    for artifact, frame in ((ROSETTA, _rosetta(units)), (CLUSTERS, _clusters(units))):
        rows = frame if concepts else frame.head(0)
        path = artifact.path()
        tables.write(root, path, described(path, rows), fingerprint(artifact.name, rows=len(rows)), categories)
    return where


def _rosetta(units: int) -> pd.DataFrame:
    rows = [
        {"rosetta": unit, "cluster": unit, "anchor_unit": unit, "model": model, "unit": unit,
         "layer": "low" if unit < 5 else "high", "channel": unit % 5, "pearson": 0.9, "mean_pearson": 0.9}
        for unit in range(units)
        for model in GRIDS
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _clusters(units: int) -> pd.DataFrame:
    return pd.DataFrame([{"cluster": unit, "size": 1, "anchor_unit": unit} for unit in range(units)])


def _recipe(folder: Path) -> str:
    models = "".join(f'[[models]]\nname = "{name}"\nmodel = "python:none:{name}"\n' for name in GRIDS)
    return f'name = "colours"\nroot = "{folder}"\n[images]\nsource = "photos"\n{models}[compute]\ndevice = "cpu"\n'
