"""The mined images that are nearest to others by their maps: a search in the activation stores, chunk by chunk."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.guidance.activation import ActivationTarget
from rosetta.guidance.matches import Index, Matches
from rosetta.guidance.nearest import Nearest, nearest, observed_maps_target
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import block_count, block_slice
from storage.run.data import RunData
from storage.run.layer_maps import read_maps
from tasks.guided.inputs import Classes
from tasks.guided.matches import GuidedRun
from tasks.stage.progress import track

OTHER_CLASS = 3.0
"""Taken off the agreement, which is in −1…1, of an image of another class: all images of the class come first."""


def require_mined(run: RunData, count: int) -> None:
    """
    Raises
    ------
    UserError
        The run holds the maps of fewer images.
    """
    there = run.pictures.count
    if count > there:
        kept = f" (images.keep = {there} of {run.seen:,}); mine with more images.keep" if run.keeps_some else ""
        raise UserError(
            f"{count} of an image's starts are mined images, and {run.root.shown} holds the maps of {there}{kept};"
            " give a smaller --start-count"
        )


def nearest_to_images(
    run: GuidedRun, matches: Matches, images: Tensor, classes: Classes | None, count: int, title: str
) -> Nearest:
    """The mined images nearest to images, by the maps of matched units of the discriminative models.

    Parameters
    ----------
    matches
        The pairs whose units are compared.
    images
        (image, rgb, y, x) in 0…1; every model looks at them once.
    classes
        (image,) of a conditional generator: mined images of the same class come first.
    count
        How many for each image.
    """
    maps = {name: run.model(name).observe(images) for name in sorted(set(matches.model))}
    return nearest_stored(run, observed_maps_target(matches, maps), classes, count, title)


def nearest_stored(
    run: GuidedRun,
    targets: Mapping[str, ActivationTarget],
    classes: Classes | None,
    count: int,
    title: str,
    apart: Index | None = None,
) -> Nearest:
    """The mined images whose stored maps agree best with targets.

    Parameters
    ----------
    targets
        By model, of units of that model.
    apart
        (image,) position in the store of an image that is left out for each target, −1 for none.
    """
    store = run.data.pictures

    def parts() -> Iterator[tuple[slice, Tensor]]:
        for rows, agreement in _agreements(run.data, targets, title):
            if classes is not None and (theirs := store.classes(rows)) is not None:
                agreement -= OTHER_CLASS * torch.from_numpy(theirs[:, None] != classes)
            if apart is not None:
                own = torch.arange(rows.start, rows.stop)[:, None] == torch.from_numpy(apart)
                agreement.masked_fill_(own, -torch.inf)
            yield rows, agreement

    return nearest(parts(), count)


def latents_at(run: RunData, index: Index) -> npt.NDArray[np.float32]:
    """(k, image, z) latents of the mined images at positions (image, k)."""
    places, inverse = np.unique(index, return_inverse=True)
    latents = np.concatenate([run.pictures.latents(slice(place, place + 1)) for place in places.tolist()])
    return np.ascontiguousarray(latents[inverse.reshape(index.shape)].swapaxes(0, 1))


def _agreements(run: RunData, targets: Mapping[str, ActivationTarget], title: str) -> Iterator[tuple[slice, Tensor]]:
    """Some stored images after the other, and (row, image) their mean agreement over all units.

    One layer of one chunk is in memory at a time, and of it the units of the target.

    Raises
    ------
    UserError
        Maps are missing.
    """
    stores = {name: run.stores[name] for name in targets}
    units = sum(target.weight for target in targets.values())
    images, step = run.pictures.count, max(store.chunk for store in stores.values())
    with track(title, images) as advance:
        for block in range(block_count(images, step)):
            rows = block_slice(block, step, images)
            total = sum(_summed(run, stores[name], target, rows) for name, target in targets.items())
            assert isinstance(total, Tensor)
            yield rows, total / units
            advance(rows.stop - rows.start)


def _summed(run: RunData, store: ActivationStore, target: ActivationTarget, rows: slice) -> Tensor:
    """(row, image) the agreements of a model's units, added up."""
    total: list[Tensor] = []
    for first in range(rows.start, rows.stop, store.chunk):
        images = np.arange(first, min(first + store.chunk, rows.stop))
        part = []
        for layer in target.layers:
            try:
                maps = read_maps(store, layer.layer, images, layer.channels.cpu().numpy())
            except FileNotFoundError as error:
                raise UserError(
                    f"{run.root.shown} no longer holds all maps ({error}); rosetta mine writes them, and"
                    " --starts random needs none"
                ) from None
            part.append(layer.against_all(torch.from_numpy(maps).to(layer.direction)).cpu())
        total.append(torch.stack(part).sum(0))
    return torch.cat(total)
