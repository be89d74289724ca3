"""What the class token attends to, found beside the functions of torch that libraries compute attention with."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from rosetta.zoo.maps.layout import NoMapError


class Attentions(TorchFunctionMode):
    """Notes each attention that is computed inside, as a function that gives :func:`class_attention` of it."""

    def __init__(self, note: Callable[[Callable[[], Tensor]], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, function: Any, _: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See :class:`torch.overrides.TorchFunctionMode`."""
        named = dict(kwargs or {})
        if function is functional.scaled_dot_product_attention:
            self._note(partial(class_attention, *args, **named))
        elif function is functional.multi_head_attention_forward:
            self._note(partial(_of_weights, function, args, named))
        return function(*args, **named)


def class_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **more: Any,
) -> Tensor:
    """(image, token, head) what the first token attends to; parameters as torch's own function has them.

    Raises
    ------
    NoMapError
        Query and key are not (image, head, token, channel), or a causal mask hides the other tokens.
    """
    if query.ndim != 4 or key.shape[:2] != query.shape[:2] or is_causal:
        raise NoMapError(f"attends with queries {tuple(query.shape)} to keys {tuple(key.shape)}, not head by head")
    scores = query[:, :, :1] @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if attn_mask is not None:
        mask = attn_mask.expand(*query.shape[:3], key.shape[2])[:, :, :1]
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(dim=-1).squeeze(2).transpose(1, 2)


def _of_weights(function: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """The same of attention that also projects, and gives its weights if asked."""
    weights = function(*args, **{**named, "need_weights": True, "average_attn_weights": False})[1]
    return weights[:, :, 0].transpose(1, 2)
