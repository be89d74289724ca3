"""Files of the atlas about where models look: what `rosetta explain` found on each image."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetta.mining.explained import likest_first
from rosetta.recipe import Recipe
from rosetta.view.atlas.maps import encode, quantise, side
from rosetta.view.atlas.script import number, put
from storage.artifacts.catalogue import REPORT
from storage.artifacts.explanations import ImageExplanation
from storage.filesystem.root import Root
from tasks.explain.stored import current_stores
from tasks.report.atlas.map_reader import Tiles, show
from tasks.report.atlas.run import AtlasRun

SHOWN = 6
"""Concepts whose maps are shown beside a Grad-CAM map, those most like it."""


@dataclass(frozen=True)
class _Entry:
    """One Grad-CAM map, and the concepts most like it."""

    image: int
    """Its place in the stores."""
    model: str
    layer: str
    found: ImageExplanation
    concepts: list[tuple[int, int, float, float]]
    """Concept, the unit of the model that stands for it, correlation, weight."""
    others: int
    """How many more concepts have a weight."""


@dataclass(frozen=True)
class ExplainedImages:
    """What is known of where models look."""

    run: AtlasRun
    entries: dict[int, list[_Entry]]
    """By image, rising."""

    @classmethod
    def of(cls, run: AtlasRun) -> "ExplainedImages":
        """All that was explained of the dictionary as it is; of the same model, layer and class only once."""
        found: dict[int, dict[tuple[str, str, int], _Entry]] = defaultdict(dict)
        for store in current_stores(run):
            model, layer = str(store.attributes["model"]), str(store.attributes["layer"])
            concepts, units = store.concepts, store.concept_units
            places = np.searchsorted(run.image_indices, store.images)
            for place, one in zip(places.tolist(), store.found(), strict=True):
                order = likest_first(one.pearson, one.weight)[:SHOWN]
                rows = [
                    (int(concepts[row]), int(units[row]), float(one.pearson[row]), float(one.weight[row]))
                    for row in order
                ]
                others = int((one.weight > 0).sum() - (one.weight[order] > 0).sum())
                found[place][model, layer, one.index] = _Entry(place, model, layer, one, rows, others)
        return cls(run, {place: list(found[place].values()) for place in sorted(found)})

    def __len__(self) -> int:
        """How many files there are."""
        return len(self.entries) + 1

    def files(self) -> Iterator[tuple[str, bytes]]:
        """`data/explained/<i>.js` of the images that models were asked about, then the list of them."""
        maps = self._maps()
        for image, entries in self.entries.items():
            yield f"data/explained/{image}.js", put(f"explained/{image}", [self._value(one, maps) for one in entries])
        yield "data/explained.js", put("explained", {"images": list(self.entries)})

    def _value(self, one: _Entry, maps: "_Maps") -> dict[str, Any]:
        found = one.found
        top = np.array([float(found.cam.max())])
        return {
            "model": self.run.index[one.model],
            "layer": one.layer,
            "class": found.index,
            "label": found.label,
            "probability": number(found.probability),
            "share": number(found.share),
            "random_share": number(found.random_share),
            "grid": list(found.cam.shape),
            "map": encode(quantise(found.cam[None], np.zeros(1), top).tobytes()),
            "concepts": [
                {
                    "id": concept,
                    "unit": unit,
                    "pearson": number(pearson),
                    "weight": number(weight),
                    **maps[one.model][one.image, unit],
                }
                for concept, unit, pearson, weight in one.concepts
            ],
            "others": one.others,
        }

    def _maps(self) -> "_Maps":
        """The maps of the concepts that are shown, each chunk of the stores read once."""
        asked: dict[str, dict[tuple[int, int], None]] = defaultdict(dict)
        for entries in self.entries.values():
            for one in entries:
                asked[one.model] |= {(one.image, unit): None for _, unit, _, _ in one.concepts}
        found: _Maps = {}
        for model, pairs in asked.items():
            image, unit = np.array(list(pairs), np.int32).reshape(-1, 2).T
            native = self.run.grid(model, unit)
            tiles = Tiles.of(image, unit, self.run.scale(model, unit), native, side(native))
            show(self.run.stores[model], [tiles])
            found[model] = {
                pair: {"grid": tiles.grid[row].tolist(), "map": encode(tiles.tile(row).tobytes())}
                for row, pair in enumerate(pairs)
            }
        return found


_Maps = dict[str, dict[tuple[int, int], dict[str, Any]]]
"""By model, image and unit: the grid and the map."""


def write_explained(root: Root, recipe: Recipe) -> None:
    """Write what the page shows of where models look, and nothing else of it."""
    folder = Root(f"{root.url}/{REPORT.path()}")
    for path, content in ExplainedImages.of(AtlasRun.of(root, recipe)).files():
        folder.write_bytes(path, content)
