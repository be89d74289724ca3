"""Memory that is used again step after step."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Float32 = npt.NDArray[np.float32]

BRIEFLY = "scratch"
"""The key of room that a function needs for itself, until it returns."""


class Room:
    """Room for the tensors of a step, used again by the next one.

    Fresh memory comes from the system page by page: measured, a third of the time of a step.
    """

    def __init__(self) -> None:
        self._tensors: dict[Hashable, Tensor] = {}
        self._constants: dict[Hashable, tuple[Float32, Tensor]] = {}

    def take(self, key: Hashable, shape: Sequence[int], device: torch.device) -> Tensor:
        """A float32 tensor with arbitrary content, which stands in the place of the last one of that key."""
        size = math.prod(shape)
        if key not in self._tensors or len(self._tensors[key]) < size:
            self._tensors.pop(key, None)
            self._tensors[key] = torch.empty(size, dtype=torch.float32, device=device)
        return self._tensors[key][:size].view(tuple(shape))

    def constant(self, key: Hashable, values: Float32, device: torch.device) -> Tensor:
        """Values on a device, copied there once for as long as they stay the same: each copy waits for the device."""
        if key not in self._constants or not np.array_equal(self._constants[key][0], values):
            self._constants[key] = values, torch.from_numpy(values).to(device)
        return self._constants[key][1]
