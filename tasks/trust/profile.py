"""Stage `profile`: one pass over all maps for what trust and selectivity need, layer by layer."""

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache

import numpy as np
import torch

from rosetta.errors import UserError
from rosetta.mining.grid import common_grid
from rosetta.mining.plan import Side, ranges
from rosetta.mining.trust.layer_sums import step_bytes, sum_bytes
from rosetta.mining.trust.pixels import FEATURE_BLOCK, FeatureBlock, FeatureMoments, FeatureSums
from rosetta.units import Grid, Layer, Units
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ACTIVATIONS, FEATURES, PROFILES
from storage.artifacts.features import SIDE as FEATURE_SIDE
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.profiles import ProfileStore
from storage.filesystem.root import Root
from tasks.cluster.engine import Capacity, engine, part
from tasks.correlate.setting import Setting, plan_side
from tasks.plan import Plan, Stage
from tasks.stage.memory import keep_freed_memory
from tasks.stage.metrics import saw_images
from tasks.stage.progress import track
from tasks.trust.profile_worker import Piece, profile_layers

_FEATURES, _SIDE = len(INDEPENDENT), FEATURE_SIDE
"""Of the pixel features: how many, and positions a side."""


def fingerprint_of(plan: Plan, model: str) -> Fingerprint:
    """Of a model's profile."""
    grids = set().union(*(plan.facts.models[partner].grids for partner in plan.partners(model)))
    return fingerprint(
        "profile",
        activations=plan.digest(ACTIVATIONS, model),
        features=plan.digest(FEATURES),
        grids=[list(grid) for grid in sorted(grids)],
    )


def profile(plan: Plan) -> None:
    """Write what is missing of the models' profiles.

    All in one stage: layers of one grid need the same of the pixel features, whichever model they belong to.

    Raises
    ------
    UserError
        The memory is too small for a layer.
    """
    root, setting = plan.root.absolute, Setting.of(plan)
    fingerprints = {name: plan.fingerprint(PROFILES, name) for name in plan.names}
    stores = {name: ProfileStore.open(root, one, name) for name, one in fingerprints.items()}
    left = [model for model, store in stores.items() if store is None or not store.complete]
    keep_freed_memory()
    needed = dict.fromkeys(name for model in left for name in (model, *plan.partners(model)))
    sides = {name: plan_side(ActivationStore.read(root, name)) for name in needed}
    pieces = pieces_of(plan, left, sides)
    for model in left:
        if stores[model] is None:
            commons = dict.fromkeys(common for piece in pieces if piece.model == model for common in piece.commons)
            lay_out(root, model, fingerprints[model], tuple(commons))
    written = {model: ProfileStore.read_begun(root, model).written() for model in left}
    images = sides[left[0]].images
    with engine(setting.cluster, setting.threads, root) as where:
        todo = [piece for piece in pieces if not written[piece.model][piece.index]]
        groups, at_once = in_groups(todo, images, setting.memory, where.capacity)
        with track("profile", len(groups)) as advance:
            where.run([part(profile_layers, root, group) for group in groups], advance, at_once)
        saw_images(images)
    for model in left:
        ProfileStore.read_begun(root, model).finish()


PROFILE = Stage("profile", (PROFILES,), fingerprint_of, profile, per="run", on_cluster=True)


def pieces_of(plan: Plan, models: Iterable[str], sides: Mapping[str, Side]) -> list[Piece]:
    """All layers of some models.

    Parameters
    ----------
    sides
        By name: these models, and those that they are compared with.
    """
    pieces, device = [], Setting.of(plan).device
    for model in models:
        side = sides[model]
        grids = {grid for partner in plan.partners(model) for grid in sides[partner].units.grids()}
        pieces += pieces_of_model(model, side.units, side.block, grids, device)
    return pieces


def pieces_of_model(model: str, units: Units, chunk: int, grids: Set[Grid], device: str = "auto") -> list[Piece]:
    """All layers of a model, given the grids of its partners."""

    def commons(layer: Layer) -> tuple[Grid, ...]:
        return tuple(dict.fromkeys(common_grid(layer.grid, other) for other in sorted(grids)))

    return [Piece(model, index, layer, chunk, commons(layer), device) for index, layer in enumerate(units.layers)]


def lay_out(root: Root, model: str, fingerprint: Fingerprint, commons: tuple[Grid, ...]) -> ProfileStore:
    """Lay the store of a model out, with the features' moments on all its common grids."""
    store = ActivationStore.read(root, model)
    moments = _feature_moments(root, commons)
    first = int(store.first_half().sum())
    halves = first, store.images - first
    return ProfileStore.create(root, model, fingerprint, store.units, store.images, INDEPENDENT, moments, halves)


def _feature_moments(root: Root, commons: tuple[Grid, ...]) -> dict[Grid, FeatureMoments]:
    """Moments of the pixel features on some grids, over all images."""
    store = FeatureStore.read(root)
    known = _moments_of(root.url, store.digest)
    if missing := tuple(common for common in commons if common not in known):
        images, features, side = store.shape
        sums = FeatureSums(side, features, missing)
        for span in ranges(images, FEATURE_BLOCK):
            sums.add(FeatureBlock(torch.from_numpy(store.features(span))))
        known.update(sums.moments())
    return {common: known[common] for common in commons}


@lru_cache(maxsize=4)
def _moments_of(url: str, features: str) -> dict[Grid, FeatureMoments]:
    """What this process knows already of the features of a root, by their fingerprint; a run's models share grids."""
    return {}


def in_groups(pieces: Sequence[Piece], images: int, memory: int, where: Capacity) -> tuple[list[list[Piece]], int]:
    """Layers that are profiled together, and how many groups at once on a worker.

    As few groups as keep every core busy, or as the memory asks for.

    Raises
    ------
    UserError
        The memory does not hold the largest layer.
    """
    if not pieces:  # a run was stopped between its last layer and the end
        return [], 1
    ordered = sorted(pieces, key=lambda piece: (-piece.layer.grid[0] * piece.layer.grid[1], piece.commons))
    for at_once in range(where.threads, 0, -1):
        for count in range(min(at_once * where.workers, len(ordered)), len(ordered) + 1):
            groups = _cut(ordered, count)
            if min(at_once, count) * max(_peak(group, images) for group in groups) <= memory:
                return groups, at_once
    largest = max(ordered, key=lambda piece: _peak([piece], images))
    raise UserError(
        f"compute.memory: {memory >> 20} MiB is too little; judging layer {largest.layer.name} of {largest.model}"
        f" needs at least {(_peak([largest], images) >> 20) + 1} MiB"
    )


def _cut(ordered: Sequence[Piece], count: int) -> list[list[Piece]]:
    """So many groups of neighbours, of about the same work."""
    seen: set[tuple[Grid, tuple[Grid, ...]]] = set()
    costs = []
    for piece in ordered:
        height, width = piece.layer.grid
        key = piece.layer.grid, piece.commons
        # In values of a map, measured: thumbs and what is written of a channel, and what is made of the features.
        features = len(piece.commons) * width * _SIDE * (_SIDE + height) // 16 if max(height, width) <= _SIDE else 0
        costs.append(piece.layer.values + 150 * piece.layer.channels + (0 if key in seen else features))
        seen.add(key)
    ends = np.cumsum(costs)
    place = np.minimum((ends - ends[0] / 2) * count // ends[-1], count - 1).astype(int)
    groups = [[piece for piece, group in zip(ordered, place, strict=True) if group == index] for index in range(count)]
    return [group for group in groups if group]


def _peak(pieces: Sequence[Piece], images: int) -> int:
    """Bytes that profiling some layers takes at most."""
    longest = max(FEATURE_BLOCK, *(piece.chunk for piece in pieces))
    sums = sum(sum_bytes(piece.layer, images, piece.commons, _FEATURES) for piece in pieces)
    # The maps of one chunk, those of the next, and what these are decoded from.
    maps = 3 * max(4 * piece.layer.values * piece.chunk for piece in pieces)
    step = max(step_bytes(piece.layer, images, piece.commons, _FEATURES) for piece in pieces)
    return sums + maps + step + 3 * 4 * longest * _FEATURES * _SIDE**2
