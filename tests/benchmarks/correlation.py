"""The correlation stage against the hardware: rates, memory, growth and workers, on synthetic stores."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import torch
from dask.system import cpu_count
from figures import BENCH, apart, clear, figure, in_turn, report, timed
from synthetic import WIDE, write

from rosetta.mining.buddies import Buddies, best_buddies
from rosetta.mining.factors import PANEL, factors, segments
from rosetta.mining.grid import product_grid
from rosetta.mining.moments import Accumulator, Precision, factor_dtype
from rosetta.mining.plan import PairPlan, plan_pair
from rosetta.mining.room import Room
from rosetta.units import Layer, Units
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.nearest import neighbours
from storage.filesystem.root import Root
from tasks.cluster.engine import local_processes
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting, plan_side

A, B = WIDE
MEMORY = 2 << 30
THREADS = cpu_count()
STAGE_IMAGES = 192
SMALL = {name: layers[: max(1, len(layers) // 8)] for name, layers in WIDE.items()}
"""3 layers and 1: 4,608 and 1,024 units, for what grows with images and workers."""
FEW, MANY = 512, 2048
HALF = {name: [Layer(f"block.{i}", 1536, (14, 14)) for i in range(8)] for name in (A, B)}
"""12,288 units each, for a model with itself."""
HALF_IMAGES = 64

STAGE = """
from storage.filesystem.root import Root
from storage.artifacts.fingerprint import fingerprint
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting
root, a, b, threads, memory, device = Root(sys.argv[3]), *sys.argv[4:6], *map(int, sys.argv[6:8]), sys.argv[8]
import time
import torch
ones = torch.ones(8, 8, device=device)
(ones @ ones).cpu()  # what the first product on a GPU loads is there while the process is idle
begin()
began = time.perf_counter()
setting = Setting(threads=threads, memory=memory, device=device, ahead=int(device != "cpu"))
correlate(root, {(a, b): fingerprint("bench")}, setting)
open(sys.argv[9], "w").write(str(time.perf_counter() - began))
"""


def stores(name: str, layers: dict[str, list[Layer]], images: int) -> Root:
    """A root with two synthetic stores."""
    root = Root(str(BENCH / name))
    root.remove("")
    for seed, (model, of_model) in enumerate(layers.items()):
        write(root, model, of_model, images, seed)
    root.write_bytes("recipe.toml", b"")
    return root


def plan(root: Root, device: str = "cpu", threads: int = THREADS) -> PairPlan:
    """What the stage will do there."""
    sides = [plan_side(ActivationStore.read(root, model)) for model in (A, B)]
    setting = Setting(threads=threads, memory=MEMORY, device=device, ahead=int(device != "cpu")).multiplying()
    return plan_pair(*sides, memory=MEMORY, threads=setting.threads, fewer=True, ahead=setting.ahead)


def matmul_rate(device: str = "cpu", precision: Precision = "float32") -> float:
    """Operations a second of a plain matrix product: on all threads, or on the GPU in the same precision."""
    torch.set_num_threads(THREADS)
    set_precision(precision)
    size, repeats = (4096, 4) if device == "cpu" else (8192, 40)
    a, b, c = (torch.randn(size, size, device=device, dtype=factor_dtype(precision)) for _ in range(3))
    return repeats * 2 * size**3 / timed(lambda: [torch.mm(a, b.T, out=c) for _ in range(repeats)] and wait(device))


def kernel_rate(device: str = "cpu", precision: Precision = "float32") -> float:
    """Operations a second of factors and moments, with the maps on the device; a task on each thread, or one a GPU."""
    units = Units((Layer("l", 4 * PANEL, (14, 14)),)), Units((Layer("l", 4 * PANEL, (14, 14)),))
    images, steps, tasks = (16, 8, THREADS) if device == "cpu" else (16, 64, 1)
    random = np.random.default_rng(0)
    maps = [
        {"l": torch.from_numpy(random.standard_normal((images, len(u), 14, 14), dtype=np.float32)).half().to(device)}
        for u in units
    ]
    shifts = [np.zeros(len(u), dtype=np.float32) for u in units]
    make = partial(factors, device=device, dtype=factor_dtype(precision))

    def task(_: int) -> None:
        torch.set_num_threads(1)
        total, room = Accumulator(*units, device=device), Room()
        for _ in range(steps):
            total.add(
                make(units[0], maps[0], shifts[0], units[1].grids(), room=room, side="a"),
                make(units[1], maps[1], shifts[1], units[0].grids(), room=room, side="b"),
            )
        wait(device)

    set_precision(precision)
    operations = tasks * steps * 2 * len(units[0]) * len(units[1]) * images * 14 * 14
    with ThreadPoolExecutor(tasks) as pool:
        return operations / timed(lambda: list(pool.map(task, range(tasks))))


def wait(device: str) -> bool:
    """Wait until a GPU has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()
    return True


def set_precision(precision: Precision) -> None:
    """As the stage does it."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def stage(root: Root, device: str = "cpu", threads: int = THREADS) -> tuple[float, float]:
    """Seconds of the whole stage from store to store, and its peak memory over what its plan promised."""
    root.remove(CORRELATIONS.path(A, B))
    out = BENCH / "seconds"
    _, idle, most = apart(STAGE, root.url, A, B, str(threads), str(MEMORY), device, str(out))
    seconds = float(out.read_text())
    out.unlink()
    return seconds, (most - idle) * 1024 / plan(root, device, threads).peak_bytes


def stage_over_matmul(device: str = "cpu") -> tuple[float, float]:
    """The stage's rate over a plain product's, measured before and after; and its worst peak over the plan."""
    root = stores("wide", WIDE, STAGE_IMAGES)
    rates, over = [], []
    for _ in range(3):
        before = matmul_rate(device)
        seconds, promise = stage(root, device)
        rates.append(plan(root).operations / seconds / ((before + matmul_rate(device)) / 2))
        over.append(promise)
    clear("wide")
    return float(np.median(rates)), max(over)


def growth(device: str = "cpu") -> tuple[float, float]:
    """What four times the images cost: in time, and in peak memory."""
    roots = {images: stores(f"growth-{images}", SMALL, images) for images in (FEW, MANY)}
    found = {images: [stage(root, device) for _ in range(3)] for images, root in roots.items()}
    seconds = {images: float(np.median([s for s, _ in runs])) for images, runs in found.items()}
    peaks = {
        images: float(np.median([over for _, over in runs])) * plan(roots[images], device).peak_bytes
        for images, runs in found.items()
    }
    return seconds[MANY] / seconds[FEW], peaks[MANY] / peaks[FEW]


def self_over_other() -> float:
    """Seconds of a model with itself over those of the same with another as large; half of a symmetric matrix."""
    root = stores("half", HALF, HALF_IMAGES)

    def run(pair: tuple[str, str]) -> float:
        root.remove(CORRELATIONS.path(*pair))
        return timed(lambda: correlate(root, {pair: fingerprint("bench")}, Setting(threads=THREADS, memory=MEMORY)))

    of_itself, of_other = in_turn(2, lambda: run((A, A)), lambda: run((A, B)))
    clear("half")
    return of_itself / of_other


def bare_products(models: Mapping[str, Units], pairs: Sequence[tuple[str, str]], images: int, step: int = 16) -> float:
    """Seconds of the matrix products of some pairs and of nothing else, as many images at once as a step has."""
    torch.set_num_threads(1)
    products = []
    for a, b in pairs:
        for left in segments(models[a]):
            for right in segments(models[b]):
                if a != b or left.units[0] // PANEL <= right.units[0] // PANEL:
                    positions = step * int(np.prod(product_grid(left.grid, right.grid)))
                    products.append((len(left.units), len(right.units), positions))
    longest = max(rows * positions for rows, _, positions in products), max(c * p for _, c, p in products)

    def multiply(steps: int) -> None:
        left, right = (torch.randn(size) for size in longest)
        out = torch.empty(PANEL * PANEL)
        for _ in range(steps):
            for rows, columns, positions in products:
                a, b = left[: rows * positions].view(rows, -1), right[: columns * positions].view(columns, -1)
                torch.mm(a, b.T, out=out[: rows * columns].view(rows, columns))

    with ThreadPoolExecutor(THREADS) as pool:
        return timed(lambda: list(pool.map(multiply, [images // step // THREADS] * THREADS)))


def workers(root: Root) -> float:
    """One local worker's time over two's, one thread each."""

    def run(address: str) -> float:
        root.remove(CORRELATIONS.path(A, B))
        return timed(lambda: correlate(root, {(A, B): fingerprint("bench")}, Setting(cluster=address, memory=MEMORY)))

    with local_processes(1) as one, local_processes(2) as two:
        of_one, of_two = in_turn(2, lambda: run(one), lambda: run(two))
    return of_one / of_two


def same_tables(root: Root) -> bool:
    """Whether threads, local processes and an address, matrix and neighbours give the same buddies."""

    def buddies(setting: Setting) -> Buddies:
        root.remove(CORRELATIONS.path(A, B))
        correlate(root, {(A, B): fingerprint("bench")}, setting)
        return best_buddies(*neighbours(root, A, B, 5))

    with local_processes(2) as address:
        found = [
            buddies(Setting(cluster, THREADS, MEMORY, keep=keep))
            for cluster in ("threads", address)
            for keep in ("matrix", "neighbours")
        ]
    frames = [pd.DataFrame(vars(each)) for each in found]
    return all(frames[0].equals(frame) for frame in frames[1:])


def main() -> None:
    """Measure and add to bench.json."""
    BENCH.mkdir(parents=True, exist_ok=True)
    # The plain product before and after: on a shared machine its rate drifts between rounds.
    before, kernel, after = in_turn(3, matmul_rate, kernel_rate, matmul_rate)
    plain = (before + after) / 2
    whole, over = stage_over_matmul()
    more_time, more_memory = growth()
    small = Root(str(BENCH / f"growth-{FEW}"))
    itself = self_over_other()
    two = workers(Root(str(BENCH / f"growth-{MANY}")))
    same = same_tables(small)
    clear(f"growth-{FEW}", f"growth-{MANY}")
    report(
        f"correlation, {THREADS} threads, torch {torch.__version__},"
        f" a plain float32 product runs at {plain / 1e9:.0f} GFLOP/s",
        {
            "kernel_over_matmul": figure(kernel / plain, "ratio", "≥ 0.80", kernel / plain >= 0.8),
            "stage_over_matmul": figure(whole, "ratio", "≥ 0.65", whole >= 0.65),
            "peak_over_plan": figure(over, "ratio", "≤ 1.1", over <= 1.1),
            "peak_memory_4x_images": figure(more_memory, "ratio", "≤ 1.05", more_memory <= 1.05),
            "time_4x_images": figure(more_time, "ratio", "3.6…4.2", 3.6 <= more_time <= 4.2),
            "self_pair_over_pair": figure(itself, "ratio", "≤ 0.6", itself <= 0.6),
            "two_workers_over_one": figure(two, "times", "≥ 1.7", two >= 1.7),
            "same_tables_everywhere": figure(float(same), "1 = yes", "1", same),
        },
    )


if __name__ == "__main__":
    main()
