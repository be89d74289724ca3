"""Whoever looks at maps while they are in memory, on their way into the store."""

from concurrent.futures import Future
from typing import Protocol

from torch import Tensor


class Observer(Protocol):
    """Takes the maps of a chunk of images once they are rounded.

    It is called in the threads of the pool. For each layer the calls come one after the other, in the order of images,
    each once; chunks of different layers may come at once. What it raises stops the stage. Blocks that are in the store
    already are not shown: they are read from it beforehand, see :meth:`tasks.dump.pipeline.Pipeline.missing`.
    """

    def __call__(self, layer: str, first_image: int, maps: Tensor) -> None:
        """Look at maps as they are stored.

        Parameters
        ----------
        maps : (column, image, channel, y, x) float32
            The layer's channels one after the other in columns of equally many; the last may have room for more, which
            is zero. They are valid during the call only, and are not to be changed.
            Those of a model on a GPU are there, and the current stream is one beside the model's: what is begun on it
            in one call is done before what the next call begins.
        """
        ...


class Turns:
    """Shows the chunks of each layer to an observer in the order in which turns were taken.

    No thread waits for ever: a turn waits for earlier ones only, which a pool that is first in, first out has begun.
    """

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._last: dict[str, Future[None]] = {}

    def take(self, layer: str, first_image: int) -> "Turn":
        """The next turn of a layer."""
        turn = Turn(self._observe, layer, first_image, self._last.get(layer))
        self._last[layer] = turn.done
        return turn


class Turn:
    """One chunk of a layer."""

    def __init__(self, observe: Observer, layer: str, first_image: int, before: Future[None] | None) -> None:
        self._observe, self._layer, self._first, self._before = observe, layer, first_image, before
        self.done: Future[None] = Future()
        """Set once the chunk was seen; fails where it, or one before it, could not be."""

    def __call__(self, maps: Tensor) -> None:
        """Show the maps once those before are seen."""
        try:
            if self._before is not None:
                self._before.result()
            self._observe(self._layer, self._first, maps)
        except BaseException as error:
            self.done.set_exception(error)
            raise
        self.done.set_result(None)

    def give_up(self, error: BaseException) -> None:
        """There will be no maps to show."""
        if not self.done.done():
            self.done.set_exception(error)
