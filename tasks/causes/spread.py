"""Interventions on all cores of this machine, or on the workers of the run's cluster.

Each piece of work runs on one core, wherever that is, so the same bytes come out. What a lost worker had not finished
runs again on another.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import dask
import torch
from dask.system import cpu_count

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Compute
from storage.artifacts.fingerprint import Fingerprint
from storage.filesystem.root import Root
from tasks.causes.run import CausesRun
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


Work = Callable[[CausesRun, Any, Any], None]
"""Takes the run, what is planned, and one piece; writes what comes out, and may do so twice."""


@dataclass(frozen=True)
class _Wanted:
    """A model that workers are to run."""

    spec: ModelSpec
    sha256: str
    compute: Compute


def spread(
    title: str, run: CausesRun, models: Iterable[str], work: Work, plan: Planned, pieces: Sequence[object]
) -> None:
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
                tasks = [part(_elsewhere, root, work, plan, piece) for piece in pieces]
            at_once = where.capacity.threads
        else:
            tasks = [part(_here, run, work, plan, piece) for piece in pieces]
            at_once = threads if run.device == "cpu" else 1
        with track(title, len(tasks)) as advance:
            where.run(tasks, advance, at_once)
        if isinstance(where, Cluster):
            where.client.run(_opened.cache_clear, on_error="ignore")


def _here(run: CausesRun, work: Work, plan: Planned, piece: object) -> None:
    keep_freed_memory()
    # Convolutions round otherwise on several threads.
    torch.set_num_threads(1)
    work(run, plan, piece)


def _elsewhere(root: Root, work: Work, plan: Planned, piece: object) -> None:
    _here(_opened(root, plan.fingerprint.digest), work, plan, piece)
    part_done()


@lru_cache(maxsize=1)
def _opened(root: Root, _of: str) -> CausesRun:
    """The run on a worker, which may see another one under the same root later: its work has another fingerprint."""
    return CausesRun.open(root, elsewhere=True)
