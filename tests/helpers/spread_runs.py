"""Dumps of small runs, in one process and on workers, without flows around them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tinyzoo
from distributed import Client

from flows.plan.checks import prepare
from rosetta.recipe import parse_recipe
from storage.filesystem.root import Root
from tasks.dump.activations import DUMP, GENERATE
from tasks.dump.images import DRAW_IMAGES
from tasks.dump.spread import SPREAD
from tasks.plan import Plan

REPOSITORY = Path(__file__).parents[2]
HELPERS = Path(__file__).parent
ALL = tuple(name for name in tinyzoo.MODELS if name not in ("bad", "end"))


def planned(root: Path, cluster: str = "threads", text: str = "", count: int = 45, **compute: object) -> Plan:
    """A plan over small models, with its images laid out; the same recipe stands in every root."""
    recipe = parse_recipe(text or tinyzoo.recipe_text(root, ALL, count=count), "tiny", str(root))
    changes = {"cluster": "local" if cluster != "threads" else cluster, "device": "cpu", **compute}
    Root(str(root)).remove("recipe.toml")
    plan = prepare(recipe.model_copy(update={"compute": recipe.compute.model_copy(update=changes)}))
    plan.root.write_bytes("recipe.toml", b"")
    DRAW_IMAGES.make(plan)
    return plan.given(cluster=cluster)


def dumped(plan: Plan) -> dict[str, bytes]:
    """Dump all models of a plan, wherever it says; every file that is there then."""
    for stage in (SPREAD, GENERATE, DUMP):
        for names in stage.instances(plan):
            stage.make(plan, names)
    return files(plan.root)


def files(root: Root) -> dict[str, bytes]:
    """All files of images and maps, by path."""
    folder = Path(root.url)
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "recipe.toml"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths)}


@contextmanager
def worker(
    address: str, *options: str, script: Path | None = None, cwd: Path | None = None, path: Path = HELPERS
) -> Iterator[None]:
    """A worker as a user starts it; `path` is where it finds modules of a user's own."""
    command = [str(script)] if script else ["-m", "distributed.cli.dask_worker"]
    process = subprocess.Popen(
        [sys.executable, *command, address, "--no-nanny", "--nthreads", "1", "--no-dashboard", *options],
        cwd=cwd,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{path}"},
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def connected(address: str, workers: int) -> Iterator[Client]:
    """A client of a scheduler, once it has so many workers."""
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=60)
        yield client
