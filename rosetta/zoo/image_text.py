"""Models of images and texts: two towers whose outputs lie in one space."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.architecture import Architecture, State
from rosetta.zoo.device import true_float32
from rosetta.zoo.families.open_clip import OpenCLIP
from rosetta.zoo.files import load_file
from rosetta.zoo.image_arrays import Pixels, from_pixels
from rosetta.zoo.options import Options
from rosetta.zoo.preprocessing import Preprocessing
from rosetta.zoo.registry import find
from rosetta.zoo.weights.source import (
    FromLibrary,
    FromSeed,
    forked_rng,
    parse_weights,
    quiet_hub,
    sharded,
    tensors_sha256,
)

Float32 = npt.NDArray[np.float32]

_NO_PART = frozenset({"logit_scale", "logit_bias"})
"""Tensors that embeddings do not depend on."""
_LONGER = 4
"""How many times its context a text is tokenized, to see what is cut off."""


@dataclass(frozen=True)
class ImageText:
    """A loaded model."""

    name: str
    """As the user names it."""
    weights_sha256: str
    preprocessing: Preprocessing
    device: torch.device
    module: nn.Module
    """With `encode_image`, (image, rgb, y, x) to (image, embedding), and `encode_text`, (text, token) to the same."""
    tokenizer: Callable[..., Tensor]
    """Takes texts and `context_length`, gives (text, token) int64."""

    @property
    def context(self) -> int:
        """Tokens of a text at most."""
        return self.tokenizer([""]).shape[1]

    def images(self, pixels: Pixels) -> Float32:
        """(image, embedding) of length 1, of images (image, y, x, rgb) of any size."""
        prepared = self.preprocessing(from_pixels(pixels, self.device))
        return self._embedded(self.module.encode_image, prepared)

    def texts(self, texts: Sequence[str]) -> Float32:
        """(text, embedding) of length 1."""
        tokens = self.tokenizer(list(texts))
        if _ignores_padding(self.module):  # most of a word's tokens
            tokens = tokens[:, : int(self.tokens(texts).max(initial=1))]
            return self._embedded(partial(_encode_short, self.module), tokens.to(self.device))
        return self._embedded(self.module.encode_text, tokens.to(self.device))

    def tokens(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """(text,) how many tokens each has, those around it included; more than :attr:`context` are cut off."""
        padding = self.tokenizer([""], context_length=_LONGER * self.context)[0, -1]
        longer = self.tokenizer(list(texts), context_length=_LONGER * self.context)
        places = torch.arange(1, longer.shape[1] + 1)
        return np.asarray(((longer != padding) * places).amax(dim=1).numpy(), np.int64)

    def _embedded(self, tower: Any, inputs: Tensor) -> Float32:
        with torch.inference_mode(), true_float32():
            found = tower(inputs)
            if not isinstance(found, Tensor) or found.ndim != 2:
                raise UserError(f"{self.name}: a tower gives no (image or text, embedding); return one row for each")
            embedded = F.normalize(found.float(), dim=-1)
        if not bool(embedded.isfinite().all()):
            raise UserError(f"{self.name} gives NaN or infinity; check its weights")
        return np.asarray(embedded.cpu().numpy(), np.float32)


def load_image_text(model: str, weights: str, device: str) -> ImageText:
    """Build a model with both towers and read its weights.

    Parameters
    ----------
    model
        `open_clip/<name>`, or `python:<module>:<factory>` with a module that has `encode_image`, `encode_text` and
        `tokenizer`, see :class:`ImageText`, and may have `preprocessing`.
    weights
        As a recipe names them.

    Raises
    ------
    UserError
        Anything that keeps it from running; it has no text tower, for example.
    """
    spec = ModelSpec(name="text", model=model, weights=weights)
    family, name = find(model)
    if family.name not in ("open_clip", "python"):
        raise UserError(f"{model} has no text tower; name a model of open_clip, or python:<module>:<factory>")
    source = parse_weights(weights)
    whole = _Whole(model)
    if isinstance(source, FromLibrary):
        with forked_rng(None), quiet_hub():
            architecture = whole.construct(name, None, True, Condition(), Options())
        sha256 = tensors_sha256(architecture.module)
    elif isinstance(source, FromSeed):
        with forked_rng(source.seed):
            architecture = whole.construct(name, None, False, Condition(), Options())
        sha256 = source.sha256()
    else:
        file = sharded(source)
        sha256 = file.sha256()
        architecture = _from_file(spec, whole, name, file)
    assert architecture.preprocessing is not None
    target = torch.device(device)
    module = architecture.module.eval().requires_grad_(False).to(target)
    return ImageText(model, sha256, architecture.preprocessing, target, module, whole.tokenizer)


class _Whole(OpenCLIP):
    """Both towers where the family has one."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.tokenizer: Any = None

    def construct(
        self, name: str, state: State | None, pretrained: bool, condition: Condition, options: Options
    ) -> Architecture:
        family, _ = find(self.model)
        if family.name == "open_clip":
            module, preprocessing, self.tokenizer = self.with_text(name, pretrained)
            return Architecture(module, preprocessing)
        architecture = family.construct(name, state, pretrained, condition, options)
        module = architecture.module
        lacking = [part for part in ("encode_image", "encode_text", "tokenizer") if not hasattr(module, part)]
        if lacking or architecture.preprocessing is None:
            missing = lacking[0] if lacking else "preprocessing"
            raise UserError(f"{self.model} has no text tower: its module has no {missing}; see docs/labels.md")
        self.tokenizer = module.tokenizer
        return architecture

    def translate(self, module: nn.Module, state: State) -> State:
        return state


def _ignores_padding(module: nn.Module) -> bool:
    """Whether a text tower of OpenCLIP reads no token behind the end of a text: its tokens see only those before."""
    mask = getattr(module, "attn_mask", None)
    if getattr(module, "text_pool_type", None) != "argmax" or not isinstance(mask, Tensor):
        return False
    behind = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return hasattr(module, "positional_embedding") and bool((mask[behind] == -torch.inf).all())


def _encode_short(module: nn.Module, tokens: Tensor) -> Tensor:
    """(text, embedding) of texts (text, token) that are shorter than the tower's context."""
    length = tokens.shape[1]
    parts: Any = {
        "positional_embedding": module.get_parameter("positional_embedding")[:length],
        "attn_mask": module.get_buffer("attn_mask")[:length, :length],
    }
    output: Any = torch.func.functional_call(module, parts, kwargs={"text": tokens})
    found: Tensor = output["text_features"] if isinstance(output, Mapping) else output[1]
    return found


def _from_file(spec: ModelSpec, whole: _Whole, name: str, file: Any) -> Architecture:
    """
    Raises
    ------
    UserError
        The file does not hold all that both towers need.
    """
    with forked_rng(None):
        architecture, fit = load_file(spec, whole, name, file)
    lacking = [] if fit is None else [tensor for tensor in fit.lacking if tensor not in _NO_PART]
    if lacking:
        assert fit is not None
        has_images = whole.model.startswith("open_clip/") and not any(one.startswith("visual.") for one in lacking)
        what = "hold no text tower" if has_images else f"do not fit {spec.model}"
        raise UserError(
            f"weights {spec.weights!r} {what}: it needs {fit.lacking[lacking[0]]}; give the weights of the whole model"
        )
    return architecture
