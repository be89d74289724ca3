"""Maps of the atlas out of the activation stores, model by model: of concepts, of images and of cards."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.view.atlas.maps import SIDE, SMALL, encode, grid_within
from rosetta.view.atlas.scatter import draw
from rosetta.view.atlas.script import number, numbers, put
from rosetta.view.atlas.sheets import THUMB
from tasks.atlas_gather import Look, Tiles, Values, grids_of, show
from tasks.atlas_ranks import Rankings
from tasks.atlas_run import AtlasRun
from tasks.progress import track

MAPPED = 200
"""Concepts whose maps an image's file holds, the strongest."""

Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class ConceptMaps:
    """Maps and sampled values of every concept's best neuron."""

    run: AtlasRun
    images: tuple[Index, ...]
    """By concept: the images of its rankings, each once."""
    tiles: tuple[dict[tuple[int, int], npt.NDArray[np.uint8]], ...]
    """By model: by concept and image, the map."""
    values: dict[tuple[int, int], npt.NDArray[np.float64]]
    """By concept and model: (point, 2) values of the anchor's unit and of the model's."""

    def maps(self, concept: int) -> dict[str, Any]:
        """What a concept's file says under `maps`."""
        units = self.run.first[concept].tolist()
        grids, low, high = [], [], []
        for model, unit in enumerate(units):
            grid = grids_of(self.run.units[model])[unit] if unit >= 0 else None
            grids.append(None if grid is None else list(grid_within((int(grid[0]), int(grid[1])), SIDE)))
            start, full = self.run.scale(model, np.array(unit)) if unit >= 0 else (np.nan, np.nan)
            low.append(number(float(start)))
            high.append(number(float(full)))
        rows = {
            str(image): [
                encode(self.tiles[model][concept, image].tobytes()) if unit >= 0 else None
                for model, unit in enumerate(units)
            ]
            for image in self.images[concept].tolist()
        }
        return {"grid": grids, "low": low, "high": high, **rows}

    def scatter(self, concept: int) -> dict[str, Any]:
        """What a concept's file says under `scatter`."""
        models = range(len(self.run.models))
        return {str(model): numbers(self.values[concept, model]) for model in models if (concept, model) in self.values}


@dataclass(frozen=True)
class ImageMaps:
    """Maps of the concepts that are strongest in each image."""

    order: Index
    """(shown, concept) concepts by falling strength."""
    tiles: dict[int, npt.NDArray[np.uint8]]
    """By place in `order`, cut to MAPPED columns and ravelled: the map of the concept's best anchor unit."""


@dataclass(frozen=True)
class Gathered:
    """All that activation stores have to tell."""

    concepts: ConceptMaps
    images: ImageMaps
    cards: dict[int, npt.NDArray[np.uint8]]
    """By concept: the map on its card."""


def gather(run: AtlasRun, rankings: Rankings) -> Gathered:
    """Walk through all stores, one model after another; each chunk is read once.

    Holds a byte a position of every map, at most SIDE² of them for each concept, model and image of its rankings.
    """
    images = tuple(
        np.array(list(dict.fromkeys(both)), dtype=np.int32)
        for both in np.concatenate([rankings.activation, rankings.agreement], axis=1).tolist()
    )
    order = np.argsort(-rankings.strength, axis=1, kind="stable").astype(np.int32)
    best, anchor = run.first[:, run.anchor], run.anchor
    own = _Wishes(run, anchor)
    of_images = own.tiles(np.repeat(rankings.shown, min(MAPPED, run.concepts)), best[order[:, :MAPPED].ravel()], SMALL)
    of_cards = own.tiles(rankings.activation[:, 0], best, THUMB // 2)
    points = {
        (concept, model): draw(
            (concept, model), run.pictures.count, _grid(run, anchor, best[concept]), _grid(run, model, unit)
        )
        for (concept, model), unit in np.ndenumerate(run.first)
        if unit >= 0 and model != anchor
    }
    anchored = Values.of(np.array([best[concept] for concept, _ in points], dtype=np.int32), list(points.values()))
    tiles, values = [], {}
    with track("maps", len(run.models)) as advance:
        for model, store in enumerate(run.stores):
            concepts = np.nonzero(run.first[:, model] >= 0)[0].tolist()
            counts = [len(images[concept]) for concept in concepts]
            units = np.repeat(run.first[concepts, model], counts)
            maps = _Wishes(run, model).tiles(_joined([images[concept] for concept in concepts]), units, SIDE)
            pairs = [pair for pair in points if pair[1] == model]
            others = Values.of(run.first[[pair[0] for pair in pairs], model], [points[pair] for pair in pairs])
            looks: list[Look] = [maps, others]
            if model == anchor:
                looks += [of_images, of_cards, anchored]
            show(store, looks)
            keys = zip(np.repeat(concepts, counts).tolist(), maps.image.tolist(), strict=True)
            tiles.append({key: maps.found[wish] for wish, key in enumerate(keys)})
            for pair, found in zip(
                pairs, _split(others.found, [len(points[pair].image) for pair in pairs]), strict=True
            ):
                values[pair] = found
            advance(1)
    of_anchor = dict(zip(points, _split(anchored.found, [len(of.image) for of in points.values()]), strict=True))
    both = {pair: np.stack([of_anchor[pair], found], axis=1) for pair, found in values.items()}
    return Gathered(ConceptMaps(run, images, tuple(tiles), both), ImageMaps(order, of_images.found), of_cards.found)


def image_files(run: AtlasRun, rankings: Rankings, maps: ImageMaps) -> Iterator[tuple[str, bytes]]:
    """`data/image/<i>.js` of the images that are shown."""
    mapped = min(MAPPED, run.concepts)
    sources = run.pictures.sources()
    classes = run.pictures.classes(slice(None))
    for row, image in enumerate(rankings.shown.tolist()):
        tiles = [maps.tiles[row * mapped + column] for column in range(mapped)]
        value = {
            "concept": maps.order[row].tolist(),
            "strength": numbers(rankings.strength[row, maps.order[row]]),
            "grid": [list(tile.shape) for tile in tiles],
            "maps": [encode(tile.tobytes()) for tile in tiles],
            "source": None if sources is None else sources[image].rpartition("/")[2],
            "class": None if classes is None else int(classes[image]),
        }
        yield f"data/image/{image}.js", put(f"image/{image}", value)


@dataclass(frozen=True)
class _Wishes:
    run: AtlasRun
    model: int

    def tiles(self, image: Index, unit: Index, most: int) -> Tiles:
        return Tiles(image, unit, *self.run.scale(self.model, unit), most)


def _grid(run: AtlasRun, model: int, unit: Any) -> tuple[int, int]:
    height, width = grids_of(run.units[model])[unit]
    return int(height), int(width)


def _joined(parts: list[Index]) -> Index:
    return np.concatenate([np.empty(0, dtype=np.int32), *parts])


def _split(values: npt.NDArray[np.float64], counts: list[int]) -> list[npt.NDArray[np.float64]]:
    return np.split(values, np.cumsum(counts)[:-1]) if counts else []
