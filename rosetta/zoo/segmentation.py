"""Models that label each position of an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.errors import UserError, nearest
from rosetta.model_spec import Condition
from rosetta.zoo.device import true_float32
from rosetta.zoo.families.python import PythonFactory
from rosetta.zoo.image_arrays import Pixels, from_pixels
from rosetta.zoo.lean_import import without_compiler
from rosetta.zoo.preprocessing import Preprocessing
from rosetta.zoo.weights.checkpoint import read_entries
from rosetta.zoo.weights.source import (
    FromFile,
    FromLibrary,
    FromSeed,
    forked_rng,
    parse_weights,
    quiet_hub,
    sharded,
    tensors_sha256,
)
from rosetta.zoo.weights.statedict import load_state

_TORCHVISION = "torchvision/"


@dataclass(frozen=True)
class Segmenter:
    """A loaded model."""

    name: str
    weights_sha256: str
    preprocessing: Preprocessing
    device: torch.device
    module: nn.Module
    """(image, rgb, y, x) → scores (image, class, y, x), or a mapping with them under `out`."""
    categories: tuple[str, ...]
    """Names of its classes; none where nothing tells them."""

    def labels(self, pixels: Pixels) -> npt.NDArray[np.int32]:
        """(image, y, x) the likeliest class at each position of images (image, y, x, rgb).

        Scores are enlarged bilinearly to the images' size.

        Raises
        ------
        UserError
            Its output is none of scores, or of another number of classes than it has names for.
        """
        with torch.inference_mode(), true_float32():
            output = self.module(self.preprocessing(from_pixels(pixels, self.device)))
            scores = output["out"] if isinstance(output, Mapping) and "out" in output else output
            if not isinstance(scores, Tensor) or scores.ndim != 4 or scores.shape[0] != len(pixels):
                raise UserError(f"{self.name} gives no scores (image, class, y, x); name a segmentation model")
            if self.categories and scores.shape[1] != len(self.categories):
                raise UserError(
                    f"{self.name} scores {scores.shape[1]} classes and names {len(self.categories)}; give --legend"
                )
            fine = F.interpolate(scores.float(), pixels.shape[1:3], mode="bilinear", align_corners=False)
            return np.asarray(fine.argmax(dim=1).cpu().numpy(), np.int32)


def is_segmenter(name: str) -> bool:
    """Whether a name is that of a model, and not of a folder."""
    return name.startswith((_TORCHVISION, "python:"))


def load_segmenter(model: str, weights: str, device: str) -> Segmenter:
    """Build a model and read its weights.

    Parameters
    ----------
    model
        `torchvision/<name>` of its segmentation models, or `python:<module>:<factory>`; the latter's module may have
        `preprocessing`, and `categories`, the names of its classes.
    weights
        As a recipe names them.

    Raises
    ------
    UserError
        Anything that keeps it from running.
    """
    source = parse_weights(weights)
    build = _of_torchvision if model.startswith(_TORCHVISION) else _of_user
    if isinstance(source, FromFile):
        file = sharded(source)
        sha256 = file.sha256()
        state = read_entries(file, (), ())[0].state
        with forked_rng(None):
            module, preprocessing, categories = build(model, False, state)
        load_state(module, state, "name", weights, model)
    else:
        with forked_rng(source.seed if isinstance(source, FromSeed) else None), quiet_hub():
            module, preprocessing, categories = build(model, isinstance(source, FromLibrary), {})
        sha256 = source.sha256() if isinstance(source, FromSeed) else tensors_sha256(module)
    target = torch.device(device)
    module = module.eval().requires_grad_(False).to(target)
    return Segmenter(model, sha256, preprocessing, target, module, categories)


def _of_torchvision(
    model: str, pretrained: bool, state: Mapping[str, Tensor]
) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    with without_compiler():
        from torchvision import models
    name = model.removeprefix(_TORCHVISION)
    known = sorted(models.list_models(module=models.segmentation))
    if name not in known:
        hint = nearest(name, known) or f"; it has {', '.join(known)}"
        raise UserError(f"torchvision has no segmentation model {name!r}{hint}")
    published = models.get_model_weights(name).DEFAULT
    auxiliary: dict[str, Any] = {"aux_loss": True} if any(key.startswith("aux_classifier.") for key in state) else {}
    given = {"weights": published} if pretrained else {"weights": None, "weights_backbone": None, **auxiliary}
    try:
        module: nn.Module = models.get_model(name, progress=False, **given)
    except Exception as error:
        if not pretrained:
            raise
        raise UserError(
            f"{model}: its pretrained weights cannot be had ({type(error).__name__}); go online once, or give a local "
            "file as weights"
        ) from None
    transforms = published.transforms()
    (side,) = transforms.resize_size
    preprocessing = Preprocessing.published(
        (side, side), transforms.interpolation.value, transforms.mean, transforms.std
    )
    return module, preprocessing, tuple(published.meta["categories"])


def _of_user(
    model: str, pretrained: bool, state: Mapping[str, Tensor]
) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    built = PythonFactory().build(model.removeprefix("python:"), None, pretrained, Condition())
    if built.preprocessing is None:
        raise UserError(f"{model} is a generator; name a segmentation model")
    return built.module, built.preprocessing, tuple(map(str, getattr(built.module, "categories", ())))
