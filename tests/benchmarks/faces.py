"""`make bench`: the figures of docs/results.md, all in one run on one machine, into runs/bench/bench.json.

Timings that are compared run in turn after a warm-up, and the median of the repeats counts.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from dask.system import cpu_count
from figures import BENCH, REPOSITORY, apart, clear, figure, in_turn, report, timed
from synthetic import MIXED, write
from torch import Tensor

from rosetta import zoo
from rosetta.recipe import Recipe, read_recipe
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts import catalogue
from storage.artifacts.activations import ActivationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import open_complete
from storage.filesystem.root import Root
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting
from tasks.dump.forward import batch_size
from tasks.stage.memory import keep_freed_memory

RECIPE = REPOSITORY / "deployments" / "recipes" / "faces.toml"
PLAIN_BATCH = 32
UPSAMPLED_IMAGES = 32
REPEATS = 5

# A process of its own for each mining: its peak memory is its own, and imports and Prefect's start count as time.
MINE = """
from flows.command.main import main
main(sys.argv[3:])
"""


def mine(name: str, images: int, *changes: str) -> tuple[Path, float, int]:
    """Mine the faces from nothing, with changes to the recipe; its root, seconds, and peak memory in KiB."""
    root = BENCH / name
    clear(name)
    settings = [part for change in (f"images.count={images}", *changes) for part in ("--set", change)]
    seconds, _, most = apart(MINE, "mine", str(RECIPE), "--root", str(root), *settings)
    return root, seconds, most


def forward(recipe: Recipe, root: Path, *, plain: bool) -> float:
    """Seconds to push the run's images through all models and nothing else.

    Either just as a dump does it, or plain: batches of 32 in torch's default memory layout.
    """
    images = ImageStore(open_complete(Root(str(root)), catalogue.IMAGES.path()))
    device = torch.device("cpu")
    size = PLAIN_BATCH if plain else batch_size(device)
    seconds = 0.0
    for spec in recipe.models:
        model = zoo.load(spec, device)
        module = model.module.to(memory_format=torch.contiguous_format) if plain else model.module
        if model.is_generator:
            inputs = torch.from_numpy(images.latents(slice(None)))
        else:
            inputs = from_pixels(images.pixels(slice(None)), device)
        prepare: Callable[[Tensor], Tensor] = model.preprocessing or (lambda latents: latents)
        with torch.inference_mode():
            module(prepare(inputs[:size]))
            began = time.perf_counter()
            for start in range(0, len(inputs), size):
                module(prepare(inputs[start : start + size]))
            seconds += time.perf_counter() - began
    return seconds


def upsampled(side_a: Mapping[str, Tensor], side_b: Mapping[str, Tensor]) -> None:
    """The correlation of one batch as the paper's code does it: upsample each pair of layers, then einsum."""
    for a in side_a.values():
        for b in side_b.values():
            size = max(a.shape[2], b.shape[2])
            on_a = torch.nn.functional.interpolate(a, size=(size, size), mode="bilinear")
            on_b = torch.nn.functional.interpolate(b, size=(size, size), mode="bilinear")
            product = torch.einsum("aixy,ajxy->ij", on_a, on_b)
            squares_a = torch.einsum("aixy->i", on_a**2)
            squares_b = torch.einsum("ajxy->j", on_b**2)
            product / torch.sqrt(torch.einsum("i,j->ij", squares_a, squares_b))


def correlation_speedup(root: Path, a: str, b: str) -> tuple[float, float]:
    """Seconds per image of the paper's way with its maps in memory, and of our whole stage from store to store."""
    stores = [ActivationStore.read(Root(str(root)), name) for name in (a, b)]
    batch = slice(0, UPSAMPLED_IMAGES)
    maps = [
        {layer.name: torch.from_numpy(store.maps(layer.name, batch)).float() for layer in store.units.layers}
        for store in stores
    ]
    threads = torch.get_num_threads()
    link = BENCH / "stage"

    def paper() -> float:
        with torch.inference_mode():
            return timed(lambda: upsampled(*maps)) / UPSAMPLED_IMAGES

    def stage() -> float:
        shutil.rmtree(link, ignore_errors=True)
        link.mkdir()
        (link / "activations").symlink_to(root / "activations")
        # .fn: the stage alone, without Prefect around it.
        work = partial(correlate, Root(str(link)), {(a, b): fingerprint("bench")}, Setting(threads=threads))
        return timed(work) / stores[0].images

    of_paper, of_stage = in_turn(REPEATS, paper, stage)
    return of_paper, of_stage


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure, write bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    recipe = read_recipe(RECIPE)
    root, mine_seconds, _ = mine("faces-512", 512)
    forward_seconds, plain_seconds = (forward(recipe, root, plain=plain) for plain in (False, True))
    paper, stage = correlation_speedup(root, "dcgan", "lite0")
    mixed = Root(str(BENCH / "mixed"))
    for seed, (name, layers) in enumerate(MIXED.items()):
        write(mixed, name, layers, 512, seed)
    mixed_paper, mixed_stage = correlation_speedup(BENCH / "mixed", *MIXED)
    mixed_ratio = mixed_paper / mixed_stage
    stores = [ActivationStore.read(Root(str(root)), spec.name) for spec in recipe.models]
    raw = sum(4 * store.images * layer.values for store in stores for layer in store.units.layers)
    stored = folder_bytes(root / "activations") / raw
    runs = {images: mine(f"faces-{images}", images) for images in (256, 1024)}
    memory = {images: peak for images, (_, _, peak) in runs.items()}
    growth = memory[1024] / memory[256]
    # What more images cost, without what every run costs once: imports, Prefect's server, the page.
    more = (runs[1024][1] - runs[256][1]) / (768 / 512 * forward_seconds)
    ratio = mine_seconds / forward_seconds
    figures = {
        "forward_seconds": figure(forward_seconds, "s"),
        "mine_seconds": figure(mine_seconds, "s"),
        "mine_over_forward": figure(ratio, "ratio", "≤ 1.25", ratio <= 1.25),
        "mine_over_forward_per_further_image": figure(more, "ratio"),
        "plain_forward_seconds": figure(plain_seconds, "s"),
        "mine_over_plain_forward": figure(mine_seconds / plain_seconds, "ratio"),
        "correlate_speedup_over_upsampling": figure(paper / stage, "times", "≥ 30", paper / stage >= 30),
        "correlate_speedup_4_64_against_7_112": figure(mixed_ratio, "times", "≥ 30", mixed_ratio >= 30),
        "store_over_raw_float32": figure(stored, "ratio"),
        "peak_memory_256": figure(memory[256] / 1024, "MiB"),
        "peak_memory_1024_over_256": figure(growth, "ratio", "≤ 1.05", growth <= 1.05),
    }
    clear("faces-512", "faces-256", "faces-1024", "stage", "mixed")
    report(f"faces, {cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads", figures)


if __name__ == "__main__":
    main()
