"""Stage `profile`: one pass over all maps for what trust and selectivity need, layer by layer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rosetta.errors import UserError
from rosetta.mining.grid import common_grid
from rosetta.mining.plan import DECODED_AT_ONCE, Side, ranges
from rosetta.mining.trust.halves import run_length
from rosetta.mining.trust.pixels import FeatureMoments, FeatureSums
from rosetta.mining.trust.profile import CHANNELS, SHAPE_IMAGES, SHAPE_SIDE
from rosetta.mining.trust.thumbs import SIDE
from rosetta.units import Grid, Units
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import PROFILES
from storage.artifacts.features import FeatureStore
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.profiles import ProfileStore
from storage.artifacts.shared import turn
from storage.filesystem.root import Root
from tasks.cluster.engine import Capacity, engine
from tasks.cluster.graph import part
from tasks.correlate.setting import Setting, plan_side
from tasks.dump.features import SIDE as FEATURE_SIDE
from tasks.stage.memory import keep_freed_memory
from tasks.stage.metrics import saw_images
from tasks.stage.progress import track
from tasks.stage.stage import Outcome, stage
from tasks.trust.profile_worker import Piece, profile_layers

_FEATURES, _SIDE = len(INDEPENDENT), FEATURE_SIDE
"""Of the pixel features: how many, and positions a side."""


@dataclass(frozen=True)
class Subject:
    """A model to profile."""

    model: str
    wanted: Fingerprint
    partners: tuple[str, ...]
    """The models that it is compared with."""


@stage("profile")
def profile(root: Root, subjects: Sequence[Subject], setting: Setting) -> Outcome:
    """Write what is missing of the models' profiles.

    All in one stage: layers of one grid need the same of the pixel features, whichever model they belong to.

    Raises
    ------
    UserError
        The memory is too small for a layer.
    """
    with turn(root, *(PROFILES.path(subject.model) for subject in subjects)):
        return _profile(root.absolute, subjects, setting)


def _profile(root: Root, subjects: Sequence[Subject], setting: Setting) -> Outcome:
    stores = {subject.model: ProfileStore.open(root, subject.wanted, subject.model) for subject in subjects}
    left = [subject for subject in subjects if (store := stores[subject.model]) is None or not store.complete]
    if not left:
        return "skipped"
    keep_freed_memory()
    models = dict.fromkeys(name for subject in left for name in (subject.model, *subject.partners))
    sides = {name: plan_side(ActivationStore.read(root, name)) for name in models}
    pieces = [
        piece
        for subject in left
        for piece in pieces_of(subject.model, sides[subject.model], [sides[name].units for name in subject.partners])
    ]
    _lay_out(root, [subject for subject in left if stores[subject.model] is None], pieces)
    written = {subject.model: ProfileStore.read_begun(root, subject.model).written() for subject in left}
    images = ActivationStore.read(root, left[0].model).images
    with engine(setting.cluster, setting.threads, root) as where:
        todo = [piece for piece in pieces if not written[piece.model][piece.index]]
        groups, at_once = in_groups(todo, images, setting.memory, where.capacity)
        with track("profile", len(groups)) as advance:
            where.run([part(profile_layers, root, group) for group in groups], advance, at_once)
        saw_images(images)
    for subject in left:
        ProfileStore.read_begun(root, subject.model).finish()
    return "done"


def partner_grids(root: Root, partners: Sequence[str]) -> tuple[Grid, ...]:
    """The distinct grids of some models, sorted."""
    return tuple(sorted({grid for name in partners for grid in ActivationStore.read(root, name).units.grids()}))


def pieces_of(model: str, side: Side, partners: Iterable[Units]) -> list[Piece]:
    """All layers of a model.

    Parameters
    ----------
    partners
        Units of the models that it is compared with.
    """
    grids = sorted({grid for units in partners for grid in units.grids()})
    return [
        Piece(
            model,
            index,
            layer,
            side.block,
            side.itemsizes[layer.name],
            run_length(side.images),
            tuple(dict.fromkeys(common_grid(layer.grid, other) for other in grids)),
        )
        for index, layer in enumerate(side.units.layers)
    ]


def _lay_out(root: Root, subjects: Sequence[Subject], pieces: Sequence[Piece]) -> None:
    """Lay the stores of some models out, with the features' moments on all their common grids."""
    commons = {
        subject.model: tuple(
            dict.fromkeys(common for piece in pieces if piece.model == subject.model for common in piece.commons)
        )
        for subject in subjects
    }
    moments = _feature_moments(root, tuple(dict.fromkeys(common for held in commons.values() for common in held)))
    for subject in subjects:
        store = ActivationStore.read(root, subject.model)
        held = {common: moments[common] for common in commons[subject.model]}
        ProfileStore.create(root, subject.model, subject.wanted, store.units, store.images, held)


def _feature_moments(root: Root, commons: tuple[Grid, ...]) -> dict[Grid, FeatureMoments]:
    """Moments of the pixel features on some grids, over all images."""
    if not commons:
        return {}
    store = FeatureStore.read(root)
    images, features, side = store.shape
    sums = FeatureSums(side, features, commons)
    for span in ranges(images, store.block):
        sums.add(torch.from_numpy(store.features(span)).float())
    return sums.moments()


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
    read = max(piece.read for piece in pieces)
    sums = step = 0
    for piece in pieces:
        layer, (height, width) = piece.layer, piece.layer.grid
        positions = min(height, SIDE) * min(width, SIDE)
        small = min(height, SHAPE_SIDE) * min(width, SHAPE_SIDE)
        sums += layer.channels * (8 * positions**2 + 4 * images + 4 * small * min(images, SHAPE_IMAGES))
        sums += 8 * layer.values
        stored = layer.values * piece.itemsize
        held = stored * (piece.read + 2 * piece.block * min(DECODED_AT_ONCE, piece.read // piece.block))
        maps = int(16 * piece.step * layer.values * min(1.0, CHANNELS / layer.channels))
        # At its end a layer's sums are centred and packed, in copies.
        finish = 2 * 8 * layer.channels * positions**2
        step = max(step, held + maps, finish)
    ways = {(piece.layer.grid, piece.commons) for piece in pieces}
    rows = sum(min(grid[0], _SIDE) * min(grid[1], _SIDE) * len(commons) for grid, commons in ways)
    # Features as stored and as float32, what is made of them, and the pieces that this is put together from.
    return sums + step + 4 * read * _FEATURES * (2 * rows + 2 * _SIDE**2)
