"""`make bench`: all figures of docs/results.md in one run on one machine, into runs/bench/bench.json.

Timings that are compared run in turn after a warm-up, and the median of the repeats counts. `make bench ONLY=cuda` runs
one part: faces, stores, dump, workers, streamed, trust, guidance, starts, forecast, table1, photographs, page,
correlation, sparse, precision, join or cuda.

Each part is a process of its own. One that fails, or lacks something, leaves the others alone: a line says why, and so
does `failed` in bench.json. The exit status is 0 when all parts ran, 2 when some only lacked something that can be
installed, else 1.
"""

import signal
import subprocess
import sys
from pathlib import Path

from figures import BENCH, MISSING, read_bench, write_bench

import rosetta  # noqa: F401 - parts, which load torch first, inherit how its threads wait

PARTS = {
    "faces": "faces",
    "stores": "activation_stores",
    "dump": "dump_rate",
    "workers": "two_workers",
    "streamed": "streamed",
    "trust": "trust",
    "guidance": "guidance",
    "starts": "starts",
    "forecast": "edit_forecast",
    "table1": "table1",
    "photographs": "photographs",
    "page": "page",
    "correlation": "correlation",
    "sparse": "sparse_features",
    "precision": "precision",
    "join": "join",
    # Beside a file `cuda.py` no part would find NVIDIA's package of that name, which torch imports.
    "cuda": "on_cuda",
}
"""By part, its module; other modules of tests have their folder on the path, too, so that names must not clash."""
_FAILED = "failed"


def main(wanted: list[str]) -> int:
    """Run some parts, or all; the exit status."""
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"bench: there is no part {unknown[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    BENCH.mkdir(parents=True, exist_ok=True)
    if not wanted:
        write_bench({})
    codes = {name: _run(name) for name in wanted or PARTS}
    if all(code in (0, MISSING) for code in codes.values()):
        return max(codes.values())
    return 1


def _run(name: str) -> int:
    """Run a part, say why where it does not end well, and give its exit status."""
    log = BENCH / f"{name}.log"
    with log.open("wb") as errors:
        # Its figures are printed as they come; a traceback of it is for the log.
        code = subprocess.run(
            [sys.executable, str(Path(__file__).parent / f"{PARTS[name]}.py")], stderr=errors
        ).returncode
    known = read_bench()
    failed = {part: why for part, why in known.pop(_FAILED, {}).items() if part != name}
    if code:
        failed[name] = _reason(code, log.read_text(errors="replace"))
        more = "" if code == MISSING else f" (all of it in {log})"
        print(f"bench: {name} is not measured: {failed[name]}{more}", file=sys.stderr, flush=True)
    write_bench({**known, _FAILED: failed} if failed else known)
    return code


def _reason(code: int, said: str) -> str:
    """Why a part ended with an exit status, in a line."""
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    headers = [place for place, line in enumerate(lines) if line.startswith("Traceback ")]
    # An error is told on the first line after its frames, which are indented; its message may go on below.
    told = [line for line in lines[headers[-1] + 1 :] if not line[0].isspace()] if headers else lines[-1:]
    return told[0] if told else f"it ended with status {code}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
