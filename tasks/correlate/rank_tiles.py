"""A tile of rank correlations: one task that goes through all images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rosetta.mining.plan import Method, PairPlan, Tile, ranges
from rosetta.mining.rank.ranks import Ranked
from rosetta.mining.rank.spearman import spearman
from tasks.cluster.engine import part_done
from tasks.correlate.tiles import Half, Job, halves, set_up, write_panels


@dataclass(frozen=True)
class _Block(Mapping[str, Tensor]):
    """The maps of some images, each layer read when it is asked for: ranking takes one grid's layers at a time."""

    half: Half
    images: slice

    def __getitem__(self, layer: str) -> Tensor:
        for found, channels in self.half.parts():
            if found.name == layer:
                return torch.from_numpy(self.half.side.store.maps(layer, self.images, channels))
        raise KeyError(layer)

    def __iter__(self) -> Iterator[str]:
        return (layer.name for layer in self.half.units.layers)

    def __len__(self) -> int:
        return len(self.half.units.layers)


def _blocks(half: Half, plan: PairPlan) -> list[_Block]:
    return [_Block(half, images) for images in ranges(plan.images, plan.step_images)]


def rank_tile(job: Job, tile: Tile, plan: PairPlan) -> None:
    """Rank a tile's maps, correlate the ranks and write its panels."""
    set_up(job)
    a, b = halves(job, tile)
    rows = Ranked(a.units, partial(_blocks, a, plan), a.constant)
    columns = rows if a is b else Ranked(b.units, partial(_blocks, b, plan), b.constant)
    found = spearman(rows, columns, images=plan.images, exact=plan.method is Method.EXACT)
    write_panels(job, tile, lambda rows, columns: found[rows, columns])
    part_done()
