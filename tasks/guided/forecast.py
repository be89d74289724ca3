"""The forecast of an edit: how near mined images come to the maps that it asks for."""

import numpy as np
import pandas as pd
from torch import Tensor, from_numpy

from rosetta.guidance.activation import Maps
from rosetta.guidance.edited_maps import EditedMaps
from rosetta.guidance.forecast import Forecast, beside
from rosetta.guidance.matches import Index
from storage.run.layer_maps import read_maps
from tasks.guided.inputs import Classes
from tasks.guided.matches import GuidedRun
from tasks.guided.nearest import nearest_stored

EXISTING = 32
"""Mined images whose nearest others say how near mined images are."""


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


def forecast_rows(run: GuidedRun, found: Forecast, images: range, sources: list[str]) -> pd.DataFrame:
    """A row an image, as the table `forecast` has them."""
    return pd.DataFrame(
        {
            "image": np.arange(images.start, images.stop),
            "source": sources,
            "nearest": run.data.image_indices[found.nearest],
            "agreement": found.agreement,
            "before": found.before,
            "existing": np.median(found.existing),
            "forecast": found.share,
        }
    )
