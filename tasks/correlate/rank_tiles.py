"""A tile of rank correlations: one task that goes through all images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rosetta.mining.plan import Method, PairPlan, ranges
from rosetta.mining.rank.ranks import Ranked
from rosetta.mining.rank.spearman import spearman
from tasks.cluster.engine import part_done
from tasks.correlate.reading import Job, PairTile, TileSide, sides_of
from tasks.correlate.tiles import set_up, write_panels


@dataclass(frozen=True)
class _Block(Mapping[str, Tensor]):
    """The maps of some images, each layer read when it is asked for: ranking takes one grid's layers at a time."""

    side: TileSide
    images: slice

    def __getitem__(self, layer: str) -> Tensor:
        for found, channels in self.side.parts():
            if found.name == layer:
                return torch.from_numpy(self.side.model.store.maps(layer, self.images, channels))
        raise KeyError(layer)

    def __iter__(self) -> Iterator[str]:
        return (layer.name for layer in self.side.units.layers)

    def __len__(self) -> int:
        return len(self.side.units.layers)


def _blocks(side: TileSide, plan: PairPlan) -> list[_Block]:
    return [_Block(side, images) for images in ranges(plan.images, plan.step_images)]


def rank_tile(job: Job, tile: PairTile, plan: PairPlan) -> None:
    """Rank a tile's maps, correlate the ranks and write its panels."""
    set_up(job)
    a, b = sides_of(job, tile)
    rows = Ranked(a.units, partial(_blocks, a, plan), a.constant)
    columns = rows if len(set(tile.keys)) == 1 else Ranked(b.units, partial(_blocks, b, plan), b.constant)
    found = spearman(rows, columns, images=plan.images, exact=plan.method is Method.EXACT)
    write_panels(job.root, tile, lambda rows, columns: found[rows, columns])
    part_done()
