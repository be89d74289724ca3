"""Where modules of libraries do not keep their tokens in the order of the rows of the image."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import nn

from rosetta.units import Grid

_INSIDE: Mapping[str, tuple[str, ...]] = {
    "MixerBlock": ("mlp_tokens",),
    "ResBlock": ("linear_tokens",),
    "SpatialGatingUnit": ("proj",),
    "MobileVitV2Block": ("transformer", "norm"),
    "MobileViTV2Layer": ("transformer", "layernorm"),
    "NestLevel": ("transformer_encoder",),
    "PartitionAttentionLayer": (
        "partition_op",
        "partition_swap",
        "attn_layer",
        "mlp_layer",
        "departition_swap",
        "departition_op",
    ),
    "AttentionalPooler": ("",),
}
"""Classes, with the modules in them that work on hidden tokens or learned queries, or on patches sorted by windows or
by pixels; an empty name is all of it."""
_HIERA = {"Hiera": "patch_embed", "HieraModel": "embeddings"}
"""Classes of Hiera (Ryali et al., 2023), with what is still in the order of the rows. Then come mask units, so that
pooling takes tokens that follow each other."""


def layouts_of(module: nn.Module) -> dict[str, Any]:
    """What a network must declare of its orders, as fields of :class:`rosetta.zoo.maps.layout.Traits`."""
    exceptions: dict[str, dict[str, Any]] = {}
    parts = dict(module.named_modules())
    for path, part in parts.items():
        children = _INSIDE.get(type(part).__name__, ())
        inside = tuple(f"{path}.{child}.".strip(".") + "." for child in children)
        for other in parts if inside else ():
            if f"{other}.".startswith(inside):
                exceptions[other] = {"no_map": "works on tokens in an order of its own, not in that of places"}
    kind = type(module).__name__
    if kind not in _HIERA:
        return {"exceptions": exceptions}
    orders = _mask_units(module)
    for path in parts:
        if f"{path}.".startswith(f"{_HIERA[kind]}."):
            exceptions[path] = {"orders": {}, "token_grid": orders[max(orders)][0]}
    exceptions["unroll"] = {"no_map": "is where tokens change their order"}
    return {"exceptions": exceptions, "orders": orders}


def _mask_units(module: Any) -> dict[int, tuple[Grid, tuple[int, ...]]]:
    """By length of a sequence of Hiera's, the grid and the token at each position, as the library itself undoes it."""
    sorter = getattr(module, "encoder", module)
    found: dict[int, tuple[Grid, tuple[int, ...]]] = {}
    for index, (_, size) in sorter.schedule.items() if sorter is not module else module.reroll.schedule.items():
        rows, columns = size
        tokens = torch.arange(prod(size), device="cpu")[None, :, None]
        found[prod(size)] = (rows, columns), tuple(sorter.reroll(tokens, index).flatten().tolist())
    return found
