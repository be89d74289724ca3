"""The encoder of a sparse autoencoder, position by position."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["relu", "topk", "jumprelu"]
Normalisation = Literal["none", "layer_norm", "constant_norm_rescale"]
_EPSILON = 1e-5


@dataclass(frozen=True)
class Rule:
    """What makes features of what the weights give."""

    activation: Activation
    """`relu`; `topk` keeps the k highest at each position (Gao et al., 2024, arXiv 2406.04093); `jumprelu` keeps what
    exceeds a feature's threshold (Rajamanoharan et al., 2024, arXiv 2407.14435)."""
    k: int | None = None
    """Of `topk`."""
    normalisation: Normalisation = "none"
    """Of the input at each position, over its channels."""


class Encoder(nn.Module):
    """Features of maps: `act(W (normalise(x) − c) + b)`.

    Parameters
    ----------
    weight
        (feature, channel)
    bias
        (feature,) of the gate, where the encoder is gated.
    rule
        What comes before and after.
    centre
        (channel,) what is taken off the input, or None.
    threshold
        (feature,) of `jumprelu`.
    scale
        (feature,) what pre-activations are multiplied with before the k highest are chosen, or None.
    magnitude
        (feature,) twice, of a gated encoder (Rajamanoharan et al., 2024, arXiv 2404.16014): what rows of `weight` are
        multiplied with for the magnitude of a feature, and its bias; or None.
    """

    weight: Tensor
    bias: Tensor
    centre: Tensor | None
    threshold: Tensor | None
    scale: Tensor | None
    gain: Tensor | None
    offset: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        rule: Rule,
        *,
        centre: Tensor | None = None,
        threshold: Tensor | None = None,
        scale: Tensor | None = None,
        magnitude: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.rule = rule
        gain, offset = magnitude or (None, None)
        tensors = {
            "weight": weight,
            "bias": bias,
            "centre": centre,
            "threshold": threshold,
            "scale": scale,
            "gain": gain,
            "offset": offset,
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, None if tensor is None else tensor.float())

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """(image, feature, y, x) of (image, channel, y, x)."""
        inputs = _normalised(maps.movedim(1, -1), self.rule.normalisation)
        if self.centre is not None:
            inputs = inputs - self.centre
        return self._features(inputs).movedim(-1, 1)

    def _features(self, inputs: Tensor) -> Tensor:
        before = functional.linear(inputs, self.weight)
        if self.gain is not None and self.offset is not None:
            magnitude = before * self.gain + self.offset
            return magnitude.relu() * (before + self.bias > 0)
        before = before + self.bias
        if self.rule.activation == "topk":
            assert self.rule.k is not None
            ranked = before if self.scale is None else before * self.scale
            highest = ranked.topk(self.rule.k, dim=-1, sorted=False)
            return torch.zeros_like(before).scatter(-1, highest.indices, highest.values.relu())
        if self.threshold is None:
            return before.relu()
        # Not a product: what is no number has to stay so.
        return torch.where(before <= self.threshold, 0.0, before.relu())


def _normalised(inputs: Tensor, how: Normalisation) -> Tensor:
    """Each position over its channels, as SAELens does it: the deviation is the sample's."""
    if how == "layer_norm":
        inputs = inputs - inputs.mean(dim=-1, keepdim=True)
        return inputs / (inputs.std(dim=-1, keepdim=True) + _EPSILON)
    if how == "constant_norm_rescale":
        return inputs * (inputs.shape[-1] ** 0.5 / inputs.norm(dim=-1, keepdim=True))
    return inputs
