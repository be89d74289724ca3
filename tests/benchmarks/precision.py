"""What each precision costs in accuracy: the largest error of any correlation against float64, on synthetic maps."""

import numpy as np
import torch
from figures import BENCH, figure, report

from rosetta.mining.factors import factors
from rosetta.mining.moments import Accumulator, Precision, factor_dtype
from rosetta.mining.pearson import pearson
from rosetta.units import Layer, Units

UNITS, IMAGES, STEP, GRID = 512, 512, 16, (14, 14)


def error(precision: Precision, device: str = "cpu") -> float:
    """Of correlations that spread over the whole range, with means of three times the spread."""
    random = np.random.default_rng(0)
    scenes = random.normal(size=(IMAGES, 8, *GRID))
    units = Units((Layer("l", UNITS, GRID),))
    maps = []
    for _ in range(2):
        mix = random.normal(size=(8, UNITS)) * (random.random((8, UNITS)) < 0.3)
        noise = random.normal(size=(IMAGES, UNITS, *GRID)) * random.uniform(0.01, 2, (1, UNITS, 1, 1))
        maps.append((3 + np.einsum("nsyx,su->nuyx", scenes, mix) + noise).astype(np.float16))
    shifts = [each.mean(axis=(0, 2, 3), dtype=np.float64).astype(np.float32) for each in maps]
    total = Accumulator(units, units, device=device)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    for start in range(0, IMAGES, STEP):
        total.add(
            *(
                factors(
                    units,
                    {"l": torch.from_numpy(each[start : start + STEP])},
                    shift,
                    (GRID,),
                    device=device,
                    dtype=factor_dtype(precision),
                )
                for each, shift in zip(maps, shifts, strict=True)
            )
        )
    varies = np.zeros(UNITS, dtype=bool)
    found = pearson(total.moments(), units, units, varies, varies)
    flat = [torch.from_numpy(each).double().transpose(0, 1).flatten(1) for each in maps]
    flat = [each - each.mean(dim=1, keepdim=True) for each in flat]
    flat = [each / each.norm(dim=1, keepdim=True) for each in flat]
    return float(np.abs(found - (flat[0] @ flat[1].T).numpy()).max())


def main() -> None:
    """Measure and add to bench.json."""
    BENCH.mkdir(parents=True, exist_ok=True)
    report(
        "precision on the processor, largest error of a correlation",
        {f"error_{precision}": figure(error(precision), "") for precision in ("float32", "bfloat16")},
    )


if __name__ == "__main__":
    main()
