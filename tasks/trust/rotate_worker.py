"""What a worker does to rotate the layers of a model: a part of a layer at a time, with all units of another model.

Everything here runs wherever the graph runs (:mod:`tasks.cluster.engine`), opens its stores by name, and may run twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from rosetta.mining.factors import PANEL
from rosetta.mining.grid import common_grid
from rosetta.mining.groups import Pair
from rosetta.mining.plan import ranges
from rosetta.mining.trust.rotation import at_same_rank, best_alone, rotated_best, rotation_bytes
from rosetta.units import Layer, Units
from storage.artifacts import tables
from storage.artifacts.catalogue import EXCESS
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.nearest import neighbours, pair_store
from storage.filesystem.root import Root
from tasks.cluster.engine import part_done
from tasks.stage.memory import return_freed_memory
from tasks.trust.panel_sides import model_profile

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Panel = tuple[Float32, npt.NDArray[np.intp]]
_HELD = 64 * 2**20
"""Bytes of correlations of a part that are kept where they are asked for again."""


@dataclass(frozen=True)
class Rotated:
    """A part of a layer that is rotated, and with what it is correlated."""

    pair: Pair
    layer: Layer
    """The whole layer."""
    units: slice
    """Of model A: the part."""
    channels: slice
    """The same in the layer."""
    units_b: Units
    rotations: int
    seed: tuple[int, ...]
    """Of the part, which all pairs have in common."""
    profile: str
    """Fingerprint of the profile of A."""

    @property
    def bytes(self) -> int:
        """What a task holds at most."""
        count = self.channels.stop - self.channels.start
        return rotation_bytes(count) + 4 * count * PANEL * 3 + min(_HELD, 4 * count * len(self.units_b))


@dataclass(frozen=True)
class Bests:
    """What a part gives."""

    best: Float32
    """(unit,) the best correlation of each unit."""
    alone: Float64
    """(unit,) how far it is alone in that."""
    rotated: Float32
    """(rotation, unit) the best correlations of the rotated units."""


def rotate_part(root: Root, part: Rotated) -> Bests:
    """Rotate a part of a layer; a task that counts as progress."""
    return_freed_memory()
    torch.set_num_threads(1)
    own, with_b = (pair_store(root, part.pair[0], model) for model in part.pair)
    assert isinstance(own, CorrelationStore)
    assert isinstance(with_b, CorrelationStore)
    profile = model_profile(root, part.pair[0], part.profile)
    commons = profile.store.commons(part.layer.name)
    on = [commons.index(common_grid(part.layer.grid, grid)) for grid in part.units_b.grids()]
    std = profile.array(part.layer.name, "std_on")[part.channels][:, on]
    panels, among = _Panels(with_b, part), own.part(part.units, part.units)
    best, alone = best_alone(among, panels)
    rotated = rotated_best(among, std, panels, part.rotations, part.seed)
    part_done()
    return Bests(best, alone, rotated)


class _Panels:
    """The correlations of a part with the other model, as often as they are asked for; small ones are read once."""

    def __init__(self, store: CorrelationStore, part: Rotated) -> None:
        self._store, self._rows, self._grids = store, part.units, part.units_b.grid_index()
        small = 4 * (part.units.stop - part.units.start) * len(self._grids) <= _HELD
        self._held: Sequence[Panel] | None = list(self._read()) if small else None

    def __call__(self) -> Iterator[Panel]:
        return self._read() if self._held is None else iter(self._held)

    def _read(self) -> Iterator[Panel]:
        for columns in ranges(len(self._grids), PANEL):
            yield self._store.part(self._rows, columns), self._grids[columns]


def write_excess(
    root: Root, pair: Pair, fingerprint: Fingerprint, units: Mapping[str, Units], parts: Sequence[Sequence[Bests]]
) -> None:
    """Write the table of a pair.

    Parameters
    ----------
    units
        Of both models.
    parts
        By layer: what its parts gave.
    """
    every = [part for layer in parts for part in layer]
    best, alone = (np.concatenate([getattr(part, name) for part in every]) for name in ("best", "alone"))
    rotated = np.concatenate(
        [
            at_same_rank(
                np.concatenate([part.best for part in layer]), np.concatenate([part.rotated for part in layer], axis=1)
            )
            for layer in parts
        ]
    )
    _write(root, pair, fingerprint, units, best, alone, rotated)


def write_unrotated(root: Root, pair: Pair, fingerprint: Fingerprint, units: Mapping[str, Units]) -> None:
    """Write the table of a pair whose layers cannot be rotated."""
    best = neighbours(root, *pair, 1)[0].pearson[:, 0]
    nothing = np.full(len(best), np.nan)
    _write(root, pair, fingerprint, units, best, nothing, nothing)


def _write(
    root: Root,
    pair: Pair,
    fingerprint: Fingerprint,
    units: Mapping[str, Units],
    best: Float32,
    alone: Float64,
    rotated: Float64,
) -> None:
    own = units[pair[0]]
    frame = pd.DataFrame(
        {
            "model_a": pd.Series([pair[0]] * len(own), dtype="str"),
            "unit_a": np.arange(len(own), dtype=np.int32),
            "layer_a": pd.Series(own.layer_names(), dtype="str"),
            "channel_a": own.channels(),
            "model_b": pd.Series([pair[1]] * len(own), dtype="str"),
            "pearson_best": best,
            "pearson_rotated": rotated,
            "excess": best.astype(np.float64) - rotated,
            "alone": alone,
        }
    )
    tables.write(root, EXCESS.path(*pair), frame, fingerprint, tables.categories_of(units))
