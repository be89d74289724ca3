"""The graph of a correlation and where it runs: threads of this process, or the workers of a Dask cluster.

The work of a tile has parts over ranges of images, added up in a tree, and a last step. The graph is the same on each
engine, and so are the bytes that come out (:mod:`rosetta.mining.plan`).
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, ClassVar
from uuid import uuid4

import dask
import dask.threaded
import torch
from dask.callbacks import Callback
from dask.delayed import Delayed, delayed

from rosetta.errors import UserError
from storage.filesystem.root import Root
from storage.filesystem.s3 import retries
from tasks.cluster.absence import Absence
from tasks.cluster.gpus import processes
from tasks.cluster.probe import probe, retried
from tasks.cluster.requirements import require_able_workers, require_same_versions
from tasks.stage.metrics import ContextThreads
from tasks.stage.progress import Advance, log

_LOOK = 5.0
"""Seconds after which it looks whether any worker is left, where nothing was done meanwhile."""
_PATIENCE = "10s"
"""How long a scheduler may take to answer."""
PART = "part"
"""What the keys of tasks begin with that count as progress."""
_TOPIC = "rosetta-part"
"""Where workers say that a part is done, with their address and its key."""


@dataclass(frozen=True)
class TileGraph:
    """The work of some tiles that read together."""

    parts: list[Delayed]
    """What counts as progress."""
    ends: list[Delayed]
    """The last task of each tile."""


def part(work: Callable[..., object], *arguments: object) -> Delayed:
    """A task that counts as progress."""
    return delayed(work, pure=False)(*arguments, dask_key_name=f"{PART}-{uuid4().hex}")


def summed(parts: list[Delayed], merge: Callable[[Sequence[Any]], Any]) -> Delayed:
    """Parts added up, neighbours first, until one is left; the tree depends on nothing but their number."""
    level = parts
    while len(level) > 1:
        level = [
            delayed(merge, pure=False)(level[start : start + 2]) if start + 1 < len(level) else level[start]
            for start in range(0, len(level), 2)
        ]
    return level[0]


def _parts(tasks: Sequence[Delayed]) -> set[str]:
    """Keys of what counts as progress in some tasks."""
    return {str(key) for task in tasks for key in task.__dask_graph__() if str(key).startswith(f"{PART}-")}


@dataclass(frozen=True)
class Capacity:
    """What a plan needs to know of where it will run."""

    workers: int
    threads: int
    """Tasks that a worker runs at once."""
    fewer: bool
    """Whether fewer can run at once where memory is short."""


@dataclass(frozen=True)
class Threads:
    """Threads of this process."""

    capacity: Capacity
    gpu_workers: ClassVar[bool] = False

    def run(self, tasks: Sequence[Delayed], advance: Advance, at_once: int) -> None:
        """Run them all. What they give is not fetched: they write it."""
        parts = _parts(tasks)
        done = Callback(posttask=lambda key, *_: advance(1) if key in parts else None)
        with done, _all_torch_threads(), ContextThreads(at_once) as pool:
            # Given by name, dask would import all of distributed to look for it there.
            dask.compute(*tasks, scheduler=dask.threaded.get, pool=pool, optimize_graph=False)


@dataclass(frozen=True)
class Worker:
    """What a scheduler knows of a worker."""

    host: str
    threads: int
    gpu: bool
    """Whether it carries the resource `GPU`."""


@dataclass(frozen=True)
class Cluster:
    """The workers of a Dask cluster, processes of this machine or machines of their own."""

    client: Any
    capacity: Capacity
    gpu_workers: bool
    """Whether some carry the resource `GPU`."""

    def workers(self) -> dict[str, Worker]:
        """Those that are there now, by address."""
        return {
            address: Worker(str(entry["host"]), int(entry["nthreads"]), _has_gpu(entry))
            for address, entry in _entries(self.client).items()
        }

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(self.client.scheduler.address)

    def run(self, tasks: Sequence[Delayed], advance: Advance, at_once: int) -> None:
        """Run them all. What they give is not fetched: they write it, and their worker may be gone by then.

        What a lost worker had not finished runs again on another. Of work that is meant for certain workers, the rest
        is left undone once all of them are lost and others came, as Dask would not give it to those: deal it out again.

        Raises
        ------
        UserError
            Workers die over a piece of work again and again, or none has been there for a while.
        """
        from distributed import KilledWorker

        parts = _parts(tasks)
        # Another run may have the same scheduler.
        self.client.subscribe_topic(_TOPIC, lambda event: advance(1) if event[1][1] in parts else None)
        futures = self.client.compute(list(tasks), optimize_graph=False)
        ended: SimpleQueue[Any] = SimpleQueue()
        for future in futures:
            future.add_done_callback(ended.put)
        left, absence = (
            len(futures),
            Absence(self.address, needs_gpu := any(_asks(task, "resources") for task in tasks)),
        )
        meant = {*self.workers()} if any(_asks(task, "workers") for task in tasks) else set()
        try:
            while left:
                try:
                    future = ended.get(timeout=_LOOK)
                except Empty:
                    there = {one for one, worker in self.workers().items() if worker.gpu or not needs_gpu}
                    absence.look(bool(there))
                    if meant and there and meant.isdisjoint(there):
                        return
                    continue
                absence.look(True)
                if future.status in ("error", "cancelled"):
                    future.result()
                future.release()
                left -= 1
        except KilledWorker as error:
            raise died(error.allowed_failures + 1, error.last_worker.address) from None
        finally:
            self.client.cancel(futures)
            with suppress(ValueError, KeyError):
                self.client.unsubscribe_topic(_TOPIC)


def died(times: int, last: str) -> UserError:
    """What a user is told once workers have died over the same piece of work so many times.

    Parameters
    ----------
    last
        Address of the last one.
    """
    return UserError(
        f"compute.cluster: workers died {times} times on the same piece of work"
        f" ({last} last); give them more memory, or lower compute.memory"
    )


def worker_address() -> str:
    """Of the cluster's worker that this runs on."""
    from distributed import get_worker

    return str(get_worker().address)


def worker_of_cluster() -> str | None:
    """The same; None in a process that is no worker."""
    if "distributed" in sys.modules:
        with suppress(ValueError):
            return worker_address()
    return None


def part_done() -> None:
    """Say on a cluster's worker that a part is done; on a thread of this process Dask says it itself."""
    if "distributed" not in sys.modules:
        return
    from distributed import get_worker

    with suppress(ValueError):
        worker = get_worker()
        worker.log_event(_TOPIC, (worker.address, worker.get_current_task()))


Engine = Threads | Cluster


@contextmanager
def engine(cluster: str, threads: int, root: Root) -> Iterator[Engine]:
    """The engine that a recipe asks for.

    Parameters
    ----------
    cluster
        `threads`, or a scheduler's address.
    threads
        Of this process.

    Raises
    ------
    UserError
        Nobody answers at that address, or its workers cannot do the work.
    """
    if cluster == "threads":
        yield Threads(capacity(cluster, threads))
        return
    with _connected(cluster, root.url) as client:
        workers = [*_entries(client).values()]
        before = client.run(retried)
        yield Cluster(client, _capacity(workers), any(map(_has_gpu, workers)))
        for worker, count in client.run(retried, on_error="ignore").items():
            retries.add(count - before.get(worker, 0))


@contextmanager
def local_processes(workers: int) -> Iterator[str]:
    """Worker processes on this machine, one thread each; yields their scheduler's address."""
    from distributed import LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with LocalCluster(n_workers=workers, dashboard_address=_DASHBOARD, **_LOCAL, **_WORKER) as cluster:
        log.info("the Dask dashboard of %d workers is at %s", workers, cluster.dashboard_link)
        yield str(cluster.scheduler_address)


@contextmanager
def local_gpus(gpus: Sequence[str]) -> Iterator[str]:
    """The same with a worker for each GPU, which sees no other.

    Parameters
    ----------
    gpus
        As :func:`tasks.cluster.gpus.visible` names them.
    """
    from distributed import Nanny, Scheduler, SpecCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    workers = {
        number: {"cls": Nanny, "options": {**_GPU_WORKER, **asdict(one)}} for number, one in enumerate(processes(gpus))
    }
    scheduler = {"cls": Scheduler, "options": {"host": _HERE, "dashboard_address": _DASHBOARD}}
    with SpecCluster(workers, scheduler, silence_logs=logging.CRITICAL) as cluster:
        log.info("the Dask dashboard of %d GPUs is at %s", len(gpus), cluster.dashboard_link)
        yield str(cluster.scheduler_address)


_HERE, _DASHBOARD = "127.0.0.1", "127.0.0.1:0"
# The plan keeps the memory; Dask's own limit would only spill what is about to be used.
_WORKER: dict[str, Any] = {"memory_limit": None}
_LOCAL: dict[str, Any] = {"threads_per_worker": 1, "host": _HERE, "silence_logs": logging.CRITICAL}
_GPU_WORKER: dict[str, Any] = {**_WORKER, "nthreads": 1, "host": _HERE, "silence_logs": logging.CRITICAL}


def capacity(cluster: str, threads: int, processes: int | None = None) -> Capacity:
    """What there is to work with, for a plan before any work.

    Parameters
    ----------
    cluster
        `threads`, `local`, or a scheduler's address.
    threads
        Of this process.
    processes
        Of a cluster that is `local`.

    Raises
    ------
    UserError
        Nobody answers at that address, or its workers cannot do the work.
    """
    if cluster == "threads":
        return Capacity(1, threads, fewer=True)
    if cluster == "local":
        return Capacity(processes or threads, 1, fewer=False)
    return check_cluster(cluster, "auto")


@lru_cache(maxsize=8)
def check_cluster(address: str, device: str) -> Capacity:
    """Ask a cluster whether it is there and has what the recipe asks for.

    Raises
    ------
    UserError
        Nobody answers at that address, it has no workers, or no GPU where one is asked for.
    """
    with _connected(address, None) as client:
        workers = [*_entries(client).values()]
        log.info("the Dask dashboard of %s is at %s", address, client.dashboard_link)
        if device.startswith("cuda") and not any(map(_has_gpu, workers)):
            raise UserError(
                f"compute.device: no worker of {address} has a GPU; start some with"
                " dask worker … --resources GPU=1, or use auto or cpu"
            )
        return _capacity(workers)


def _entries(client: Any) -> dict[str, dict[str, Any]]:
    """What the scheduler knows of its workers, by address."""
    # Not client.scheduler_info(), whose answer a timer of the client replaces by one without workers now and then.
    return dict(client.sync(client.scheduler.identity, n_workers=-1)["workers"])


def _has_gpu(worker: Mapping[str, Any]) -> bool:
    return "GPU" in worker.get("resources", {})


def _asks(task: Delayed, what: str) -> bool:
    """Whether some step of a task is meant for workers with `resources`, or for certain `workers`."""
    graph: Any = task.__dask_graph__()
    return any(what in (layer.annotations or {}) for layer in graph.layers.values())


def _capacity(workers: Sequence[Mapping[str, Any]]) -> Capacity:
    return Capacity(len(workers), max(worker["nthreads"] for worker in workers), fewer=False)


@contextmanager
def _connected(address: str, root: str | None) -> Iterator[Any]:
    """A client of a scheduler whose workers can do the work, and see the root of a run where one is given."""
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    # A scheduler that is not there, or not the right one, is one line of ours, not pages of theirs.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=VersionMismatchWarning)
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split()) if isinstance(error, ValueError) else "nobody answers"
        raise UserError(
            f"compute.cluster: {reason} at {address}; start a scheduler there, or use threads or local"
        ) from None
    try:
        require_same_versions(address, client)
        if not _entries(client):
            raise UserError(f"compute.cluster: {address} has no workers; start some with dask worker {address}")
        require_able_workers(address, client.run(probe, root, on_error="return"))
        yield client
    finally:
        client.close()


@contextmanager
def _all_torch_threads() -> Iterator[None]:
    """Give torch its settings back afterwards: some of what a worker thread sets holds for the whole process."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
