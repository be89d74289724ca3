"""A step of a flow as a Prefect task: named for people, timed, tried again where that makes sense."""

import functools
import inspect
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, ParamSpec

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from storage.filesystem.root import LASTING
from tasks.stage.logs import about
from tasks.stage.metrics import Metrics, metered

P = ParamSpec("P")
Outcome = Literal["done", "skipped"]


@dataclass(frozen=True)
class StageResult:
    """One run of a stage, finished."""

    name: str
    seconds: float
    outcome: Outcome
    metrics: Metrics | None = None
    """What it took; None where there was nothing to do."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def run_as_task(title: str, work: Callable[[], Outcome]) -> StageResult:
    """Run a step of a flow as a Prefect task.

    Parameters
    ----------
    title
        What people read: the kind of step and what it is about, `dump ada`.
    work
        The step, which says whether there was anything to do. Every step is idempotent, so Prefect may try it again
        after a fault of storage or network. It takes no arguments: Prefect would walk through all that these hold.
    """
    kind, _, model = title.partition(" ")

    def run() -> StageResult:
        began = time.perf_counter()
        with metered() as meter, about(stage=kind, **({"model": model} if model else {})):
            outcome = work()
            metrics = meter.metrics() if outcome == "done" else None
        return StageResult(title, round(time.perf_counter() - began, 3), outcome, metrics)

    run.__qualname__ = kind  # a part of Prefect's key of the task
    return task(
        name=kind,
        task_run_name=title.replace("{", "{{").replace("}", "}}"),
        retries=2,
        retry_delay_seconds=[2, 10],
        retry_condition_fn=worth_a_retry,
        # Artifacts carry fingerprints of their own; Prefect's result cache would be a second, weaker truth.
        cache_policy=NO_CACHE,
        persist_result=False,
    )(run)()


def stage(name: str) -> Callable[[Callable[P, Outcome]], Callable[P, StageResult]]:
    """Make a step of a function that says whether there was anything to do.

    Parameters
    ----------
    name
        Its title, with the function's arguments as fields: `dump {spec.name}`.
    """

    def decorate(work: Callable[P, Outcome]) -> Callable[P, StageResult]:
        signature = inspect.signature(work)

        @functools.wraps(work)
        def run(*args: P.args, **kwargs: P.kwargs) -> StageResult:
            title = name.format(**signature.bind(*args, **kwargs).arguments)
            return run_as_task(title, lambda: work(*args, **kwargs))

        return run

    return decorate


def worth_a_retry(_task: object, _run: TaskRun, state: State) -> bool:
    """Storage and networks have bad moments; what the user must mend does not mend itself."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, OSError) and error.errno in LASTING:
        return False
    return isinstance(error, OSError | TimeoutError) and not isinstance(error, FileNotFoundError | PermissionError)
