"""`make bench`: all figures of docs/results.md in one run on one machine, into runs/bench/bench.json.

Timings that are compared run in turn after a warm-up, and the median of the repeats counts. `make bench ONLY=cuda` runs
one part: faces, trust, guidance, page, correlation, precision or cuda.
"""

import sys

import correlation
import cuda
import faces
import guidance
import page
import precision
import trust
from figures import BENCH

PARTS = {
    "faces": faces,
    "trust": trust,
    "guidance": guidance,
    "page": page,
    "correlation": correlation,
    "precision": precision,
    "cuda": cuda,
}


def main(wanted: list[str]) -> None:
    """Run some parts, or all."""
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        sys.exit(f"bench: there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if not wanted:
        (BENCH / "bench.json").unlink(missing_ok=True)
    for name in wanted or PARTS:
        PARTS[name].main()


if __name__ == "__main__":
    main(sys.argv[1:])
