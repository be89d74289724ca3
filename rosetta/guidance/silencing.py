"""What a discriminative model says of images when some of its units are silenced: set to their mean over the run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rosetta.errors import UserError
from rosetta.guidance.ablation import Scale
from rosetta.guidance.causes import permutation_p
from rosetta.guidance.matches import Float64, Index
from rosetta.zoo.maps.layout import NoMapError, tensor_in
from rosetta.zoo.maps.places import tensors_of
from rosetta.zoo.maps.writing import Change
from rosetta.zoo.model import Model
from rosetta.zoo.registry import find

TOP = 5
"""Classes that are named for each direction."""


@dataclass(frozen=True)
class Readout:
    """What a model puts out for images."""

    values: Tensor
    """(image, value) float64: scores of classes before the softmax, or an embedding."""
    classes: tuple[str, ...] | None
    """(value,) names of the classes, empty where they are not known; None of an embedding."""


def readout(model: Model, output: object) -> Readout:
    """Read what a model's module returned (:meth:`rosetta.zoo.model.Model.respond`).

    Raises
    ------
    UserError
        It holds no tensor, or what is not finite, as the scores of a classifier whose weights are missing.
    """
    found = getattr(output, "logits", None)
    if not isinstance(found, Tensor):
        try:
            found = tensor_in(output)
        except NoMapError:
            # An embedding, before the maps that it is pooled from.
            parts = tensors_of(output)
            named = [parts[name] for name in ("image_embeds", "pooler_output") if name in parts]
            found = next(iter([*named, *parts.values()]), None)
    name = model.spec.name
    if found is None:
        raise UserError(f"{name} puts out a {type(output).__name__}, which holds no numbers; leave it out of --models")
    if not bool(found.isfinite().all()):
        raise UserError(f"{name}: its weights hold no classifier, so it has no scores; leave it out of --models")
    family, inner = find(model.spec.model)
    names = family.classes(inner, model.module, found.shape[1]) if found.ndim == 2 else None
    if names is not None:
        names = tuple(names) or ("",) * found.shape[1]
    return Readout(found.flatten(1).cpu().double(), names)


def silence(scale: Scale, sets: Sequence[Index]) -> dict[str, Change]:
    """By layer: image `n` of a batch has the units of set `n` at their mean."""
    images = np.repeat(np.arange(len(sets)), [len(units) for units in sets])
    units = np.concatenate(sets)
    found = {}
    for layer, span in scale.units.spans():
        here = np.flatnonzero((units >= span.start) & (units < span.stop))
        if len(here):
            level = torch.from_numpy(scale.mean[units[here]])[:, None, None]
            channels = torch.from_numpy(units[here] - span.start)
            found[layer.name] = Change(torch.from_numpy(images[here]), channels, level)
    return found


def random_sets(scale: Scale, units: Index, count: int, seed: Sequence[int]) -> list[Index]:
    """As many other units of the same layers, drawn at random; of a layer with too few others from all of its units."""
    random = np.random.default_rng(list(seed))
    sets: list[list[Index]] = [[] for _ in range(count)]
    for _, span in scale.units.spans():
        own = units[(units >= span.start) & (units < span.stop)]
        others = np.setdiff1d(np.arange(span.start, span.stop), own)
        among = others if len(others) >= len(own) else np.arange(span.start, span.stop)
        for one in sets:
            one.append(np.sort(random.choice(among, len(own), replace=False)))
    return [np.concatenate(one).astype(np.intp) for one in sets]


MEASURES = ("distance", "cosine", "norm")
"""How far an output moves: length of the change over the length before, cosine of both, length after over before."""


def moved(before: Tensor, after: Tensor) -> Float64:
    """(image, measure) for outputs (image, value)."""
    length = before.norm(dim=1).clamp_min(1e-30)
    after_length = after.norm(dim=1)
    cosine = (before * after).sum(1) / (length * after_length.clamp_min(1e-30))
    return torch.stack([(after - before).norm(dim=1) / length, cosine, after_length / length], dim=1).numpy()


@dataclass(frozen=True)
class Moved:
    """One line of what silencing a concept does: the output as a whole, or one class."""

    rank: int
    """0 for the whole; 1 for the class whose score rises most, −1 for that which falls most, and so on."""
    index: int
    """Of the class; −1 for the whole."""
    change: float
    """Of the class's score; of the whole `distance`."""
    random: float
    """The mean of the same over the random sets."""
    p: float
    """The share of all sets, the own one among them, that change it at least as much. A class is compared with that of
    the same rank in each set: it was chosen for its change, and so are those."""


def lines(distance: Float64, shift: npt.NDArray[np.float64] | None) -> list[Moved]:
    """What silencing does, against random sets.

    Parameters
    ----------
    distance
        (set,) how far the output moves; the first set is the concept's own.
    shift
        (set, class) how far each class's score moves, where there are classes.
    """
    found = [_line(0, -1, distance)]
    if shift is None:
        return found
    kept = min(TOP, shift.shape[1])
    for sign in (1, -1):
        order = np.argsort(-sign * shift[0], kind="stable")[:kept]
        ranked = -np.sort(-sign * shift, axis=1)[:, :kept]
        # What does not move neither rises nor falls.
        found += [
            _line(sign * (place + 1), int(order[place]), ranked[:, place], sign)
            for place in range(kept)
            if ranked[0, place] > 0
        ]
    return found


def _line(rank: int, index: int, values: Float64, sign: int = 1) -> Moved:
    own, random = float(values[0]), values[1:]
    mean = sign * float(random.mean()) if len(random) else float("nan")
    p = permutation_p(own, random) if len(random) else float("nan")
    return Moved(rank, index, sign * own, mean, p)
