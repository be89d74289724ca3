"""What a forward pass computes and moves, counted on torch's device `meta`, where nothing is computed."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from rosetta.model_spec import ModelSpec
from rosetta.zoo.families.diffusers.sampling import Generator
from rosetta.zoo.model import Model
from rosetta.zoo.structure import outline, run_outline

_BATCH = 16
"""Images in the pass that is counted: weights are read once for all of them."""
_CONVOLUTION = "convolution"


@dataclass(frozen=True)
class Work:
    """Of one image. A multiplication and an addition are two operations."""

    convolutions: int
    """Floating-point operations of convolutions."""
    products: int
    """Of matrix products."""
    moved: int
    """Bytes that all operations read and write, each by itself."""

    @property
    def operations(self) -> int:
        """Of convolutions and matrix products, which are nearly all there are."""
        return self.convolutions + self.products

    def __add__(self, other: "Work") -> "Work":
        return Work(self.convolutions + other.convolutions, self.products + other.products, self.moved + other.moved)

    def __mul__(self, times: int) -> "Work":
        return Work(times * self.convolutions, times * self.products, times * self.moved)


def forward_work(spec: ModelSpec) -> Work | None:
    """What a forward pass takes for each image, all steps of a diffusion model included; None without an outline.

    Raises
    ------
    UserError
        There are no such layers in the model, or no such classes.
    """
    if (model := outline(spec)) is None:
        return None
    try:
        steps = len(model.module.timesteps) if isinstance(model.module, Generator) else 1
        last = _counted(model, 1)
        if steps == 1:
            return last
        # All steps but the last are alike, and none has to be counted twice.
        both = _counted(model, 2)
        return last + (both + last * -1) * (steps - 1)
    except (RuntimeError, NotImplementedError):  # it asks for values on its way
        return None


def _counted(model: Model, steps: int) -> Work:
    """Of a pass with the last so many steps."""
    # Entered first, the counter of bytes sees what the counter of operations takes apart.
    from torch.utils.flop_counter import FlopCounterMode  # brings Triton with it, which takes a second to import

    with _Moved() as moved, FlopCounterMode(display=False) as counter:
        run_outline(model, _BATCH, steps)
    counts = counter.get_flop_counts()["Global"]
    convolutions = sum(count for kind, count in counts.items() if _CONVOLUTION in str(kind))
    products = sum(counts.values()) - convolutions
    return Work(convolutions // _BATCH, products // _BATCH, moved.count // _BATCH)


class _Moved(TorchDispatchMode):
    """Counts bytes of what operations read and write. Views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See torch."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [value for value in tree_iter((args, kwargs, result)) if isinstance(value, Tensor)]
            self.count += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result
