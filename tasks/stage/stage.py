"""A stage of a run, as a Prefect task: named for people, timed, tried again where that makes sense."""

import functools
import inspect
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, ParamSpec

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from storage.filesystem.root import LASTING
from tasks.stage.logs import about
from tasks.stage.metrics import Metrics, metered

P = ParamSpec("P")
Outcome = Literal["done", "skipped"]


@dataclass(frozen=True)
class Stage:
    """One stage of a run, finished."""

    name: str
    seconds: float
    outcome: Outcome
    metrics: Metrics | None = None
    """What it took; None where there was nothing to do."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def stage(name: str) -> Callable[[Callable[P, Outcome]], Task[P, Stage]]:
    """Make a stage of a function that says whether there was anything to do.

    Parameters
    ----------
    name
        What people read, with the function's arguments as fields: `dump {spec.name}`. Every stage is idempotent,
        so Prefect may try each again after a fault of storage or network.
    """

    def decorate(work: Callable[P, Outcome]) -> Task[P, Stage]:
        signature = inspect.signature(work)

        @functools.wraps(work)
        def run(*args: P.args, **kwargs: P.kwargs) -> Stage:
            began = time.perf_counter()
            title = name.format(**signature.bind(*args, **kwargs).arguments)
            kind, _, model = title.partition(" ")
            with metered() as meter, about(stage=kind, **({"model": model} if model else {})):
                outcome = work(*args, **kwargs)
                metrics = meter.metrics() if outcome == "done" else None
            return Stage(title, round(time.perf_counter() - began, 3), outcome, metrics)

        return task(
            name=name.partition(" ")[0],
            task_run_name=name,
            retries=2,
            retry_delay_seconds=[2, 10],
            retry_condition_fn=worth_a_retry,
            # Artifacts carry fingerprints of their own; Prefect's result cache would be a second, weaker truth.
            cache_policy=NO_CACHE,
            persist_result=False,
        )(run)

    return decorate


def worth_a_retry(_task: object, _run: TaskRun, state: State) -> bool:
    """Storage and networks have bad moments; what the user must mend does not mend itself."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, OSError) and error.errno in LASTING:
        return False
    return isinstance(error, OSError | TimeoutError) and not isinstance(error, FileNotFoundError | PermissionError)
