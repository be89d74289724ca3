"""Dumps of the faces on two local worker processes over one such process.

Each has a core of its own, for the one thread of its model and for its writer: where one worker may use a second core,
it writes there, and the ratio says how many cores the machine has.
"""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from dask.system import cpu_count
from distributed import Client
from figures import BENCH, REPOSITORY, clear, figure, in_turn, report, require, timed

from flows.plan.checks import prepare
from rosetta.recipe import Recipe, read_recipe
from storage.artifacts import provenance
from tasks.cluster.engine import local_processes
from tasks.dump.images import DRAW_IMAGES
from tasks.dump.spread import SPREAD
from tasks.plan import Plan

RECIPE = REPOSITORY / "deployments" / "recipes" / "faces.toml"
REPEATS = 2
CHANGES = ("compute.cluster=local", "compute.workers=2", "compute.writers=1", "compute.device=cpu")


def pin(address: str) -> None:
    """Give each worker of a scheduler a core of its own, where the system can."""
    if sys.platform.startswith("linux"):
        with Client(address, set_as_default=False) as client:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            for worker, core in zip(workers, sorted(os.sched_getaffinity(0)), strict=False):
                client.run(_pin, core, workers=[worker])


def _pin(core: int) -> None:
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), {core})


def planned(recipe: Recipe) -> Plan:
    """The plan of a run whose images are laid out."""
    plan = prepare(recipe)
    provenance.write_recipe(plan.root, plan.recipe)
    DRAW_IMAGES.make(plan)
    return plan


def dumped(plan: Plan, address: str) -> float:
    """Seconds to dump all models, images included, on the workers of a scheduler."""
    for path in ("activations", "images.zarr"):
        plan.root.remove(path)
    DRAW_IMAGES.make(plan)
    return timed(lambda: SPREAD.make(plan.given(cluster=address)))


def main(images: int) -> None:
    """Measure, add to bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    clear("workers")
    require(cpu_count() > 1, "two workers need two cores")
    logging.getLogger("rosetta").setLevel(logging.WARNING)
    changes = (*CHANGES, f"images.count={images}")
    plan = planned(read_recipe(RECIPE, str(BENCH / "workers"), changes))
    # Models are loaded anew in each round, as a run loads them: workers free them at its end.
    with local_processes(1) as one, local_processes(2) as two:
        pin(one)
        pin(two)
        of_one, of_two = in_turn(REPEATS, lambda: dumped(plan, one), lambda: dumped(plan, two))
    over = of_one / of_two
    seen = images * len(plan.models)
    report(
        f"dumping {images} faces through {len(plan.models)} models on local workers of one core each",
        {
            "one_worker_dump_rate": figure(seen / of_one, "images/s"),
            "two_workers_dump_over_one": figure(over, "times", "≥ 1.8", over >= 1.8),
        },
    )
    clear("workers")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
