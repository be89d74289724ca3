"""Many runs in one process, and what each leaves behind; prints a JSON line a run.

`python many_runs.py FOLDER COUNT`, in an environment with a Prefect server.
"""

import gc
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from tinyzoo import recipe_text


def left(process: psutil.Process, folder: Path) -> dict[str, object]:
    """What of this process is there now."""
    gc.collect()
    scratch = Path(tempfile.gettempdir())
    return {
        "memory": process.memory_info().rss,
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "native_threads": process.num_threads(),
        "children": sorted(map(called, process.children(recursive=True))),
        "sockets": sum(1 for held in process.net_connections("all") if held.status != "NONE" or held.raddr),
        "files": process.num_fds(),
        "temporary": sorted(
            path.relative_to(scratch).as_posix() for path in scratch.rglob("*") if not _is_global(path)
        ),
        "parts": sorted(path.name for path in folder.rglob("*") if ".part" in path.name),
    }


def settle(process: psutil.Process, before: int) -> None:
    """Give a thread that is just ending a moment: its end is the kernel's, after Python's."""
    deadline = time.monotonic() + 10
    while process.num_threads() > before and time.monotonic() < deadline:
        time.sleep(0.05)


def called(child: psutil.Process) -> str:
    """What runs there."""
    command = " ".join(child.cmdline())
    return "resource_tracker" if "multiprocessing.resource_tracker" in command else command


def _is_global(path: Path) -> bool:
    """Whether Dask keeps it for all of a machine's workers of any time."""
    return path.name in ("global.lock", "purge.lock")


def main(folder: Path, count: int) -> None:
    """Run them; every third with worker processes."""
    from flows.mine import mine
    from rosetta.recipe import parse_recipe

    process = psutil.Process()
    threads = process.num_threads()
    for number in range(count):
        root = folder / f"run{number}"
        way = "local" if number % 3 == 2 else "threads"
        recipe = parse_recipe(recipe_text(root) + f'cluster = "{way}"\nworkers = 1\n', "soak")
        mined = mine(recipe)
        assert all(stage.outcome == "done" for stage in mined.stages)
        settle(process, threads)
        threads = process.num_threads()
        print(json.dumps(left(process, root)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
