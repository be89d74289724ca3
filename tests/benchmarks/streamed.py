"""A run that keeps the maps of 64 images against one that keeps all: time, bytes, memory, and what it finds.

The peak of memory is taken without the page, whose share does not depend on the images, and in the process of the flow.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from dask.system import cpu_count
from faces import RECIPE, folder_bytes, forward, mine
from figures import BENCH, clear, figure, report

from rosetta.recipe import read_recipe
from tasks.stage.memory import keep_freed_memory

IMAGES, KEPT = 2048, 64
KEEP = f"images.keep={KEPT}"
PATIENCE, CHECKPOINT = 20.0, 5.0
"""Seconds until a run is killed, and between two checkpoints."""
KEY = ["model_a", "unit_a", "model_b", "unit_b"]


def largest_change(one: Path, other: Path) -> float:
    """Of any correlation between two runs."""
    largest = 0.0
    for path in sorted((one / "correlations").iterdir()):
        then, now = (xr.open_zarr(root / "correlations" / path.name)["pearson"].values for root in (one, other))
        largest = max(largest, float(np.nanmax(np.abs(then - now))))
    return largest


def other_buddies(one: Path, other: Path) -> int:
    """Buddies of either run that are not of both."""
    tables = [pd.read_parquet(root / "tables" / "buddies.parquet")[KEY] for root in (one, other)]
    return int((tables[0].merge(tables[1], how="outer", indicator=True)["_merge"] != "both").sum())


def killed_again_and_again(undisturbed: Path, images: int) -> tuple[int, bool]:
    """Mine with a kill every few seconds: how often, and whether the bytes are those of an undisturbed run."""
    root = BENCH / "killed"
    clear("killed")
    settings = [f"images.count={images}", KEEP, f"compute.checkpoint_minutes={CHECKPOINT / 60}"]
    command = [sys.executable, "-m", "flows.command.main", "mine", str(RECIPE), "--root", str(root)]
    command += [part for change in settings for part in ("--set", change)]
    kills = 0
    while True:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            assert process.wait(PATIENCE) == 0
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    return kills, files(root) == files(undisturbed)


def files(root: Path) -> dict[str, bytes]:
    """What must not depend on how a run was made."""
    paths = (path for folder in ("correlations", "profiles") for path in (root / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def main() -> None:
    """Measure, write bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    recipe = read_recipe(RECIPE)
    mine("warm-up", 64)
    streamed, streamed_seconds, _ = mine("streamed", IMAGES, KEEP)
    stored, stored_seconds, _ = mine("stored", IMAGES)
    forward_seconds = forward(recipe, stored, plain=False)
    bytes_of = {root.name: folder_bytes(root) for root in (streamed, stored)}
    shutil.rmtree(stored)
    exact, _, _ = mine("exact", IMAGES, "compute.dtype=float32")
    change, others = largest_change(exact, streamed), other_buddies(exact, streamed)
    clear("exact", "stored", "warm-up")
    memory = {}
    for images in (1024, 8192):
        _, _, memory[images] = mine(f"streamed-{images}", images, KEEP)
    growth = memory[8192] / memory[1024]
    kills, same = killed_again_and_again(BENCH / "streamed-1024", 1024)
    figures = {
        "streamed_seconds": figure(streamed_seconds, "s"),
        "stored_seconds": figure(stored_seconds, "s"),
        "streamed_over_stored": figure(
            streamed_seconds / stored_seconds, "ratio", "≤ 0.8", streamed_seconds <= 0.8 * stored_seconds
        ),
        "streamed_bytes_over_stored": figure(
            bytes_of["streamed"] / bytes_of["stored"],
            "ratio",
            "≤ 0.1",
            bytes_of["streamed"] <= 0.1 * bytes_of["stored"],
        ),
        "streamed_over_forward": figure(
            streamed_seconds / forward_seconds, "ratio", "≤ 1.25", streamed_seconds <= 1.25 * forward_seconds
        ),
        "streamed_largest_change": figure(change, "", "≤ 1e-6", change <= 1e-6),
        "streamed_other_buddies": figure(others, "", "0", others == 0),
        "peak_memory_1024_streamed": figure(memory[1024] / 1024, "MiB"),
        "peak_memory_8192_over_1024_streamed": figure(growth, "ratio", "≤ 1.03", growth <= 1.03),
        "streamed_kills": figure(kills, ""),
        "streamed_killed_same_bytes": figure(float(same), "", "1", same),
    }
    clear("streamed", "streamed-1024", "streamed-8192", "killed")
    report(f"faces, {IMAGES} images of which {KEPT} are kept, {cpu_count()} cores", figures)


if __name__ == "__main__":
    main()
