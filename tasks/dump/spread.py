"""Stage `dump` on the workers of a cluster: blocks of all models at once, each where its model is loaded already."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import block_count
from storage.artifacts.catalogue import ACTIVATIONS, IMAGES
from storage.artifacts.images import ImageStore
from tasks.cluster.absence import Absence
from tasks.cluster.engine import Cluster, died, engine
from tasks.cluster.reports import Report, listening, relayed
from tasks.dump.activations import fingerprint_of
from tasks.dump.memory import writers
from tasks.dump.model_store import cut
from tasks.dump.models import free
from tasks.dump.schedule import Dump, Piece, Schedule
from tasks.dump.team import Team
from tasks.dump.worker import Job, Lanes, dump_blocks, finish
from tasks.plan import Plan, Stage
from tasks.stage.logs import about
from tasks.stage.metrics import saw_images
from tasks.stage.progress import Advance, log, track

_LOOK = 1.0
"""Seconds after which it looks for workers that came or went, where nothing was done meanwhile."""
_LAST = 60.0
"""Seconds that blocks under way may take once something failed."""
_MOMENT = 0.1
"""Seconds between two looks at them."""
_DEATHS = 4
"""Workers that may die over the same piece of work; as many as Dask allows."""


def dump_on_workers(plan: Plan) -> None:
    """Write what is missing of all models' stores, and of a generator's images.

    Raises
    ------
    UserError
        As :func:`tasks.dump.activations.dump`; or a worker lacks what a model needs, before anything is written.
    """
    root = plan.root.absolute
    images = ImageStore.open(root, plan.fingerprint(IMAGES))
    if images is None:
        raise FileNotFoundError(f"{root.shown}/{IMAGES.path()}")
    jobs: dict[str, Job] = {}
    dumps: list[Dump] = []
    for name in plan.names:
        store = ActivationStore.open(root, plan.fingerprint(ACTIVATIONS, name), name)
        if store is None or not store.complete:
            jobs[name], dump = _begin(plan, name, images, store)
            dumps.append(dump)
    made = np.ones(1, bool) if images.complete else images.written()
    size = images.count if images.complete else images.block
    schedule = Schedule(dumps, images.count, made, size)
    with engine(plan.facts.cluster, plan.facts.threads, root) as where:
        assert isinstance(where, Cluster), "workers are there before this stage begins"
        team = Team.gathered(where, root, jobs)
        _SpreadDump(where, team, schedule, jobs).run(images.count)
        where.client.run(free, on_error="ignore")


SPREAD = Stage(
    "dump",
    (ACTIVATIONS,),
    fingerprint_of,
    dump_on_workers,
    per="run",
    protected=True,
    on_cluster=True,
    when=lambda plan: plan.is_spread,
)
"""The maps of all models, where workers make them."""


def _begin(plan: Plan, name: str, images: ImageStore, store: ActivationStore | None) -> tuple[Job, Dump]:
    # What decides how stores are cut is the same on each worker, and as in one process.
    compute = plan.recipe.compute.model_copy(update={"writers": writers(plan.recipe.compute)})
    units = Units(tuple(Layer(str(layer), rows, (y, x)) for layer, rows, y, x in plan.facts.models[name].layers))
    generator = plan.facts.generator is not None and plan.facts.generator.name == name
    blocks = cut(name, units, images, compute, store, generator).blocks
    job = Job(
        plan.root.absolute,
        plan.fingerprint(ACTIVATIONS, name),
        plan.fingerprint(IMAGES),
        plan.spec(name),
        plan.facts.weights[name],
        blocks,
        plan.recipe.compute,
    )
    written = np.zeros(block_count(images.count, blocks.shard), bool) if store is None else store.written()
    makes = generator and not images.complete
    if makes:
        written = written & images.written()
    return job, Dump(name, blocks.shard, [int(block) for block in np.flatnonzero(~written)], makes)


@dataclass(frozen=True)
class _Work:
    """What a worker was given."""

    future: Any
    then: Callable[[], None]
    """What follows once it is done."""
    back: Callable[[], None]
    """Takes the work back from a worker that is gone."""


@dataclass
class _SpreadDump:
    """Gives workers pieces of work until all is written; one at a time to each, and to no other."""

    where: Cluster
    team: Team
    schedule: Schedule
    jobs: Mapping[str, Job]
    _busy: dict[str, _Work] = field(default_factory=dict)
    """By address of a worker."""
    _finishing: list[Dump] = field(default_factory=list)
    """Of which all blocks are written."""
    _deaths: "Counter[tuple[str, int]]" = field(default_factory=Counter)
    """By model and first block of a piece."""
    _ended: "SimpleQueue[str]" = field(default_factory=SimpleQueue)
    """Workers that are done with something."""

    @cached_property
    def _absence(self) -> Absence:
        return Absence(self.where.address, self.team.resources is not None)

    def run(self, images: int) -> None:
        """Run it all.

        Parameters
        ----------
        images
            Of the run.
        """
        dumps = self.schedule.dumps
        title = f"dump {next(iter(dumps))}" if len(dumps) == 1 else f"dump {len(dumps)} models"
        total, left = images * len(dumps), sum(self.schedule.images_in(name, dump.left) for name, dump in dumps.items())
        # Some were stopped between their last block and the end.
        self._finishing = [dump for dump in dumps.values() if dump.is_written]
        with track(title, total) as advance, relayed(self.where.client, run := self.team.root.url):
            advance(total - left)
            with listening(counted := _Counted(advance, left), run=run):
                try:
                    self._give_out()
                    while self._busy or self._finishing or not all(dump.is_written for dump in dumps.values()):
                        self._settle()
                        self._give_out()
                except Exception:
                    self._wait()
                    raise
                finally:
                    self.where.client.cancel([work.future for work in self._busy.values()])
            counted.rest()

    def _settle(self) -> None:
        """Take what has ended, or wait a moment for it."""
        with suppress(Empty):
            worker = self._ended.get(timeout=_LOOK)
            work = self._busy.get(worker)
            if work is not None and work.future.done():
                del self._busy[worker]
                # No result is fetched: its worker may be gone by now, and it stands in the stores.
                if work.future.status in ("error", "cancelled"):
                    work.future.result()
                work.then()

    def _give_out(self) -> None:
        """Give each worker that has nothing to do something; what one had that is gone comes back first."""
        there = self.team.there()
        for worker in [worker for worker in self._busy if worker not in there]:
            work = self._busy.pop(worker)
            self.where.client.cancel([work.future])
            self.schedule.lost(worker)
            work.back()
        self._absence.look(bool(there))
        for worker, lanes in there.items():
            if worker in self._busy:
                continue
            if lanes is None:  # it came just now
                self._ask(worker)
            elif self._finishing:
                self._finish(worker, self._finishing.pop(0))
            elif (piece := self.schedule.next(worker, len(there))) is not None:
                self._dump(worker, piece, lanes)

    def _ask(self, worker: str) -> None:
        future = self.team.ask(worker)
        self._begun(worker, future, lambda: self.team.take(worker, future), lambda: None)

    def _dump(self, worker: str, piece: Piece, lanes: Lanes) -> None:
        given = self.jobs[piece.model], piece.blocks, piece.first, lanes
        future = self.where.client.submit(
            dump_blocks, *given, pure=False, workers=[worker], resources=self.team.resources
        )

        began = time.monotonic()

        def then() -> None:
            self.schedule.done(piece, time.monotonic() - began)
            saw_images(self.schedule.images_in(piece.model, piece.blocks))
            if (dump := self.schedule.dumps[piece.model]).is_written:
                self._finishing.append(dump)

        def back() -> None:
            self.schedule.back(piece)
            start = piece.model, piece.blocks[0]
            self._deaths[start] += 1
            if self._deaths[start] == _DEATHS:
                raise died(_DEATHS, worker)

        self._begun(worker, future, then, back)

    def _finish(self, worker: str, dump: Dump) -> None:
        future = self.where.client.submit(finish, self.jobs[dump.name], dump.generator, pure=False, workers=[worker])

        def then() -> None:
            with about(model=dump.name):
                log.info("dump %s: finished", dump.name)

        self._begun(worker, future, then, lambda: self._finishing.append(dump))

    def _begun(self, worker: str, future: Any, then: Callable[[], None], back: Callable[[], None]) -> None:
        self._busy[worker] = _Work(future, then, back)
        future.add_done_callback(lambda _: self._ended.put(worker))

    def _wait(self) -> None:
        """Let what is under way end: nothing may be written once the run has given its root back."""
        until = time.monotonic() + _LAST
        while time.monotonic() < until and not all(work.future.done() for work in self._busy.values()):
            time.sleep(_MOMENT)


class _Counted:
    """Advances by the images that workers report, never beyond what there is."""

    def __init__(self, advance: Advance, left: int) -> None:
        self._advance, self._left = advance, left

    def __call__(self, report: Report) -> None:
        more = min(report.images, self._left)
        self._left -= more
        self._advance(more)

    def rest(self) -> None:
        """Advance by what no report came of: its worker died between writing and reporting."""
        self._advance(self._left)
        self._left = 0
