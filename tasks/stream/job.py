"""What a worker needs to know to stream images: it travels with every task."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from rosetta.mining.grid import common_grid
from rosetta.mining.halves import Mask
from rosetta.mining.moments import Precision
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Images
from rosetta.units import Grid
from storage.filesystem.root import Root
from tasks.correlate.reading import PairTile


@dataclass(frozen=True)
class Job:
    """One pass over the images of a run."""

    root: Root
    number: int
    """Of the pass."""
    fingerprint: str
    """Of all that its sums depend on."""
    models: tuple[ModelSpec, ...]
    """Those that it needs, a generator first."""
    weights: Mapping[str, str]
    """By model: the SHA-256 of its weights."""
    stores: Mapping[str, str]
    """By model: the fingerprint of its activation store, which knows units, means and deviations."""
    grids: Mapping[str, tuple[Grid, ...]]
    """By model: the distinct grids of all models that it is compared with."""
    profiled: tuple[str, ...]
    """Models of whose layers sums are taken."""
    tiles: tuple[PairTile, ...]
    """What is multiplied."""
    images: int
    """Of the run."""
    block: int
    """Images of a block."""
    first: Mask = field(compare=False, repr=False)
    """(image of the run,) whether each belongs to the first half."""
    source: Images
    """Where images come from."""
    device: str
    """`auto` is what the worker has."""
    precision: Precision
    threads: int
    """Of a worker."""
    checkpoint_seconds: float

    def span(self, block: int) -> slice:
        """The images of a block."""
        return slice(block * self.block, min((block + 1) * self.block, self.images))

    def commons(self, model: str, grid: Grid) -> tuple[Grid, ...]:
        """The common grids of a layer with all that it is compared with."""
        return tuple(dict.fromkeys(common_grid(grid, other) for other in sorted(self.grids[model])))

    @property
    def torch_device(self) -> torch.device:
        """The device of the worker that asks."""
        found = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(found if self.device == "auto" else self.device)
