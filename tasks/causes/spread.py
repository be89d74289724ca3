"""Work on models of a finished run, on all cores of this machine, or on the workers of the run's cluster.

Each piece of work runs on one core, wherever that is, so the same bytes come out. What a lost worker had not finished
runs again on another.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, Self, TypeVar

import dask
import torch
from dask.system import cpu_count

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from rosetta.zoo.model import Model
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root
from storage.run.data import RunData
from tasks.cluster.engine import Cluster, engine, part, part_done
from tasks.cluster.started import workers_of
from tasks.dump.team import Team
from tasks.stage.memory import keep_freed_memory
from tasks.stage.progress import track


class Planned(Protocol):
    """What all pieces of some work have in common."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Of what comes out."""


class Opened(Protocol):
    """A finished run with its models."""

    @property
    def data(self) -> RunData:
        """What lies there."""

    @property
    def device(self) -> str:
        """Where its models are loaded."""

    def model(self, name: str) -> Model:
        """A model, loaded, for this thread alone."""

    @classmethod
    def open(cls, root: Root, elsewhere: bool = False) -> Self:
        """The run, on a worker `elsewhere`."""


R = TypeVar("R", bound=Opened)
Work = Callable[[R, Any, Any], None]
"""Takes the run, what is planned, and one piece; writes what comes out, and may do so twice."""


@dataclass(frozen=True)
class _Wanted:
    """A model that workers are to run."""

    spec: ModelSpec
    sha256: str
    compute: Compute


def spread(title: str, run: R, models: Iterable[str], work: Work[R], plan: Planned, pieces: Sequence[object]) -> None:
    """Do all pieces of some work.

    Parameters
    ----------
    models
        That it runs.

    Raises
    ------
    UserError
        Workers cannot run a model, or die over the same piece again and again.
    """
    compute, root, threads = run.data.recipe.compute, run.data.root.absolute, cpu_count()
    wanted = {name: _Wanted(run.data.spec(name), run.model(name).weights_sha256, compute) for name in models}
    with workers_of(compute, threads) as address, engine(address, threads, root) as where:
        if isinstance(where, Cluster):
            resources = Team.gathered(where, root, wanted).resources
            with dask.annotate(resources=resources) if resources else nullcontext():
                tasks = [part(_elsewhere, type(run), root, work, plan, piece) for piece in pieces]
            at_once = where.capacity.threads
        else:
            tasks = [part(_here, run, work, plan, piece) for piece in pieces]
            at_once = threads if run.device == "cpu" else 1
        with track(title, len(tasks)) as advance:
            where.run(tasks, advance, at_once)
        if isinstance(where, Cluster):
            where.client.run(_opened.cache_clear, on_error="ignore")


def _here(run: R, work: Work[R], plan: Planned, piece: object) -> None:
    keep_freed_memory()
    # Convolutions round otherwise on several threads.
    torch.set_num_threads(1)
    work(run, plan, piece)


def _elsewhere(kind: type[R], root: Root, work: Work[R], plan: Planned, piece: object) -> None:
    _here(_opened(kind, root, plan.fingerprint.digest), work, plan, piece)
    part_done()


@lru_cache(maxsize=1)
def _opened(kind: type[Any], root: Root, _of: str) -> Any:
    """The run on a worker, which may see another one under the same root later: its work has another fingerprint."""
    return kind.open(root, elsewhere=True)
