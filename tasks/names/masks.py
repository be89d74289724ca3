"""Names from masks: `tables/masks.parquet`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.errors import UserError
from rosetta.mining.plan import ranges
from rosetta.naming.dissection import Float32, Overlaps, Thresholds, units_per_label
from rosetta.naming.settings import LEAST_IOU, Labelling
from rosetta.zoo.device import resolve_device
from rosetta.zoo.segmentation import Segmenter, is_segmenter, load_segmenter
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import MASKS
from storage.artifacts.dictionary import dictionary_of
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.run.data import RunData
from storage.run.layer_maps import read_maps
from tasks.names.asked_file import content_of
from tasks.names.legend import Legend
from tasks.names.mask_files import FolderMasks, folder_masks
from tasks.names.mask_models import ModelMasks, model_masks
from tasks.names.subjects import concepts, open_with_concepts, units
from tasks.stage.progress import track

TOP = 5
"""Labels that are kept of a unit."""
_PART = 8
"""A block of values takes such a part of the memory of a worker, at most."""

artifacts = (MASKS,)
"""What is written."""


@dataclass(frozen=True)
class MaskPlan:
    """Names of a run from masks, with all that they need."""

    run: RunData
    settings: Labelling
    masks: FolderMasks | ModelMasks

    @property
    def legend(self) -> Legend:
        """Which labels there are."""
        return self.masks.legend

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What the names depend on."""
        legend = repr((self.legend.coloured, self.legend.values, self.legend.numbers, self.legend.labels))
        return fingerprint(
            "masks",
            dictionary=dictionary_of(self.run.root),
            quantile=self.settings.quantile,
            legend_sha256=sha256(legend.encode()).hexdigest(),
            **self.masks.identity,
        )


def plan_masks(root: str, settings: Labelling) -> MaskPlan:
    """Check all that names from masks need; nothing is written.

    Raises
    ------
    UserError
        There is no such run, folder, legend or model, the run has no concepts, or the masks are not of its images.
    """
    assert settings.masks is not None
    run = open_with_concepts(root)
    legend = (
        None
        if settings.legend is None
        else Legend.parse(content_of(settings.legend, "--legend", "a CSV file"), settings.legend)
    )
    if is_segmenter(settings.masks):
        model = _loaded(settings.masks, settings.weights, resolve_device(run.recipe.compute.device))
        return MaskPlan(run, settings, model_masks(run, model, legend, settings.batch))
    if "weights" in settings.model_fields_set:
        raise UserError(f"--weights are of a segmentation model, and --masks {settings.masks} is a folder; remove them")
    return MaskPlan(run, settings, folder_masks(run, settings.masks, legend))


def write_masks(plan: MaskPlan) -> None:
    """Find the labels that the units of a run's Rosetta neurons overlap most."""
    run, labels = plan.run, plan.legend.labels
    rows = units(run)
    thresholds = _thresholds(run, rows, plan.settings.quantile)
    iou = _overlaps(plan, rows, thresholds).iou()
    order = np.argsort(-iou, axis=1, kind="stable")[:, :TOP]
    count = order.shape[1]
    best = np.take_along_axis(iou, order, axis=1).ravel()
    frame = rows.loc[np.repeat(np.arange(len(rows)), count)].reset_index(drop=True)
    stands = set(concepts(run)[["cluster", "unit"]].itertuples(index=False, name=None))
    frame = frame.assign(
        strongest=[
            model == run.anchor and (cluster, unit) in stands
            for model, cluster, unit in zip(frame["model"], frame["cluster"], frame["unit"], strict=True)
        ],
        rank=np.tile(np.arange(1, count + 1, dtype=np.int32), len(rows)),
        label=np.array(labels, dtype=object)[order.ravel()],
        iou=best,
        threshold=np.repeat(thresholds, count),
    )
    frame["named"] = (frame["rank"] == 1) & (frame["iou"] > LEAST_IOU)
    types = {"cluster": np.int32, "unit": np.int32, "channel": np.int32, "label": "str", "strongest": bool}
    kept = frame[frame["iou"] > 0].reset_index(drop=True).astype(types)
    categories = tables.categories_of({model: store.units for model, store in run.stores.items()})
    about = {"units": len(rows), "quantile": plan.settings.quantile}
    names = [column.name for column in MASKS.columns]
    tables.write(run.root, MASKS.path(), kept[names], plan.fingerprint, categories, **about)


def summary(run: RunData) -> dict[str, Any]:
    """What there is to tell of the labels: how many units and concepts have one, and how many units each has."""
    rows = tables.read(run.root, MASKS.path())
    layers = [(model, layer) for model in run.models for layer in run.layers(model)]
    named = rows[rows["named"]]
    return {
        "table": MASKS.path(),
        "units": int(tables.attributes(run.root, MASKS.path())["units"]),
        "named": len(named),
        "concepts": len(run.clusters),
        "named_concepts": int(named["strongest"].sum()),
        "labels": units_per_label(rows, layers).to_dict("records"),
    }


def _by_layer(rows: pd.DataFrame) -> Iterator[tuple[str, str, npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Model, layer, (unit,) rows of its units, and their channels."""
    for (model, layer), of_layer in rows.groupby(["model", "layer"], sort=False):
        yield str(model), str(layer), of_layer.index.to_numpy(np.intp), of_layer["channel"].to_numpy(np.intp)


def _thresholds(run: RunData, rows: pd.DataFrame, quantile: float) -> Float32:
    """(unit,) exact, over all images and positions of the native grids; maps are read once.

    Raises
    ------
    UserError
        The quantile is so small that no value of any unit is above its threshold.
    """
    found = np.empty(len(rows), np.float32)
    most = 1
    with track("find thresholds", len(rows)) as advance:
        for model, layer, which, channels in _by_layer(rows):
            store = run.stores[model]
            grid = next(one.grid for one in store.units.layers if one.name == layer)
            values = store.images * grid[0] * grid[1]
            kept = Thresholds(0, values, quantile).kept
            most = max(most, kept)
            at_once = store.chunk * grid[0] * grid[1]
            # What is kept, what comes, both together, and the same sorted.
            step = max(1, run.recipe.compute.memory_bytes // _PART // (4 * 3 * (kept + at_once)))
            for part in ranges(len(channels), step):
                top = Thresholds(len(channels[part]), values, quantile)
                for images in _blocks(store):
                    maps = read_maps(store, layer, images, channels[part])
                    top.add(maps.swapaxes(0, 1).reshape(maps.shape[1], -1))
                found[which[part]] = top.thresholds()
                advance(len(channels[part]))
    if most == 1:
        raise UserError(f"--quantile {quantile:g} leaves no value above a threshold; give a higher one")
    return found


def _overlaps(plan: MaskPlan, rows: pd.DataFrame, thresholds: Float32) -> Overlaps:
    """Compare maps with masks, image by image; masks are read once."""
    run = plan.run
    found = Overlaps(len(rows), len(plan.legend.labels))
    layers = list(_by_layer(rows))
    height, width = run.pictures.size
    fitting = run.recipe.compute.memory_bytes // _PART // (4 * height * width)
    block = max(1, min(fitting, *(store.chunk for store in run.stores.values())))
    with track("compare with masks", run.pictures.count) as advance:
        for first in range(0, run.pictures.count, block):
            images = np.arange(first, min(first + block, run.pictures.count))
            masks = plan.masks.read(slice(first, int(images[-1]) + 1))
            found.add_masks(masks)
            for model, layer, which, channels in layers:
                maps = read_maps(run.stores[model], layer, images, channels)
                above = maps.max(axis=(2, 3)) > thresholds[which]  # interpolated values exceed no map's maximum
                for number in np.flatnonzero(above.any(axis=1)):
                    own = np.flatnonzero(above[number])
                    found.add_maps(masks[number], which[own], maps[number, own], thresholds[which[own]])
            advance(len(images))
    return found


def _blocks(store: ActivationStore) -> Iterator[npt.NDArray[np.intp]]:
    for first in range(0, store.images, store.chunk):
        yield np.arange(first, min(first + store.chunk, store.images))


@lru_cache(maxsize=1)
def _loaded(model: str, weights: str, device: str) -> Segmenter:
    """A model that is loaded once: a command checks first, and then runs its flow."""
    return load_segmenter(model, weights, device)
