"""What a model holds in memory while it runs, found out on torch's device `meta`, where nothing is computed."""

from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from rosetta.model_spec import ModelSpec
from rosetta.zoo.listed import kept_of_listed
from rosetta.zoo.model import Model
from rosetta.zoo.structure import outline, run_outline, without_weights

_COPIES = 2
"""Of the weights, while they are loaded: those of the file, and the model's own."""


def footprint(spec: ModelSpec, images: int) -> int | None:
    """Bytes that loading a model and a forward pass of so many images take at most; None where it has no outline."""
    return _footprint(without_weights(spec), images)


@kept_of_listed
def _footprint(spec: ModelSpec, images: int) -> int | None:
    if (model := outline(spec)) is None:
        return None
    module = model.module
    weights = sum(part.numel() * part.element_size() for part in (*module.parameters(), *module.buffers()))
    try:
        return _COPIES * weights + _forward(model, images)
    except (RuntimeError, NotImplementedError):  # it asks for values on its way
        return None


def _forward(model: Model, images: int) -> int:
    # Each step of a diffusion model takes as much as any other; the last is the one whose maps are captured.
    with _Live() as live:
        run_outline(model, images, last_steps=2)
    return live.most


class _Live(TorchDispatchMode):
    """Counts the bytes of tensors that are alive at once, with as much again for what each operation works on.

    Convolutions bring their inputs, weights and outputs into layouts of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._sizes: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See torch."""
        result = func(*args, **(kwargs or {}))
        storages = {}
        for value in tree_iter((args, kwargs, result)):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                storages[id(storage)] = storage
        made = {id(value.untyped_storage()) for value in tree_iter(result) if isinstance(value, Tensor)}
        for key, storage in storages.items():
            if key in made:
                self._sizes[storage] = storage.nbytes()
        working = sum(storage.nbytes() for storage in storages.values())
        self.most = max(self.most, sum(self._sizes.values()) + working)
        return result
