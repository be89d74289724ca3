"""What the heads of an attention module read and where, taken from the functions of torch that compute attention."""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from rosetta.zoo.maps.layout import NoMapError
from rosetta.zoo.maps.places import HEADS, PATTERN


class Attentions(TorchFunctionMode):
    """Notes each attention that is computed inside.

    Parameters
    ----------
    note
        Is given `pattern` with a function that gives :func:`class_attention` of it, then `heads` with one that gives
        (image, token, channel) what its heads read, one after the other.
    """

    def __init__(self, note: Callable[[str, Callable[[], Tensor]], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, function: Any, _: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See :class:`torch.overrides.TorchFunctionMode`."""
        named = dict(kwargs or {})
        if function is functional.scaled_dot_product_attention:
            self._note(PATTERN, partial(class_attention, *args, **named))
            output = function(*args, **named)
            self._note(HEADS, partial(_side_by_side, output))
            return output
        if function is functional.multi_head_attention_forward:
            self._note(PATTERN, partial(_pattern_of_weights, function, args, named))
            self._note(HEADS, partial(_heads_unprojected, function, args, named))
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


def _side_by_side(output: Tensor) -> Tensor:
    if output.ndim != 4:
        raise NoMapError(f"attends with outputs {tuple(output.shape)}, not head by head")
    return output.transpose(1, 2).flatten(2)


def _pattern_of_weights(function: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """:func:`class_attention` of a function that also projects, and gives its weights if asked."""
    weights = function(*args, **{**named, "need_weights": True, "average_attn_weights": False})[1]
    return weights[:, :, 0].transpose(1, 2)


def _heads_unprojected(function: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
    """What its heads read: what the same function puts out when it does not mix them."""
    given = inspect.signature(function).bind(*args, **named)
    weight = given.arguments["out_proj_weight"]
    given.arguments["out_proj_weight"] = torch.eye(*weight.shape, device=weight.device, dtype=weight.dtype)
    given.arguments["out_proj_bias"] = None
    given.arguments["need_weights"] = False
    output = function(*given.args, **given.kwargs)[0]
    return output.transpose(0, 1)
