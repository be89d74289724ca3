"""Which worker takes which blocks of which model next. It knows no cluster.

A generator comes first, as all others need its images. A worker then stays with a model until all of its blocks are
given out, and never comes back to it: so each worker loads each model once at most. One that is free goes to the model
with the most left to do for each worker that it has.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from storage.artifacts.blocks import block_slice

_SECONDS = 5.0
"""That a piece of work takes, about: much more than what it costs beside its blocks. A worker that dies loses it."""
_ROUNDS = 2
"""Pieces for each worker, at least, that the rest of a model is cut into, so that all end at about the same time."""


@dataclass
class Dump:
    """The dump of one model, and how far it is."""

    name: str
    block: int
    """Images in a block."""
    missing: Sequence[int]
    """Blocks to write, by rising index."""
    generator: bool = False
    """Whether it makes the images."""
    begun: bool = False
    """Whether its store is there, and was compared with the model."""
    under_way: int = 0
    """Pieces."""
    seconds: float | None = None
    """For a block, as far as known."""
    left: deque[int] = field(init=False)
    """Blocks that nobody has yet."""

    def __post_init__(self) -> None:
        self.left = deque(self.missing)

    @property
    def is_written(self) -> bool:
        """Whether all blocks are."""
        return not self.left and not self.under_way


@dataclass(frozen=True)
class Piece:
    """Blocks of a model for one worker."""

    model: str
    blocks: tuple[int, ...]
    first: bool
    """Whether no other worker works on the model before it is done."""


class Schedule:
    """Gives out pieces of work.

    Parameters
    ----------
    dumps
        In the order of the run.
    images
        Of the run.
    made
        (block,) which blocks of images are there.
    image_block
        Images in one of these.
    """

    def __init__(self, dumps: Sequence[Dump], images: int, made: npt.NDArray[np.bool_], image_block: int) -> None:
        self.dumps = {dump.name: dump for dump in dumps}
        self._images, self._made, self._image_block = images, made.copy(), image_block
        self._at: dict[str, str] = {}

    def next(self, worker: str, workers: int) -> Piece | None:
        """What a worker is to do next; None where it has to wait, or nothing is left.

        Parameters
        ----------
        workers
            How many there are.
        """
        dump = self._chosen(worker)
        if dump is None or not self._is_ready(dump):
            return None
        self._at[worker] = dump.name
        blocks = [dump.left.popleft() for _ in range(self._size(dump, workers))]
        dump.under_way += 1
        return Piece(dump.name, tuple(blocks), not dump.begun)

    def done(self, piece: Piece, seconds: float) -> None:
        """A piece is written."""
        dump = self.dumps[piece.model]
        dump.under_way -= 1
        dump.begun = True
        # The first piece of a worker loads the model, too.
        dump.seconds = min(seconds / len(piece.blocks), dump.seconds or math.inf)
        if dump.generator:
            for block in piece.blocks:
                self._made[self._image_blocks(dump, block)] = True

    def back(self, piece: Piece) -> None:
        """A piece was not written: its worker is gone."""
        dump = self.dumps[piece.model]
        dump.under_way -= 1
        dump.left = deque(sorted([*piece.blocks, *dump.left]))

    def lost(self, worker: str) -> None:
        """A worker is no longer there."""
        self._at.pop(worker, None)

    def images_in(self, model: str, blocks: Iterable[int]) -> int:
        """How many some blocks of a model have."""
        spans = (block_slice(block, self.dumps[model].block, self._images) for block in blocks)
        return sum(span.stop - span.start for span in spans)

    def _chosen(self, worker: str) -> Dump | None:
        current = self.dumps.get(self._at.get(worker, ""))
        if current is not None and current.left:
            return current
        generator = next((dump for dump in self.dumps.values() if dump.generator and dump.left), None)
        if generator is not None:
            return generator
        ready = [dump for dump in self.dumps.values() if self._is_ready(dump)]
        return max(ready, key=self._need, default=None)

    def _need(self, dump: Dump) -> float:
        """Seconds left to do for each worker that the model would have."""
        known = [one.seconds / one.block for one in self.dumps.values() if one.seconds is not None]
        seconds = dump.seconds or dump.block * (float(np.mean(known)) if known else 1.0)
        here = sum(name == dump.name for name in self._at.values())
        return len(dump.left) * seconds / (1 + here)

    def _is_ready(self, dump: Dump) -> bool:
        """Whether its next block can be written now."""
        if not dump.left or (dump.under_way and not dump.begun):
            return False
        return dump.generator or self._has_images(dump, dump.left[0])

    def _has_images(self, dump: Dump, block: int) -> bool:
        return bool(self._made[self._image_blocks(dump, block)].all())

    def _image_blocks(self, dump: Dump, block: int) -> slice:
        span = block_slice(block, dump.block, self._images)
        return slice(span.start // self._image_block, math.ceil(span.stop / self._image_block))

    def _size(self, dump: Dump, workers: int) -> int:
        """Blocks of the next piece: as many as take some seconds, fewer towards the end."""
        if dump.seconds is None or not dump.begun:
            return 1
        most = min(math.ceil(len(dump.left) / (_ROUNDS * workers)), int(_SECONDS / max(dump.seconds, 1e-6)))
        ahead = list(dump.left)[: max(1, most)]
        ready = [dump.generator or self._has_images(dump, block) for block in ahead]
        return max(1, ready.index(False) if False in ready else len(ready))
