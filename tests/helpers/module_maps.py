"""What modules put out, taken with plain hooks."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn


def maps_of(
    net: nn.Module, names: Iterable[str], *inputs: Tensor, through: Callable[..., Tensor] | None = None
) -> dict[str, Tensor]:
    """What the named modules put out, in the order in which they did, and the `image`.

    Parameters
    ----------
    through
        The part of the network that takes the inputs, instead of the whole.
    """
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _, __, output: maps.update({name: output.clone()})

    handles = [net.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    maps["image"] = (through or net)(*inputs)
    for handle in handles:
        handle.remove()
    return maps
