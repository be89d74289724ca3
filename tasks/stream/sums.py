"""All sums of a pass on one worker, and the work of adding a block to them."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rosetta.mining.exact import Scales, quantum
from rosetta.mining.factors import PANEL, HalvedFactors, halved_factors
from rosetta.mining.grid import product_grid
from rosetta.mining.halves import Mask
from rosetta.mining.moments import Accumulator, factor_dtype, segment_order
from rosetta.mining.room import Room
from rosetta.mining.split import Split
from rosetta.mining.streamed.features import StreamedFeatures
from rosetta.mining.streamed.layer import StreamedLayer, scale_of
from rosetta.mining.trust.pixels import FeatureProducts, FeatureSpan
from rosetta.units import Grid, Units
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts.activations import ActivationStore
from storage.artifacts.features import SIDE
from tasks.correlate.reading import PairTile, SideKey
from tasks.correlate.tiles import set_up_precision
from tasks.dump.maps import not_finite
from tasks.stream.checkpoint import Checkpoint
from tasks.stream.job import Job

Maps = Mapping[str, Mapping[str, Tensor]]
"""By model and layer: (image, channel, y, x) float32 of a block, on the device of the sums."""


class Submit(Protocol):
    """Gives work to threads."""

    def __call__(self, work: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """See :meth:`concurrent.futures.Executor.submit`."""
        ...


class Sums:
    """What a pass sums up: the layers of some models, and the products of some tiles."""

    def __init__(self, job: Job, device: torch.device) -> None:
        """Begin at zero, about what the maps that are kept say of each unit.

        Raises
        ------
        FileNotFoundError
            A store of maps is not the one that the job is about.
        """
        self._job, self._device = job, device
        self._side_rooms: dict[SideKey, Room] = {}  # of their own: sides are worked on at once
        stores = {name: _store(job, name) for name in job.stores}
        self.units = {name: store.units for name, store in stores.items()}
        self._shift = {name: store.mean().astype(np.float32) for name, store in stores.items()}
        self._scale = {name: scale_of(store.std()) for name, store in stores.items()}
        self.layers = {
            (name, layer.name): self._layer(name, index)
            for name in job.profiled
            for index, layer in enumerate(self.units[name].layers)
        }
        self._products = {
            key: FeatureProducts(sums.layer.grid, SIDE, sums.commons, device) for key, sums in self.layers.items()
        }
        self._rooms = {key: Room() for key in self.layers}
        self.features = self._feature_sums() if job.profiled else None
        self.tiles = [tuple(self._accumulator(tile) for _ in range(2)) for tile in job.tiles]

    def _layer(self, model: str, index: int) -> StreamedLayer:
        layer, span = list(self.units[model].spans())[index]
        about = tuple(
            torch.from_numpy(values[span]).to(self._device) for values in (self._shift[model], self._scale[model])
        )
        commons = self._job.commons(model, layer.grid)
        return StreamedLayer(layer, self._job.images, self._job.block, commons, len(INDEPENDENT), (about[0], about[1]))

    def _feature_sums(self) -> StreamedFeatures:
        commons = dict.fromkeys(common for sums in self.layers.values() for common in sums.commons)
        return StreamedFeatures(SIDE, len(INDEPENDENT), tuple(commons), self._job.images, self._device)

    def _accumulator(self, tile: PairTile) -> Accumulator:
        a, b = (self.units[model].cut(span) for model, span in zip((tile.a, tile.b), tile.spans, strict=True))
        above = (tile.spans[0].start // PANEL, tile.spans[1].start // PANEL) if tile.a == tile.b else None
        return Accumulator(a, b, device=self._device, above=above, scales=self._scales(tile, a, b))

    def _scales(self, tile: PairTile, a: Units, b: Units) -> Scales:
        of_a, of_b = (
            torch.from_numpy(self._scale[model][span].astype(np.float64)[segment_order(units)]).to(self._device)
            for model, span, units in zip((tile.a, tile.b), tile.spans, (a, b), strict=True)
        )
        positions = max(int(np.prod(product_grid(one, other))) for one in a.grids() for other in b.grids())
        return Scales(of_a, of_b, quantum(self._job.images * positions))

    def add(self, block: int, first: Mask, maps: Maps, features: FeatureSpan, submit: Submit) -> list[Future[Any]]:
        """Begin to add a block; what comes back fails where a value is not finite.

        Parameters
        ----------
        first
            (image,) whether each image of the block belongs to the first half.
        """
        begin, split = self._job.span(block).start, Split.of(first)
        if split.order is not None:
            split = replace(split, order=split.order.to(self._device))
        made: dict[SideKey, Future[HalvedFactors]] = {}
        for key, grids in self._sides.items():
            made[key] = submit(self._factors, key, grids, maps, split)
        work = [submit(self._add_layer, key, begin, first, maps, features) for key in self.layers]
        if self.features is not None:
            work.append(submit(self.features.add, features))
        for tile, halves in zip(self._job.tiles, self.tiles, strict=True):
            work.append(submit(self._multiply, halves, *(made[key] for key in tile.keys)))
        return [*made.values(), *work]

    @cached_property
    def _sides(self) -> dict[SideKey, tuple[Grid, ...]]:
        """Every side of the tiles once, with the distinct grids that it meets."""
        met: dict[SideKey, dict[Grid, None]] = {}
        for tile in self._job.tiles:
            for own, other in (tile.keys, tile.keys[::-1]):
                grids = self.units[other[0]].cut(slice(*other[1:])).grids()
                met.setdefault(own, {}).update(dict.fromkeys(grids))
        return {key: tuple(grids) for key, grids in met.items()}

    def _factors(self, key: SideKey, grids: tuple[Grid, ...], maps: Maps, split: Split) -> HalvedFactors:
        model, start, stop = key
        cut = self.units[model].restrict(slice(start, stop))
        return halved_factors(
            self.units[model].cut(slice(start, stop)),
            {layer.name: maps[model][layer.name][:, channels] for layer, channels in cut},
            self._shift[model][start:stop],
            grids,
            split,
            device=self._device,
            dtype=factor_dtype(self._job.precision),
            room=self._side_rooms.setdefault(key, Room()),
            side=key,
            summed=False,
        )

    def _add_layer(self, key: tuple[str, str], begin: int, first: Mask, maps: Maps, features: FeatureSpan) -> None:
        model, layer = key
        own = maps[model][layer]
        if not self.layers[key].add(begin, first, own, self._products[key], features, self._rooms[key]):
            bad = ~torch.isfinite(own).flatten(2).all(dim=2)
            raise not_finite(bad, layer, model, begin)

    def _multiply(self, halves: tuple[Accumulator, ...], a: Future[HalvedFactors], b: Future[HalvedFactors]) -> None:
        """Add the products of a block. No thread waits for ever: factors are begun before products are."""
        set_up_precision(self._job.precision)
        for sums, of_a, of_b in zip(halves, a.result().halves, b.result().halves, strict=True):
            if of_a is not None and of_b is not None:
                sums.add(of_a, of_b)
                sums.settle()
        set_up_precision("float32")

    def state(self) -> dict[str, Tensor]:
        """All sums by name, to be saved after a block."""
        found = {
            f"{model}/{self._index(model, layer)}/{name}": values
            for (model, layer), sums in self.layers.items()
            for name, values in sums.state.items()
        }
        if self.features is not None:
            found |= {f"features/{name}": values for name, values in self.features.state.items()}
        for number, halves in enumerate(self.tiles):
            found |= {f"tile/{number}/{half}": sums.cross for half, sums in enumerate(halves)}
        return found

    def merge(self, checkpoint: Checkpoint) -> None:
        """Add what was saved."""
        for (model, layer), sums in self.layers.items():
            for name in sums.state:
                sums.merge(name, checkpoint.values(f"{model}/{self._index(model, layer)}/{name}"))
        if self.features is not None:
            for name in self.features.state:
                self.features.merge(name, checkpoint.values(f"features/{name}"))
        for number, halves in enumerate(self.tiles):
            for half, products in enumerate(halves):
                products.cross.add_(checkpoint.values(f"tile/{number}/{half}").to(products.cross.device))

    def _index(self, model: str, layer: str) -> int:
        return [one.name for one in self.units[model].layers].index(layer)


def _store(job: Job, model: str) -> ActivationStore:
    store = ActivationStore.read(job.root, model)
    if store.digest != job.stores[model]:
        raise FileNotFoundError(
            f"activations of {model} under {job.root.shown} are not those that this work began with"
        )
    return store
