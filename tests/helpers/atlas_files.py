"""A small finished run whose concepts are spots at known places, and its atlas, read back."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import made_up
import numpy as np
from plans import make, plan_over
from planted import FOUR, pictures, write_images, write_maps

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Matching, Recipe, Trust
from storage.artifacts import catalogue, tables
from storage.filesystem.root import Root
from tasks.correlate.pair import CORRELATE
from tasks.correlate.setting import Setting
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import MATCH
from tasks.match.dictionary import WRITE_DICTIONARY
from tasks.match.units import WRITE_UNITS
from tasks.names.classes import WRITE_CLASSES
from tasks.report.atlas.run import AtlasRun
from tasks.trust.pair import JUDGE_PAIRS
from tasks.trust.profile import PROFILE
from tasks.trust.table import JOIN_TRUST

IMAGES = 40
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u2028\u2029🦩".replace("/", "")
"""No slash: a layer is a folder of its store."""
GRIDS = {
    "g": {"coarse": (4, 4), "fine": (40, 24)},
    "d": {HOSTILE: (7, 9), "b": (33, 20)},
    "e": {"a": (6, 6), "b": (12, 12)},
    "untrained": {"a": (5, 5)},
}
SPOTS, NOISE = 4, 5
"""Units of each layer that follow a spot, and that follow nothing."""
RECIPE = Recipe(
    name="spots",
    root="elsewhere",
    models=tuple(
        ModelSpec(name=name, model=f"python:{HOSTILE}:{name}", control=name == "untrained", weights="random:0")
        for name in GRIDS
    ),
    matching=Matching(neighbours=2),
    trust=Trust(tests=FOUR.tests),
)
MODELS = list(GRIDS)
STORES = {"g": ["g", "d", "e", "untrained"], "d": ["g"], "e": ["g"], "untrained": ["g"]}
"""With which models there are correlations."""


def spots(random: np.random.Generator, layers: int) -> tuple[np.ndarray, np.ndarray]:
    """(layer, spot, image, yx) where each spot is, in 0…1, and (layer, spot, image) how bright."""
    return random.uniform(0.1, 0.9, (layers, SPOTS, IMAGES, 2)), random.uniform(0.2, 2.0, (layers, SPOTS, IMAGES))


def seen(place: np.ndarray, bright: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(image, spot, y, x) round spots on a grid."""
    y, x = ((np.arange(size) + 0.5) / size for size in grid)
    down, across = place[..., 0, None, None] - y[:, None], place[..., 1, None, None] - x
    return (bright[..., None, None] * np.exp(-(down**2 + across**2) / 0.03)).swapaxes(0, 1)


def finished_run(root: Root, keep: str = "matrix", recipe: Recipe = RECIPE) -> dict[str, dict[str, np.ndarray]]:
    """All that the atlas is made from; returns the maps by model and layer, the same for any `keep` and `recipe`."""
    random = np.random.default_rng(7)
    write_images(root, pictures(random, IMAGES))
    place, bright = spots(random, 2)
    maps: dict[str, dict[str, np.ndarray]] = {}
    for model, layers in GRIDS.items():
        maps[model] = {}
        for number, (layer, grid) in enumerate(layers.items()):
            values = random.normal(size=(IMAGES, SPOTS + NOISE, *grid)) * 0.05
            if model != "untrained":
                values[:, :SPOTS] += seen(place[number], bright[number], grid)
            values[:, -1] = 0.25  # dead
            maps[model][layer] = values.astype(np.float32)
        write_maps(root, model, maps[model], block=8)
    setting = Setting(threads=1, keep=keep)
    neighbours, trust = recipe.matching.neighbours, recipe.trust
    plan = plan_over(root, tuple(GRIDS), setting, ("untrained",), neighbours=neighbours, trust=trust)
    make(plan, CORRELATE, MATCH, WRITE_FEATURES, PROFILE, JUDGE_PAIRS)
    made_up.of_pairs(plan)
    make(plan, JOIN_TRUST, WRITE_UNITS, WRITE_DICTIONARY, WRITE_CLASSES)
    made_up.of_run(plan)
    return maps


def read(folder: Path, key: str):
    """The value that a file of the atlas puts under its key."""
    text = (folder / "data" / f"{key}.js").read_bytes().decode("ascii")
    found = re.fullmatch(r"atlas\.put\((\"[^\"]*\"),(.*)\);\n", text, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == key
    return json.loads(found[2])


def unit_of(folder: Path, run: Mapping, model: int, layer: int, channel: int):
    """What the atlas says of one unit."""
    number, place = divmod(channel, run["models"][model]["layers"][layer]["per_file"])
    return read(folder, f"unit/{model}.{layer}.{number}")["units"][place]


def decoded(text: str, grid: list[int]) -> np.ndarray:
    """(y, x) the bytes of a map."""
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(grid)


def peaks_of(values: np.ndarray, most: int) -> np.ndarray:
    """(y, x) the highest value of each part, the plain way: position by position."""
    size = np.minimum(values.shape, most)
    found = np.full(size, -np.inf)
    for place, value in np.ndenumerate(values):
        # The part that the position's centre lies in, in whole numbers.
        part = tuple((2 * np.array(place) + 1) * size // (2 * np.array(values.shape)))
        found[part] = max(found[part], value)
    return found


def opened(root: Root) -> AtlasRun:
    """The run, as the atlas reads it."""
    return AtlasRun.of(root, RECIPE)


def unit_map(maps, model: int, unit: int, image: int) -> np.ndarray:
    """(y, x) the map of a unit."""
    layers = layers_of(maps[MODELS[model]])
    return next(values[image, unit - first] for first, values in layers if first <= unit < first + values.shape[1])


def layers_of(layers: Mapping[str, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Layer by layer the number of its first unit, and its maps."""
    first = 0
    for values in layers.values():
        yield first, values
        first += values.shape[1]


def scale(root: Root, model: int, unit: int) -> tuple[float, float]:
    """What is drawn as the lowest and as the highest value of a unit."""
    frame = tables.read(root, catalogue.UNITS.path())
    row = frame[(frame["model"] == MODELS[model]) & (frame["unit"] == unit)].iloc[0]
    return float(row["mean"]), float(row["maximum"])


def expected_bytes(root: Root, maps, model: int, unit: int, image: int, most: int) -> np.ndarray:
    """(y, x) what the atlas has to hold of a map, before it is rounded."""
    low, high = scale(root, model, unit)
    small = peaks_of(unit_map(maps, model, unit, image).astype(np.float64), most)
    return np.clip((small - low) / (high - low), 0, 1) * 255
