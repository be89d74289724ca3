"""How far results are from their targets in the features of models that had no part in making them.

That is a perceptual distance which is always there, and under a name of its own: `features:<model>`. LPIPS is another
one, which needs the weights of a backbone of its own.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rosetta.errors import UserError
from rosetta.guidance.latent import Rendering
from rosetta.guidance.perceptual import feature_distance, require_trained
from rosetta.model_spec import ModelSpec
from rosetta.strict import validated
from rosetta.zoo import load
from rosetta.zoo.image_arrays import from_pixels
from rosetta.zoo.model import Model
from tasks.guided.matches import GuidedRun

PREFIX = "features:"
"""Of the columns; the name of a model follows."""
_AT_ONCE = 16
"""Images that a model looks at together."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Judges:
    """Who measures the results of a search."""

    took_part: Mapping[str, Collection[str]]
    """Kind of guidance → the models of the run that its results were searched with. They judge none of those."""
    outside: str | None = None
    """MODEL=WEIGHTS of one more model, which judges all results."""


def outside_judge(run: GuidedRun, text: str) -> Model:
    """A model of the zoo that is none of the run's.

    Raises
    ------
    UserError
        The text is not MODEL=WEIGHTS, the model cannot be had or cannot judge, or it is one of the run's models.
    """
    model, _, weights = text.partition("=")
    if not model or not weights:
        raise UserError(
            f"judge {text!r} is not MODEL=WEIGHTS; write them as a recipe does, like torchvision/mobilenet_v2=FILE"
        )
    named = {"name": _name(model), "model": model, "weights": weights}
    judge = load(validated(ModelSpec, named, f"judge {text!r}"), run.device)
    require_trained(judge, text)
    for name in run.data.targets:
        if run.data.stores[name].attributes.get("weights_sha256") == judge.weights_sha256:
            raise UserError(f"judge {text!r} is the model {name!r} of the run, which may guide; name another one")
    return judge


def feature_columns(
    run: GuidedRun, judges: Judges, results: Mapping[str, Pixels], targets: Pixels
) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    """Column → kind of guidance → (image,) distances; NaN of results that a model had a part in.

    Parameters
    ----------
    results
        By kind of guidance: (image, y, x, rgb).
    targets
        (image, y, x, rgb).
    """
    found = {}
    unknown = np.full(len(targets), np.nan)
    for name in run.data.targets:
        found[PREFIX + name] = {
            guidance: unknown if name in judges.took_part[guidance] else distances(run.model(name), pixels, targets)
            for guidance, pixels in results.items()
        }
    if judges.outside is not None:
        judge = outside_judge(run, judges.outside)
        column = PREFIX + judge.spec.name
        if column in found:
            column += " (judge)"
        found[column] = {guidance: distances(judge, pixels, targets) for guidance, pixels in results.items()}
    return found


def distances(model: Model, results: Pixels, targets: Pixels) -> npt.NDArray[np.float64]:
    """(image,) distances in the unit-length features of a model."""
    parts = []
    with torch.inference_mode():
        for first in range(0, len(targets), _AT_ONCE):
            images, wanted = (from_pixels(all_[first : first + _AT_ONCE], model.device) for all_ in (results, targets))
            parts.append(feature_distance(model, wanted)(Rendering(images, images, {})).double().cpu().numpy())
    return np.concatenate(parts)


def _name(model: str) -> str:
    """The last part of a model's name, as a name in a recipe may be."""
    last = re.split("[/:]", model)[-1].lower()
    return re.sub("[^a-z0-9._-]", "-", last).strip("._-") or "judge"
