"""From host memory to a GPU while the GPU still works on what came before."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Move = Callable[[Tensor], Tensor]
Each = Callable[[Item, Move], Item]
"""Applies a function to every tensor of an item."""


def in_turn(items: Iterable[Item], each: Each[Item], device: torch.device) -> Iterator[Item]:
    """The items, one after the other, on a device.

    On CUDA each is copied from pinned memory on a stream of its own, one item ahead: the copy of the next runs beside
    the work on this one. No more than three items are on the device at any time. Elsewhere items come as they are.

    Parameters
    ----------
    each
        How to reach the tensors of an item.
    """
    if device.type != "cuda":
        yield from items
        return
    copies = torch.cuda.Stream(device)
    work = torch.cuda.current_stream(device)
    waiting: tuple[Item, torch.cuda.Event] | None = None
    before: torch.cuda.Event | None = None

    def copy(tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(device, non_blocking=True)

    def belongs_to_work(tensor: Tensor) -> Tensor:
        # Its memory was taken on the copying stream; it must not be given away while the work still reads it.
        tensor.record_stream(work)
        return tensor

    def ready(item: Item, copied: torch.cuda.Event) -> Item:
        work.wait_event(copied)
        return each(item, belongs_to_work)

    for item in items:
        with torch.cuda.stream(copies):
            moved = each(item, copy)
            copied = copies.record_event()
        if waiting is not None:
            yield ready(*waiting)
            done = work.record_event()
            if before is not None:
                before.synchronize()
            before = done
        waiting = moved, copied
    if waiting is not None:
        yield ready(*waiting)
