"""Stage `classes`: which classes of images units and concepts are selective for, by the peaks of their maps."""

import logging

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.mining.classes import LEAST, Selectivity, confusion, eligible, selectivity
from rosetta.mining.plan import ranges
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ACTIVATIONS, CLASSES_OF_CONCEPTS, CLASSES_OF_UNITS, IMAGES, ROSETTA
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.images import ImageStore, NamedClasses
from storage.filesystem.root import Root
from tasks.names.class_maps import MAPPED, class_maps, images_by_class
from tasks.plan import Plan, Stage

TOP = 3
"""Classes that are kept of a unit or concept."""
_log = logging.getLogger("rosetta")
_VALUES = 1 << 22
"""Peaks that are ranked at once."""

Float32 = npt.NDArray[np.float32]


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the tables of classes."""
    return fingerprint(
        "classes",
        images=plan.digest(IMAGES),
        activations=plan.digests(ACTIVATIONS),
        rosetta=plan.digest(ROSETTA),
        top=TOP,
        confusion=MAPPED,
    )


def write_classes(plan: Plan) -> None:
    """`tables/classes.parquet` and `tables/concept_classes.parquet`; without rows where no class is known."""
    root = plan.root
    stores = {name: ActivationStore.read(root, name) for name in plan.names}
    named = ImageStore.read(root).named_classes() or NamedClasses([], np.zeros(0, np.int64))
    known, classes = named.names, named.numbers
    counts = np.bincount(classes[classes >= 0], minlength=len(known))
    if known and not len(eligible(classes)):
        _log.warning(
            "classes: no class has %d images and %d outside of it, so units are selective for none", LEAST, LEAST
        )
    of_units = [_unit_rows(name, store, classes) for name, store in stores.items()] if known else []
    of_concepts = _concept_rows(root, plan, stores, classes) if known else None
    categories = tables.categories_of({name: store.units for name, store in stores.items()})
    for artifact, frame in (
        (CLASSES_OF_UNITS, pd.concat(of_units, ignore_index=True) if of_units else None),
        (CLASSES_OF_CONCEPTS, of_concepts),
    ):
        names = [column.name for column in artifact.columns]
        if frame is None or not len(frame):
            texts = ("category", "str")
            frame = pd.DataFrame(
                {one.name: pd.Series(dtype="str" if one.dtype in texts else one.dtype) for one in artifact.columns}
            )
        else:
            frame = frame.assign(
                label=np.array(known, dtype=object)[frame["class"]],
                images=counts[frame["class"]].astype(np.int32),
                confused=np.array([*known, ""], dtype=object)[frame["confused"]],
            )
        tables.write(root, artifact.path(), frame[names], plan.fingerprint(artifact), categories)


WRITE_CLASSES = Stage("classes", (CLASSES_OF_UNITS, CLASSES_OF_CONCEPTS), fingerprint_of, write_classes)


def _unit_rows(model: str, store: ActivationStore, classes: npt.NDArray[np.int64]) -> pd.DataFrame:
    frames, first = [], 0
    for layer in store.units.layers:
        for channels in ranges(layer.channels, max(1, _VALUES // len(classes))):
            peaks = np.ascontiguousarray(store.peaks(layer.name, channels).T)
            found = _top(peaks, classes, selectivity(peaks, classes))
            channel = found.pop("row") + channels.start
            frames.append(
                pd.DataFrame(
                    {"model": model, "unit": first + channel, "layer": layer.name, "channel": channel, **found}
                )
            )
        first += layer.channels
    return pd.concat(frames, ignore_index=True).astype({"unit": np.int32, "channel": np.int32})


def _concept_rows(
    root: Root, plan: Plan, stores: dict[str, ActivationStore], classes: npt.NDArray[np.int64]
) -> pd.DataFrame:
    """By what the units of a concept's strongest neuron do together: the mean of their standardised peaks."""
    rosetta = tables.read(root, ROSETTA.path()).sort_values("rosetta", kind="stable")
    strongest = rosetta[rosetta["rosetta"] == rosetta.groupby("cluster")["rosetta"].transform("min")]
    clusters = np.unique(strongest["cluster"].to_numpy())
    total = np.zeros((len(clusters), len(classes)))
    for model, rows in strongest.groupby("model"):
        store = stores[str(model)]
        for layer, of_layer in rows.groupby("layer"):
            peaks = store.peaks(str(layer))[:, of_layer["channel"].to_numpy()].T.astype(np.float64)
            deviation = peaks.std(axis=1, keepdims=True)
            standardised = (peaks - peaks.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0)
            np.add.at(total, np.searchsorted(clusters, of_layer["cluster"].to_numpy()), standardised)
    values = (total / max(1, len(plan.targets) + 1)).astype(np.float32)
    found = _top(values, classes, selectivity(values, classes))
    row = found.pop("row")
    frame = pd.DataFrame({"cluster": clusters[row].astype(np.int32), **found})
    anchors = strongest[strongest["model"] == plan.anchor].set_index("cluster")
    return frame.assign(map_pearson=_map_pearson(frame, anchors, stores[plan.anchor], classes))


def _map_pearson(
    frame: pd.DataFrame, anchors: pd.DataFrame, store: ActivationStore, classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(row,) correlation of the mean map of a class with that of the class that is confused with it."""
    images, found = images_by_class(classes), np.full(len(frame), np.nan)
    clusters = frame["cluster"].to_numpy()
    for layer, of_layer in anchors.groupby("layer", sort=False):
        for cluster, maps in zip(
            of_layer.index, class_maps(store, str(layer), of_layer["channel"].to_numpy(), images), strict=True
        ):
            for row in np.flatnonzero(clusters == cluster):
                one, other = (maps.get(int(frame[name].iloc[row])) for name in ("class", "confused"))
                if one is not None and other is not None and np.ptp(one) > 0 and np.ptp(other) > 0:
                    found[row] = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    return found


def _top(values: Float32, classes: npt.NDArray[np.int64], found: Selectivity) -> dict[str, npt.NDArray[np.generic]]:
    """The few classes that each unit is most selective for: row, rank from 1, class, and what is known of each."""
    kept = min(TOP, len(found.classes))
    order: npt.NDArray[np.intp] = np.argsort(-found.auroc, axis=1, kind="stable")[:, :kept]

    def of(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.take_along_axis(values, order, axis=1).ravel()

    rows = len(found.auroc)
    confused, chance = confusion(values, classes, found.classes[order.reshape(rows, kept)], found.classes)
    return {
        "row": np.repeat(np.arange(rows), kept),
        "rank": np.tile(np.arange(1, kept + 1, dtype=np.int32), rows),
        "class": found.classes[order].ravel(),
        "auroc": of(found.auroc),
        "deviation": of(found.deviation),
        "mean": of(found.mean),
        "confused": confused.ravel(),
        "confusion": chance.ravel(),
    }
