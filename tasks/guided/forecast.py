"""The forecast of an edit: how near mined images come to the maps that it asks for."""

import re

import numpy as np
import pandas as pd
from torch import Tensor, from_numpy

from rosetta.guidance.activation import Maps
from rosetta.guidance.edited_maps import EditedMaps
from rosetta.guidance.forecast import Forecast, beside
from rosetta.guidance.matches import Index
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import read_table, write_table
from storage.filesystem.root import Root
from storage.run.data import RunData
from storage.run.layer_maps import read_maps
from tasks.guided.inputs import Classes, Inputs
from tasks.guided.matches import GuidedRun
from tasks.guided.nearest import nearest_stored
from tasks.stage.progress import log

EXISTING = 32
"""Mined images whose nearest others say how near mined images are."""
_MINED = re.compile(r"image (\d+)")


def forecast(
    run: GuidedRun, edited: EditedMaps, before: Maps, own: Index, classes: Classes | None, title: str
) -> Forecast:
    """Compare the maps that an edit asks G for with those of the mined images.

    Parameters
    ----------
    before
        (image, channel, y, x) by layer of G, of the images before.
    own
        (image,) their positions in the store, −1 of images that were not mined. No image is its own neighbour.
    classes
        (image,) of a conditional generator.
    """
    name, store = run.data.anchor, run.data.stores[run.data.anchor]
    units = edited.touched()
    random = np.random.default_rng((run.data.recipe.images.seed, len(own)))
    mined = np.sort(random.choice(store.images, min(EXISTING, store.images - 1), replace=False))
    existing: dict[str, Tensor] = {
        layer.name: from_numpy(read_maps(store, layer.name, mined, channels))
        for layer, channels, _ in edited.statistics.by_layer(units)
    }
    targets = {name: beside(edited, units, existing)}
    every = None
    if classes is not None and (theirs := run.data.pictures.classes(slice(None))) is not None:
        every = np.concatenate([classes, theirs[mined]])
    found = nearest_stored(run, targets, every, 1, title, np.concatenate([own, mined]))
    images = len(own)
    return Forecast(
        found.index[:images, 0],
        found.agreement[:images, 0],
        edited.target(units)(before).double().numpy(),
        found.agreement[images:, 0],
    )


def positions_of(run: RunData, images: Inputs, span: slice) -> Index:
    """(image,) where images lie in the stores of the run, −1 of new ones and of files."""
    found = []
    for source, file in zip(images.sources[span], images.files[span], strict=True):
        mined = _MINED.fullmatch(source)
        found.append(int(run.chosen(int(mined[1]))[0]) if mined and not file else -1)
    return np.array(found, np.intp)


def record(
    root: Root, fingerprint: Fingerprint, where: str, run: RunData, found: Forecast, images: pd.DataFrame
) -> None:
    """Write a batch of `forecast.parquet`, beside those of other batches, and warn where an edit asks for too much.

    Parameters
    ----------
    images
        `image` and `source` of the batch.
    """
    rows = images.assign(
        nearest=run.image_indices[found.nearest].astype(np.int64),
        agreement=found.agreement,
        before=found.before,
        existing=np.median(found.existing),
        share=found.share,
        forecast=found.gain,
    )
    before = read_table(root, where, "forecast", fingerprint)
    if before is not None:
        rows = pd.concat([before[~before["image"].isin(rows["image"])], rows]).sort_values("image", ignore_index=True)
    write_table(root, where, "forecast", rows, fingerprint)
    if line := warning(found, run.pictures.count):
        log.warning("%s: %s", where, line)


def warning(found: Forecast, mined: int) -> str | None:
    """What a user should know before an edit is searched for; None where mined images come near to it."""
    images = int((found.gain <= 0).sum())
    if 2 * images <= len(found.gain):
        return None
    return (
        f"this generator does not seem to make that: for {images} of {len(found.gain)} images no mined image is as near"
        f" to what is asked for as the image already is (nearest of {mined:,}: agreement {found.agreement.mean():.2f};"
        f" as it is: {found.before.mean():.2f})"
    )
