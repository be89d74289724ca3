"""What all benchmarks share: one figure, repeats in turn, and the table that people read."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
BENCH = REPOSITORY / "runs" / "bench"
MISSING = 2
"""Exit status of a part that lacks something which can be installed."""

# Work in a process of its own says what it held at most. On Linux that comes from VmHWM: ru_maxrss survives exec there,
# so it would begin with what the parent held. macOS gives ru_maxrss in bytes.
MEASURED = """
import re, resource, sys
import psutil
sys.path[:0] = sys.argv[2].split(":")
def most():
    if sys.platform.startswith("linux"):
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
idle = 0
def begin():
    global idle
    idle = psutil.Process().memory_info().rss // 1024
try:
    {work}
finally:
    open(sys.argv[1], "w").write(f"{{idle}} {{most()}}")
"""


def figure(value: float, unit: str, aim: str | None = None, met: bool | None = None) -> dict[str, Any]:
    """One entry of bench.json."""
    return {"value": float(f"{value:.4g}"), "unit": unit, "aim": aim, "met": met}


def in_turn(repeats: int, *works: Callable[[], float]) -> list[float]:
    """Run some works one after the other, again and again; the median of what each gives, the first round left out."""
    rounds = [[work() for work in works] for _ in range(repeats + 1)]
    return [statistics.median(values) for values in zip(*rounds[1:], strict=True)]


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def apart(work: str, *arguments: str) -> tuple[float, int, int]:
    """Run Python lines in a process of their own; seconds, and KiB held when idle (at `begin()`) and at most.

    The lines find their arguments from `sys.argv[3]` on.
    """
    peak = BENCH / "peak"
    paths = f"{REPOSITORY}:{Path(__file__).parent}"
    program = MEASURED.format(work=work.strip().replace("\n", "\n    "))
    seconds = timed(
        lambda: subprocess.run(
            [sys.executable, "-c", program, str(peak), paths, *arguments], cwd=REPOSITORY, check=True
        )
    )
    idle, most = map(int, peak.read_text().split())
    peak.unlink()
    return seconds, idle, most


def clear(*names: str) -> None:
    """Remove folders of the benchmark."""
    for name in names:
        shutil.rmtree(BENCH / name, ignore_errors=True)


def require(there: object, what: str) -> None:
    """End the part with a line where something is not there."""
    if not there:
        print(what, file=sys.stderr)
        sys.exit(MISSING)


def read_bench() -> dict[str, Any]:
    """What bench.json holds."""
    file = BENCH / "bench.json"
    return json.loads(file.read_text()) if file.exists() else {}


def write_bench(content: Mapping[str, Any]) -> None:
    """Write bench.json, whole or not at all: a part may be killed at any time."""
    part = BENCH / "bench.json.part"
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False))
    part.replace(BENCH / "bench.json")


def report(heading: str, figures: Mapping[str, dict[str, Any]]) -> None:
    """Add figures to bench.json and print them."""
    write_bench({**read_bench(), **figures})
    print(heading)
    for name, entry in figures.items():
        verdict = {True: "met", False: "not met", None: ""}[entry["met"]]
        print(f"{name:38} {entry['value']:>10} {entry['unit']:8} {entry['aim'] or '':10} {verdict}", flush=True)
