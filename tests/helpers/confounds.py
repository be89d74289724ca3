"""A zoo for a sceptic: pairs of units that are shared, and pairs that only look so, each for a reason of its own.

Every kind stands in a layer of its own, beside units that share nothing, on grids that differ between the models.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import planted
from plans import make, plan_over

from flows.plan.stages import STAGES
from rosetta.recipe import Trust
from storage.artifacts import catalogue, tables
from storage.filesystem.root import Root
from tasks.correlate.setting import Setting

IMAGES, CLASSES = 200, 10
GRIDS = {"g": ((8, 8), (14, 14)), "d": ((6, 6), (12, 9)), "e": ((7, 7), (10, 15))}
"""Of each model: the grid of the layers of shared units that are coarse, and of all others. The first is the anchor."""
SIGNALS = (0.3, 0.45, 0.6, 0.8)
SHARED = 6
"""Units of each signal in each of two layers."""
SPANNED = 32
"""Units whose layers span the same space, and no more."""
FEW = 6
"""Pairs of any other kind."""
ALONE = 12
"""Units of each layer that share nothing."""

CONFOUNDS = ("subspace", "positions", "class means", "one class", "one image", "hub")
EVERY_TEST = Trust(
    tests=(
        "chance",
        "held_out",
        "lift",
        "partial",
        "excess",
        "alone",
        "robust",
        "interval",
        "influence",
        "within",
        "one_to_one",
    ),
    resample="classes",
    low=0.02,
    resamples=400,
)
"""What a sceptic asks for, the classes of the images being known."""

Maps = np.ndarray
"""(unit, image, y, x) of mean 0 and variance about 1."""
Smooth = Callable[[int, tuple[int, int]], Maps]
"""Takes how many units and a grid."""


@dataclass(frozen=True)
class Confounded:
    """What was planted."""

    root: Root
    kinds: Mapping[str, np.ndarray]
    """By model: (unit,) `signal 0.3`, one of :data:`CONFOUNDS`, or `alone`."""
    twins: Mapping[str, np.ndarray]
    """By model: (unit,) a number that two units of one origin share; −1 where a unit has no twin."""


class _Plan:
    """What is the same in all models of a zoo, drawn once."""

    def __init__(self, random: np.random.Generator) -> None:
        self.classes = random.permutation(np.arange(IMAGES) % CLASSES)
        self.signals = {(layer, rho): self._waves(random, SHARED) for layer in range(2) for rho in SIGNALS}
        self.spanned = self._waves(random, SPANNED)
        self.spots = random.uniform(0.15, 0.85, size=(FEW, 3, 2))
        self.spotted = np.stack([random.choice(IMAGES, size=3, replace=False) for _ in range(FEW)])
        self.class_means = random.normal(size=(FEW, CLASSES, 3, 3))
        self.of_class = self._waves(random, FEW)
        self.one_class = random.integers(CLASSES, size=FEW)
        self.image = random.integers(IMAGES, size=FEW)
        self.hub = self._waves(random, 1)

    @staticmethod
    def _waves(random: np.random.Generator, units: int) -> np.ndarray:
        """(unit, image, v, u) what :func:`planted.sample` makes fields of."""
        return random.normal(size=(units, IMAGES, 3, 3))


def fields(waves: np.ndarray, grid: tuple[int, int]) -> Maps:
    """Fields of cosines with coefficients (unit, image, v, u), seen on a grid."""
    return planted.sample(waves.reshape(-1, *waves.shape[-2:]), grid).reshape(*waves.shape[:2], *grid)


def plant(root: Root, seed: int) -> Confounded:
    """Write the zoo, its images and its controls."""
    random = np.random.default_rng(seed)
    pixels = planted.pictures(random, IMAGES)
    plan = _Plan(random)
    planted.write_images(root, pixels, plan.classes)
    kinds: dict[str, np.ndarray] = {}
    twins: dict[str, np.ndarray] = {}
    for model, (coarse, fine) in GRIDS.items():

        def noise(units: int, grid: tuple[int, int]) -> Maps:
            return planted._noise(random, IMAGES, grid, units)

        layers = {
            "coarse": _signals(plan, 0, coarse, noise),
            "fine": _signals(plan, 1, fine, noise),
            "subspace": {"subspace": _spanned(plan, fine, noise, random if model != "g" else None)},
            "positions": {"positions": _spots(plan, fine, noise)},
            "means": {"class means": _means(plan, coarse, noise), "one class": _one_class(plan, coarse, noise)},
            "single": {"one image": _one_image(plan, coarse, noise)},
            "hub": {"hub": _hub(plan, fine, noise, 20 if model == "g" else 1)},
        }
        maps, names, numbers = {}, [], []
        for number, (layer, parts) in enumerate(layers.items()):
            parts["alone"] = noise(ALONE, coarse if layer in ("coarse", "means", "single") else fine)
            maps[layer] = np.concatenate(list(parts.values())).swapaxes(0, 1)
            for place, (kind, part) in enumerate(parts.items()):
                names += [kind] * len(part)
                has_twin = kind not in ("alone", "subspace", "hub")
                numbers += [1000 * number + 100 * place + unit if has_twin else -1 for unit in range(len(part))]
        planted.write_maps(root, model, maps)
        kinds[model], twins[model] = np.array(names), np.array(numbers)
    planted.write_controls(root, random, pixels)
    return Confounded(root, kinds, twins)


def _signals(plan: _Plan, layer: int, grid: tuple[int, int], noise: Smooth) -> dict[str, Maps]:
    return {
        f"signal {rho}": rho**0.5 * fields(plan.signals[layer, rho], grid) + (1 - rho) ** 0.5 * noise(SHARED, grid)
        for rho in SIGNALS
    }


def _spanned(plan: _Plan, grid: tuple[int, int], noise: Smooth, random: np.random.Generator | None) -> Maps:
    """The same signals, on one side under a random rotation."""
    own = fields(plan.spanned, grid)
    if random is not None:
        rotation, _ = np.linalg.qr(random.normal(size=(SPANNED, SPANNED)))
        own = np.einsum("ij,jnyx->inyx", rotation, own)
    return 0.9**0.5 * own + 0.1**0.5 * noise(SPANNED, grid)


def _spots(plan: _Plan, grid: tuple[int, int], noise: Smooth) -> Maps:
    """Nothing shared but three positions of all images, at which both units are very active."""
    maps = noise(FEW, grid)
    for unit, (images, spots) in enumerate(zip(plan.spotted, plan.spots, strict=True)):
        y, x = (spots * grid).astype(int).T
        maps[unit, images, y, x] += 200.0
    return maps


def _means(plan: _Plan, grid: tuple[int, int], noise: Smooth) -> Maps:
    """Each class has its map, and beyond that nothing is shared."""
    of_class = planted.sample(plan.class_means.reshape(-1, 3, 3), grid).reshape(FEW, CLASSES, *grid)
    return 0.6**0.5 * of_class[:, plan.classes] + 0.4**0.5 * noise(FEW, grid)


def _one_class(plan: _Plan, grid: tuple[int, int], noise: Smooth) -> Maps:
    """Images of one class have a signal, and beyond that nothing is shared."""
    inside = plan.classes == plan.one_class[:, None]
    return noise(FEW, grid) + 2.5 * inside[:, :, None, None] * fields(plan.of_class, grid)


def _one_image(plan: _Plan, grid: tuple[int, int], noise: Smooth) -> Maps:
    maps = noise(FEW, grid)
    maps[np.arange(FEW), plan.image] += 25.0
    return maps


def _hub(plan: _Plan, grid: tuple[int, int], noise: Smooth, units: int) -> Maps:
    """Many units that share a little of one signal, which is all that a single unit of the other models is."""
    share = 0.35 if units > 1 else 1.0
    return share**0.5 * fields(plan.hub, grid) + (1 - share) ** 0.5 * noise(units, grid)


def judge(root: Root, trust: Trust = EVERY_TEST) -> pd.DataFrame:
    """Put the zoo through every stage of a run but dumps and pages: `tables/trust.parquet`."""
    setting = Setting(threads=2)
    plan = plan_over(root, (*GRIDS, "pixels", "untrained"), setting, ("pixels", "untrained"), trust=trust)
    first = next(place for place, stage in enumerate(STAGES) if stage.name == "features")
    stages = [stage for stage in STAGES[first:] if stage.name not in ("dump", "page", "report")]
    make(plan, *stages)
    return tables.read(root, catalogue.TRUST.path())


def matches_of(zoo: Confounded, table: pd.DataFrame) -> pd.DataFrame:
    """The matches of the anchor with the real models; `kind` is what a pair shares, `others` of a pair by chance."""
    rows = table[(table["model_a"] == "g") & table["model_b"].isin(["d", "e"])].copy()
    both = list(zip(rows["model_b"], rows["unit_b"], strict=True))
    kind_a = zoo.kinds["g"][rows["unit_a"]]
    kind_b = np.array([zoo.kinds[model][unit] for model, unit in both])
    twin_b = np.array([zoo.twins[model][unit] for model, unit in both])
    twins = (zoo.twins["g"][rows["unit_a"]] == twin_b) & (twin_b >= 0)
    many = (kind_a == kind_b) & np.isin(kind_a, ["subspace", "hub"])
    rows["kind"] = np.where(twins | many, kind_a, "others")
    return rows
