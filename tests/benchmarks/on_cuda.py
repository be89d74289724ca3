"""The same figures on a CUDA GPU, and whether transfers overlap with work; one line where there is none."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from correlation import (
    FEW,
    MANY,
    MEMORY,
    STAGE_IMAGES,
    THREADS,
    A,
    B,
    growth,
    kernel_rate,
    matmul_rate,
    plan,
    set_precision,
    stage,
    stores,
    wait,
)
from dump_on_gpu import dump_figures
from figures import BENCH, clear, figure, in_turn, report, timed
from precision import error
from synthetic import WIDE
from torch import Tensor

from rosetta.mining.factors import PANEL, factors
from rosetta.mining.gpu_copy import Move
from rosetta.mining.gpu_copy import in_turn as one_ahead
from rosetta.mining.moments import Accumulator, Precision, factor_dtype
from rosetta.mining.room import Room
from rosetta.units import Layer, Units
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting

Figures = dict[str, dict[str, Any]]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
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


def same_shapes(precision: Precision) -> float:
    """Operations a second of bare products of the shapes that correlating multiplies: four panels a side, one step."""
    set_precision(precision)
    terms, repeats = 16 * 14 * 14, 64
    a, b = (torch.randn(4 * PANEL, terms, device="cuda", dtype=factor_dtype(precision)) for _ in range(2))
    out = torch.empty(4 * PANEL, 4 * PANEL, device="cuda", dtype=a.dtype)
    operations = repeats * 2 * terms * (4 * PANEL) ** 2
    return operations / timed(lambda: [torch.mm(a, b.T, out=out) for _ in range(repeats)] and wait("cuda"))


def kernels() -> Figures:
    """Multiplying with the maps on the device, and how exact it is."""
    figures = {}
    for precision in PRECISIONS:
        plain, same, kernel = in_turn(
            5,
            partial(matmul_rate, "cuda", precision),
            partial(same_shapes, precision),
            partial(kernel_rate, "cuda", precision),
        )
        ratio = kernel / plain
        figures[f"cuda_kernel_over_matmul_{precision}"] = figure(ratio, "ratio", "≥ 0.80", ratio >= 0.8)
        figures[f"cuda_kernel_over_same_shapes_{precision}"] = figure(kernel / same, "ratio")
        figures[f"cuda_matmul_{precision}"] = figure(plain / 1e12, "TFLOP/s")
        figures[f"cuda_error_{precision}"] = figure(error(precision, "cuda"), "")
    return figures


def beside() -> Figures:
    """What runs beside what."""
    return {
        "cuda_overlap_of_transfer_and_work": figure(overlap(), "share"),
        "cuda_launching_of_a_step": figure(launching(), "share"),
    }


def whole_stage() -> Figures:
    """The stage from store to store, by precision: its rate, and what it takes of the device's memory."""
    root, figures = stores("wide", WIDE, STAGE_IMAGES), {}
    planned = plan(root, "cuda")
    maps = STAGE_IMAGES * 4 * sum(layer.values for layers in WIDE.values() for layer in layers)
    torch.cuda.reset_peak_memory_stats()
    for precision in PRECISIONS:
        setting = Setting(threads=THREADS, memory=MEMORY, device="cuda", precision=precision, ahead=1)

        def run(setting: Setting = setting) -> float:
            root.remove(CORRELATIONS.path(A, B))
            return timed(lambda: correlate(root, {(A, B): fingerprint("bench")}, setting))

        (seconds,) = in_turn(1, run)
        figures[f"cuda_stage_{precision}"] = figure(planned.operations / seconds / 1e12, "TFLOP/s")
        figures[f"cuda_stage_reads_{precision}"] = figure(maps / seconds / 1e9, "GB/s")
    figures["cuda_stage_memory"] = figure(torch.cuda.max_memory_allocated() / 2**30, "GiB")
    clear("wide")
    return figures


def more_images() -> Figures:
    """What four times the images cost."""
    more_time, more_memory = growth("cuda")
    _, over = stage(Root(str(BENCH / f"growth-{MANY}")), "cuda")
    clear(*(f"growth-{images}" for images in (FEW, MANY)))
    return {
        "cuda_peak_over_plan": figure(over, "ratio", "≤ 1.1", over <= 1.1),
        "cuda_peak_memory_4x_images": figure(more_memory, "ratio", "≤ 1.05", more_memory <= 1.05),
        "cuda_time_4x_images": figure(more_time, "ratio", "3.6…4.2", 3.6 <= more_time <= 4.2),
    }


PARTS: dict[str, Callable[[], Figures]] = {
    "kernels": kernels,
    "beside": beside,
    "vit": partial(dump_figures, "vit"),
    "resnet": partial(dump_figures, "resnet"),
    "stage": whole_stage,
    "growth": more_images,
}


def main() -> None:
    """Measure what is named on the command line, or everything, and add to bench.json part by part."""
    if not torch.cuda.is_available():
        print("cuda: no GPU here, so the figures of a CUDA GPU are not measured")
        return
    BENCH.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or PARTS:
        report(f"{name}, on {torch.cuda.get_device_name()}, torch {torch.__version__}", PARTS[name]())


if __name__ == "__main__":
    main()
