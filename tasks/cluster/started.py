"""The workers that a recipe asks for; those of this machine are started here, and end with the work."""

from collections.abc import Iterator
from contextlib import contextmanager

from rosetta.recipe import Compute
from tasks.cluster.engine import local_gpus, local_processes
from tasks.cluster.gpus import visible


@contextmanager
def workers_of(compute: Compute, threads: int, gpus: int = 1) -> Iterator[str]:
    """Yields `threads` where this process does the work, else the address of a scheduler.

    Parameters
    ----------
    threads
        Processes to start with `cluster = "local"` where the recipe does not say how many.
    gpus
        Of this machine, that get a process each.
    """
    if compute.cluster == "local":
        with local_processes(compute.workers or threads) as address:
            yield address
    elif gpus > 1:
        with local_gpus(visible()[:gpus]) as address:
            yield address
    else:
        yield compute.cluster
