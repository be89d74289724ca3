"""Runs stages one after the other, and says whether there is anything to do."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from flows.plan.gather import with_places
from storage.artifacts import shared
from storage.artifacts.shared import Place
from tasks.cluster.started import workers_of
from tasks.plan import Plan, Stage
from tasks.stage.stage import StageResult


def run(plan: Plan, stages: Sequence[Stage]) -> list[StageResult]:
    """Run stages in their order, each for all that it runs for; what is finished is skipped."""
    spread = [stage for stage in stages if stage.on_cluster and stage.instances(plan)]
    results, started = [], False
    with ExitStack() as workers:
        for stage in stages:
            if stage in spread and not started and not stage.is_finished(plan):
                plan, started = workers.enter_context(_with_workers(plan)), True
            if plan.recipe.images.from_ is not None and not stage.is_finished(plan):
                plan = with_places(plan)  # runs beside this one may have taken names meanwhile
                link_shared(plan)
            results += [stage.run(plan, names) for names in stage.instances(plan)]
            if spread and stage is spread[-1]:
                workers.close()
    return results


def nothing_to_do(plan: Plan, stages: Sequence[Stage]) -> list[StageResult] | None:
    """What running finished stages would give; None where one has something to do."""
    if not all(stage.is_finished(plan) for stage in stages):
        return None
    return [StageResult(stage.title(names), 0.0, "skipped") for stage in stages for names in stage.instances(plan)]


@contextmanager
def _with_workers(plan: Plan) -> Iterator[Plan]:
    """The same with the address of workers, where some are started here: processes, or one for each of several GPUs."""
    with workers_of(plan.recipe.compute, plan.facts.threads, plan.facts.gpus) as address:
        yield plan.given(cluster=address)


def link_shared(plan: Plan) -> None:
    """Write down which artifacts lie under the root that the recipe shares."""
    shared.link(plan.root, plan.facts.places)


def is_linked(plan: Plan) -> bool:
    """Whether that is written down."""
    before = shared.shared_places(plan.root)
    places = plan.facts.places.items()
    linked = all(before.get(path) == Place(place.root.absolute, place.path) for path, place in places)
    return linked and (plan.recipe.images.from_ is not None or not before)
