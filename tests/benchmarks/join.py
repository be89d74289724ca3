"""A join of two generators of 36,864 and 25,407 units through a pivot of 36,864: some tiles of it, and what it takes.

Every tile of 1,024 × 1,024 units is alike, so one is measured through the whole pivot, or as many as the argument says:
90 of them are a tenth of the join. Correlations are made up: units follow a few of 400 factors, as strongly as chance
has it, and noise as that of real correlations lies over all.
"""

import sys
import time

import numpy as np
import numpy.typing as npt
from figures import figure, report

from rosetta.mining.factors import PANEL
from rosetta.mining.join.max_min import pivot_spans, raise_to_max_min, tile_bytes
from rosetta.units import Layer, Units

GENERATORS, PIVOT = (36_864, 25_407), Units(tuple(Layer(f"blocks.{layer}", 1024, (16, 16)) for layer in range(36)))
FACTORS, FOLLOWED, NOISE = 400, 0.02, 0.06

Float32 = npt.NDArray[np.float32]


def followed(random: np.random.Generator, units: int) -> Float32:
    """(unit, factor) of length 1 or less."""
    weights = random.normal(size=(units, FACTORS)) * (random.random((units, FACTORS)) < FOLLOWED)
    return (weights / (np.linalg.norm(weights, axis=1, keepdims=True) + 0.5)).astype(np.float32)


def main(tiles: int) -> None:
    """Measure some tiles, row by row; report what the whole takes by them."""
    random = np.random.default_rng(0)
    pivot = followed(random, len(PIVOT))

    def correlations() -> Float32:
        noise = random.normal(scale=NOISE, size=(PANEL, len(PIVOT))).astype(np.float32)
        return (followed(random, PANEL) @ pivot.T + noise).clip(-1, 1)

    across = -(-GENERATORS[1] // PANEL)
    seconds, terms = 0.0, 0
    for tile in range(tiles):
        if tile % across == 0:
            a = correlations()
        b = correlations()
        best = np.full((PANEL, PANEL), -np.inf, np.float32)
        began = time.process_time()
        for span in pivot_spans(PIVOT):
            terms += raise_to_max_min(best, a[:, span], np.ascontiguousarray(b[:, span].T))
        seconds += time.process_time() - began
    every = tiles * PANEL * PANEL * len(PIVOT)
    hours = GENERATORS[0] * GENERATORS[1] / PANEL**2 * seconds / tiles / 3600
    report(
        "join of 36,864 and 25,407 units through 36,864",
        {
            "join_tiles_measured": figure(tiles, ""),
            "join_seconds_measured": figure(seconds, "s"),
            "join_terms_per_second": figure(every / seconds / 1e9, "G/s"),
            "join_share_computed": figure(terms / every, ""),
            "join_core_hours": figure(hours, "h"),
            "join_tile_memory": figure(tile_bytes(PIVOT, PANEL) / 2**20, "MiB"),
        },
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
