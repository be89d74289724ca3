"""The same figures on a CUDA GPU, and whether transfers overlap with work; one line where there is none."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from correlation import FEW, MANY, growth, kernel_rate, matmul_rate, stage_over_matmul
from figures import BENCH, clear, figure, in_turn, report, timed
from precision import error
from torch import Tensor

from rosetta.mining.factors import PANEL, Room, factors
from rosetta.mining.gpu_copy import Move
from rosetta.mining.gpu_copy import in_turn as one_ahead
from rosetta.mining.moments import Accumulator
from rosetta.units import Layer, Units

_ITEMS, _SIZE = 24, 4096


def overlap() -> float:
    """The share of the shorter of copying and working that runs beside the longer: 1 is all of it."""
    device = torch.device("cuda")
    host = [torch.randn(_SIZE, _SIZE) for _ in range(_ITEMS)]

    def each(item: Tensor, move: Move) -> Tensor:
        return move(item)

    def moved() -> Iterator[Tensor]:
        return one_ahead(host, each, device)

    def products(items: Iterator[Tensor] | list[Tensor], count: int) -> None:
        for item in items:
            for _ in range(count):
                item @ item
        torch.cuda.synchronize()

    there = list(moved())
    # As much work an item as its copy takes, so that there is something to hide.
    copy_seconds = timed(lambda: products(moved(), 0))
    one = timed(lambda: products(there, 1))
    count = max(1, round(copy_seconds / one))
    copying, working, both = in_turn(
        5,
        lambda: timed(lambda: products(moved(), 0)),
        lambda: timed(lambda: products(there, count)),
        lambda: timed(lambda: products(moved(), count)),
    )
    return (copying + working - both) / min(copying, working)


def launching() -> float:
    """The share of a step's time in which the host gives the device its work; towards 1 the device waits for it."""
    units = Units((Layer("l", 4 * PANEL, (14, 14)),))
    maps = {"l": torch.randn((16, len(units), 14, 14), device="cuda", dtype=torch.float16)}
    shift, room, total = np.zeros(len(units), np.float32), Room(), Accumulator(units, units, device="cuda")
    make = partial(factors, units, maps, shift, units.grids(), device="cuda", dtype=torch.bfloat16, room=room)

    def steps() -> None:
        # So few that all of their kernels fit in the queue, where the host would have to wait.
        for _ in range(4):
            total.add(make(side="a"), make(side="b"))

    def share() -> float:
        given = timed(steps)
        return given / (given + timed(torch.cuda.synchronize))

    return in_turn(5, share)[0]


def main() -> None:
    """Measure and add to bench.json."""
    if not torch.cuda.is_available():
        print("cuda: no GPU here, so the figures of a CUDA GPU are not measured")
        return
    BENCH.mkdir(parents=True, exist_ok=True)
    figures = {}
    for precision in ("float32", "tf32", "bfloat16"):
        plain, kernel = in_turn(5, partial(matmul_rate, "cuda", precision), partial(kernel_rate, "cuda", precision))
        ratio = kernel / plain
        figures[f"cuda_kernel_over_matmul_{precision}"] = figure(ratio, "ratio", "≥ 0.80", ratio >= 0.8)
        figures[f"cuda_matmul_{precision}"] = figure(plain / 1e12, "TFLOP/s")
        figures[f"cuda_error_{precision}"] = figure(error(precision, "cuda"), "")
    whole, over = stage_over_matmul("cuda")
    more_time, more_memory = growth("cuda")
    clear(*(f"growth-{images}" for images in (FEW, MANY)))
    figures |= {
        "cuda_overlap_of_transfer_and_work": figure(overlap(), "share"),
        "cuda_launching_of_a_step": figure(launching(), "share"),
        "cuda_stage_over_matmul": figure(whole, "ratio", "≥ 0.65", whole >= 0.65),
        "cuda_peak_over_plan": figure(over, "ratio", "≤ 1.1", over <= 1.1),
        "cuda_peak_memory_4x_images": figure(more_memory, "ratio", "≤ 1.05", more_memory <= 1.05),
        "cuda_time_4x_images": figure(more_time, "ratio", "3.6…4.2", 3.6 <= more_time <= 4.2),
    }
    report(f"correlation on {torch.cuda.get_device_name()}, torch {torch.__version__}", figures)


if __name__ == "__main__":
    main()
