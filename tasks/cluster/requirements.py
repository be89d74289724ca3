"""What a cluster must have before a run begins on it."""

from collections.abc import Mapping
from typing import Any

from rosetta.errors import UserError


def require_same_versions(address: str, client: Any) -> None:
    """Versions of Dask that differ fail later, in the middle of the work and in words that name neither.

    Raises
    ------
    UserError
        The scheduler or a worker has another version of Dask than this process.
    """
    found = client.get_versions()
    here = found["client"]["packages"]
    places = {"the scheduler": found["scheduler"]}
    places |= {f"worker {worker}": told for worker, told in found["workers"].items()}
    for place, told in places.items():
        for package in ("dask", "distributed"):
            there = (told or {}).get("packages", {}).get(package)
            if there != here[package]:
                raise UserError(
                    f"compute.cluster: {place} of {address} has {package} {there or 'of an unknown version'} and this"
                    f" process has {here[package]}; install the same version of dask and distributed on both"
                )


def require_able_workers(cluster: str, workers: Mapping[str, Any]) -> None:
    """
    Parameters
    ----------
    workers
        By address: what :func:`tasks.cluster.probe.probe` says there, or the error that it ends in.

    Raises
    ------
    UserError
        A worker lacks something, or does not see the run's root.
    """
    for worker, found in workers.items():
        remedy = "install rosetta-mine with the same versions there"
        if isinstance(found, BaseException):
            # Not even the question could be read there: this project is not installed.
            problem = f"cannot run this project ({type(found).__name__}: {found})"
        elif found["lacks"]:
            problem = f"has no {found['lacks']}"
        elif not found["sees_root"]:
            problem = "does not see the run's root"
            remedy = "put it on a file system or an object store that all workers share"
        else:
            continue
        raise UserError(f"compute.cluster: worker {worker} of {cluster} {problem}; {remedy}")
