"""Maps of the atlas out of the activation stores, model by model: of concepts, of images and of cards."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.view.atlas.maps import encode, side
from rosetta.view.atlas.scatter import POINTS, draw
from rosetta.view.atlas.script import numbers, put
from rosetta.view.atlas.sheets import THUMB
from tasks.report.atlas.map_reader import Look, Tiles, Values, show
from tasks.report.atlas.rankings import Rankings
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.unit_maps import UnitMaps
from tasks.stage.progress import track

MAPPED = 200
"""Concepts whose maps an image's file holds, the strongest."""

Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class ModelMaps:
    """Maps and values of one model's units in the best neurons."""

    tiles: Tiles
    request: Index
    """(concept,) its first map; the others follow by image. −1 where the model has no unit in the neuron."""
    own: Values | None = None
    """Sampled values; None for the anchor."""
    anchor: Values | None = None
    """The anchor's at the same points."""
    pair: Index | None = None
    """(concept,) its index among the pairs of units that were sampled."""


@dataclass(frozen=True)
class ConceptMaps:
    """Maps and sampled values of every concept's best neuron."""

    run: AtlasRun
    images: tuple[list[int], ...]
    """By concept: the images of its rankings, each once."""
    models: dict[str, ModelMaps]
    """In the order of the run."""

    def maps(self, concept: int) -> dict[str, Any]:
        """What a concept's file says under `maps`."""
        mapped = [(maps.tiles, int(maps.request[concept])) for maps in self.models.values()]
        rows = {
            str(image): [
                encode(tiles.tile(request + row).tobytes()) if request >= 0 else None for tiles, request in mapped
            ]
            for row, image in enumerate(self.images[concept])
        }
        return {
            "grid": [tiles.grid[request].tolist() if request >= 0 else None for tiles, request in mapped],
            "low": numbers(np.array([tiles.low[request] if request >= 0 else np.nan for tiles, request in mapped])),
            "high": numbers(np.array([tiles.high[request] if request >= 0 else np.nan for tiles, request in mapped])),
            **rows,
        }

    def scatter(self, concept: int) -> dict[str, Any]:
        """What a concept's file says under `scatter`."""
        points = {}
        for model, maps in self.models.items():
            if maps.request[concept] >= 0 and maps.own and maps.anchor and maps.pair is not None:
                pair = int(maps.pair[concept])
                both = [values.values[pair * POINTS : (pair + 1) * POINTS] for values in (maps.anchor, maps.own)]
                points[str(self.run.index[model])] = numbers(np.stack(both, axis=1))
        return points


@dataclass(frozen=True)
class Gathered:
    """All that is read from the activation stores."""

    concepts: ConceptMaps
    order: Index
    """(shown, concept) concepts by falling strength in each image that is shown."""
    images: Tiles
    """A map of the concept's best anchor unit for each entry of `order`, cut to MAPPED columns and ravelled."""
    cards: Tiles
    """(concept,) the map on each card."""


def gather(run: AtlasRun, rankings: Rankings, units: UnitMaps) -> Gathered:
    """Walk through all stores, one model after another; each chunk is read once.

    Holds a byte a position of every map of concepts, of images and of cards, see :func:`rosetta.view.atlas.maps.side`,
    and of units, whose maps and histograms it fills, see :data:`tasks.report.atlas.unit_maps.ROOM`; and about 40 bytes
    for each map of a unit and for each sampled point.
    """
    images = tuple(
        list(dict.fromkeys(both)) for both in np.concatenate([rankings.activation, rankings.agreement], axis=1).tolist()
    )
    order = np.argsort(-rankings.strength, axis=1, kind="stable").astype(np.int32)
    best, mapped = run.first[run.anchor], min(MAPPED, run.concepts)
    of_images = _tiles(run, run.anchor, np.repeat(rankings.shown, mapped), best[order[:, :mapped].ravel()])
    of_cards = _tiles(run, run.anchor, rankings.activation[:, 0], best, THUMB // 2)
    models = {model: _requests(run, model, images) for model in run.models}
    with track("maps", len(models)) as advance:
        for model, maps in models.items():
            looks: list[Look] = [maps.tiles, *units.tiles(model)]
            if maps.own:
                looks.append(maps.own)
            if model == run.anchor:
                looks += [of_images, of_cards, *(other.anchor for other in models.values() if other.anchor)]
            show(run.stores[model], looks, units.census[model])
            advance(1)
    return Gathered(ConceptMaps(run, images, models), order, of_images, of_cards)


def _requests(run: AtlasRun, model: str, images: tuple[list[int], ...]) -> ModelMaps:
    """What the files of concepts need of a model."""
    units = run.first[model]
    concepts = np.nonzero(units >= 0)[0]
    counts = np.array([len(images[concept]) for concept in concepts], dtype=np.int32)
    shown = np.array([image for concept in concepts for image in images[concept]], dtype=np.int32)
    tiles = _tiles(run, model, shown, np.repeat(units[concepts], counts))
    request, pair = np.full((2, run.concepts), -1, dtype=np.int32)
    request[concepts] = np.cumsum(counts) - counts
    if model == run.anchor:
        return ModelMaps(tiles, request)
    pair[concepts] = np.arange(len(concepts))
    anchors = run.first[run.anchor][concepts]
    grids = run.grid(run.anchor, anchors), run.grid(model, units[concepts])
    points = draw(run.index[model], run.pictures.count, *grids)
    return ModelMaps(tiles, request, Values.of(units[concepts], points), Values.of(anchors, points), pair)


def _tiles(run: AtlasRun, model: str, image: Index, unit: Index, most: int | None = None) -> Tiles:
    """Room for maps of at most so many positions a side; for as many as there is room for, if left out."""
    native = run.grid(model, unit)
    return Tiles.of(image, unit, run.scale(model, unit), native, most or side(native))


def image_files(run: AtlasRun, rankings: Rankings, gathered: Gathered) -> Iterator[tuple[str, bytes]]:
    """`data/image/<i>.js` of the images that are shown."""
    mapped = min(MAPPED, run.concepts)
    sources = run.pictures.sources()
    classes = run.pictures.classes(slice(None))
    for row, image in enumerate(rankings.shown.tolist()):
        order = gathered.order[row]
        tiles = [gathered.images.tile(row * mapped + column) for column in range(mapped)]
        value = {
            "concept": order.tolist(),
            "strength": numbers(rankings.strength[row, order]),
            "grid": [list(tile.shape) for tile in tiles],
            "maps": [encode(tile.tobytes()) for tile in tiles],
            "source": None if sources is None else sources[image],
            "class": None if classes is None else int(classes[image]),
        }
        yield f"data/image/{image}.js", put(f"image/{image}", value)
