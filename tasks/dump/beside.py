"""Work on a GPU beside its model: streams of their own for rounding, and for bringing maps to the host."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Copied:
    """What is on its way to pinned host memory."""

    parts: tuple[Tensor, ...]
    """There once :meth:`wait` returns."""
    done: torch.cuda.Event

    def wait(self) -> None:
        """Wait for it, in the thread that needs it; neither the device nor the model does."""
        self.done.synchronize()


class Streams:
    """Two streams of a device: one that works on maps, in the order in which it is given them, and one that copies."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._work, self._copies = torch.cuda.Stream(device), torch.cuda.Stream(device)

    @classmethod
    def of(cls, device: torch.device) -> "Streams | None":
        """Those of a device that has any."""
        return cls(device) if device.type == "cuda" else None

    def pinned(self, size: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Zeros in host memory that the device copies to by itself."""
        return torch.zeros(tuple(size), dtype=dtype, pin_memory=True)

    def filled(self) -> torch.cuda.Event:
        """The moment when the model's stream has come to where it is now."""
        return torch.cuda.current_stream(self.device).record_event()

    def emptied(self) -> None:
        """Let the model's stream wait for work that was begun on what it is about to write to."""
        torch.cuda.current_stream(self.device).wait_stream(self._work)

    @contextmanager
    def working(self, after: torch.cuda.Event | None = None) -> Iterator[None]:
        """What is done in this context is done beside the model, after a moment of its stream."""
        with torch.cuda.stream(self._work):
            if after is not None:
                self._work.wait_event(after)
            yield

    def to_host(self, room: Tensor, hosted: Tensor, others: Sequence[Tensor]) -> Copied:
        """Begin to copy a room to its pinned twin, and smaller tensors to new ones, once what is under way is done."""
        ready = self._work.record_event()
        with torch.cuda.stream(self._copies):
            self._copies.wait_event(ready)
            hosted.copy_(room, non_blocking=True)
            parts = tuple(self.pinned(one.shape, one.dtype).copy_(one, non_blocking=True) for one in others)
            for one in others:
                one.record_stream(self._copies)
            return Copied(parts, self._copies.record_event())
