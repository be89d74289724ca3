"""Who takes which blocks: every block once, images before those who look at them, each model once a worker."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dump.schedule import Dump, Piece, Schedule

IMAGES = 64
BLOCKS = st.sampled_from([1, 2, 4, 8, 16, 64])


def dumps_of(blocks: list[int], generator: bool) -> list[Dump]:
    """Models m0, m1, …, of which the first may make the images."""
    return [
        Dump(f"m{number}", block, range(IMAGES // block), generator and number == 0)
        for number, block in enumerate(blocks)
    ]


class Simulated:
    """Workers that take what they are given, in simulated time."""

    def __init__(self, schedule: Schedule, generator_block: int | None, workers: int, seed: int) -> None:
        self.schedule, self.random = schedule, random.Random(seed)
        self.made = np.zeros(IMAGES, bool) if generator_block else np.ones(IMAGES, bool)
        self.speed = {f"w{number}": self.random.uniform(0.5, 2) for number in range(workers)}
        self.busy: dict[str, tuple[float, Piece]] = {}
        self.loads: list[tuple[str, str]] = []
        self.written: list[tuple[str, int]] = []
        self.at: dict[str, str] = {}
        self.now = self.idle = 0.0

    def run(self, deaths: int = 0) -> None:
        while not all(dump.is_written for dump in self.schedule.dumps.values()):
            for worker in self.speed:
                if worker not in self.busy and (piece := self.schedule.next(worker, len(self.speed))):
                    self._begin(worker, piece)
            assert self.busy, "somebody always has something to do"
            worker = min(self.busy, key=lambda name: self.busy[name][0])
            self.idle += (len(self.speed) - len(self.busy)) * (self.busy[worker][0] - self.now)
            self.now, piece = self.busy.pop(worker)
            if deaths and self.random.random() < 0.3:
                deaths -= 1
                self.schedule.lost(worker)
                self.schedule.back(piece)
                continue
            self._end(piece)

    def _begin(self, worker: str, piece: Piece) -> None:
        dump = self.schedule.dumps[piece.model]
        spans = [slice(block * dump.block, (block + 1) * dump.block) for block in piece.blocks]
        assert dump.generator or all(self.made[span].all() for span in spans)
        assert piece.first == (not any(model == piece.model for model, _ in self.written))
        if self.at.get(worker) != piece.model:
            self.loads.append((worker, piece.model))
        self.at[worker] = piece.model
        self.busy[worker] = (self.now + len(piece.blocks) * dump.block * self.speed[worker], piece)

    def _end(self, piece: Piece) -> None:
        dump = self.schedule.dumps[piece.model]
        self.schedule.done(piece, float(len(piece.blocks) * dump.block))
        self.written += [(piece.model, block) for block in piece.blocks]
        if dump.generator:
            for block in piece.blocks:
                self.made[block * dump.block : (block + 1) * dump.block] = True


@given(
    st.lists(BLOCKS, min_size=1, max_size=5), st.booleans(), st.integers(1, 9), st.integers(0, 99), st.integers(0, 4)
)
def test_every_block_is_written_once_in_an_order_that_can_be(blocks, generator, workers, seed, deaths):
    dumps = dumps_of(blocks, generator)
    made = np.full(IMAGES // blocks[0], not generator)
    schedule = Schedule(dumps, IMAGES, made, blocks[0])
    run = Simulated(schedule, blocks[0] if generator else None, workers, seed)
    run.run(deaths)
    assert sorted(run.written) == [(dump.name, block) for dump in dumps for block in range(IMAGES // dump.block)]
    if not deaths:
        assert len(run.loads) == len(set(run.loads)), "no worker comes back to a model"


def test_eight_models_on_eight_workers_are_loaded_once_each():
    dumps = dumps_of([2] * 8, generator=False)
    run = Simulated(Schedule(dumps, IMAGES, np.ones(1, bool), IMAGES), None, 8, 1)
    run.speed = dict.fromkeys(run.speed, 1.0)
    run.run()
    assert sorted(model for _, model in run.loads) == [dump.name for dump in dumps]
    assert run.idle == 0


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_workers_help_where_most_is_left(workers):
    """One model has sixteen times the work of another, and all workers end at about the same time."""
    dumps = [Dump("long", 1, range(640)), Dump("short", 1, range(40))]
    run = Simulated(Schedule(dumps, 640, np.ones(1, bool), 640), None, workers, 3)
    run.speed = dict.fromkeys(run.speed, 1.0)
    run.run()
    assert run.idle <= 0.05 * workers * run.now


def test_pieces_are_a_few_seconds_long_and_small_at_the_end():
    schedule = Schedule([Dump("m", 1, range(100))], 100, np.ones(1, bool), 100)
    sizes = []
    while piece := schedule.next("w", 2):
        sizes.append(len(piece.blocks))
        schedule.done(piece, 0.5 * len(piece.blocks))
    assert sizes[0] == 1, "how long a block takes is not known yet"
    assert sizes[1:3] == [10, 10]
    assert sizes[-1] == 1
    assert sorted(sizes[1:], reverse=True) == sizes[1:]
    assert sum(sizes) == 100
