"""From host memory to a GPU while the GPU still works on what came before."""

from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Move = Callable[[Tensor], Tensor]
Each = Callable[[Item, Move], Item]
"""Applies a function to every tensor of an item."""


class Staging:
    """Pinned host memory that tensors pass through on their way to a GPU, taken once and used for item after item.

    Taking pinned memory waits for the device, and costs more than most copies.
    """

    def __init__(self, pinned: bool = True) -> None:
        self._pinned = pinned
        self._buffers: list[Tensor] = []
        self._next = 0
        self.left: torch.cuda.Event | None = None
        """When the copies of the last item out of this memory are done."""

    def begin(self) -> None:
        """Begin with the next item; waits until the last one has left."""
        if self.left is not None:
            self.left.synchronize()
        self._next = 0

    def put(self, tensor: Tensor) -> Tensor:
        """A copy of an item's next tensor, good until the next item begins."""
        size = tensor.numel() * tensor.element_size()
        if self._next == len(self._buffers):
            self._buffers.append(torch.empty(0, dtype=torch.uint8))
        if len(self._buffers[self._next]) < size:
            self._buffers[self._next] = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)
        staged = self._buffers[self._next][:size].view(tensor.dtype).view(tensor.shape)
        self._next += 1
        return staged.copy_(tensor)


def in_turn(items: Iterable[Item], each: Each[Item], device: torch.device) -> Iterator[Item]:
    """The items, one after the other, on a device.

    On CUDA each is copied from pinned memory on a stream of its own, one item ahead: the copy of the next runs beside
    the work on this one. No more than three items are on the device at any time, and two in pinned memory. Elsewhere
    items come as they are.

    Parameters
    ----------
    each
        How to reach the tensors of an item.
    """
    if device.type != "cuda":
        yield from items
        return
    copies, staging = torch.cuda.Stream(device), cycle((Staging(), Staging()))
    work = torch.cuda.current_stream(device)
    waiting: tuple[Item, torch.cuda.Event] | None = None
    before: torch.cuda.Event | None = None

    def belongs_to_work(tensor: Tensor) -> Tensor:
        # Its memory was taken on the copying stream; it must not be given away while the work still reads it.
        tensor.record_stream(work)
        return tensor

    def ready(item: Item, copied: torch.cuda.Event) -> Item:
        work.wait_event(copied)
        return each(item, belongs_to_work)

    for item in items:
        with torch.cuda.stream(copies):
            moved, copied = _copied(item, each, next(staging), device)
        if waiting is not None:
            yield ready(*waiting)
            done = work.record_event()
            if before is not None:
                before.synchronize()
            before = done
        waiting = moved, copied
    if waiting is not None:
        yield ready(*waiting)


def _copied(item: Item, each: Each[Item], staging: Staging, device: torch.device) -> tuple[Item, torch.cuda.Event]:
    """An item on the device, and the event after which it is there; copied on the current stream."""
    staging.begin()
    moved = each(item, lambda tensor: staging.put(tensor).to(device, non_blocking=True))
    staging.left = torch.cuda.current_stream(device).record_event()
    return moved, staging.left
