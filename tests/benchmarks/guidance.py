"""Guided inversion: seconds for an image and a step, by itself and in a batch of 16, and on two workers over one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from dask.system import cpu_count
from faces import mine
from figures import BENCH, clear, figure, in_turn, report, timed
from two_workers import pin

from flows.guided import laid_out
from flows.invert import plan_inversion
from rosetta.guidance import Descent, Guide, Starts, invert, observed_target, pixel_error, space_of
from rosetta.guidance.fade import CONSTANT, Fade
from rosetta.guidance.settings import Inversion
from storage.artifacts import provenance
from storage.filesystem.root import Root
from tasks.cluster.engine import local_processes
from tasks.guided.invert import TERMS, Inverting
from tasks.guided.inverting import fill_on_workers
from tasks.guided.matches import GuidedRun
from tasks.stage.memory import keep_freed_memory

STEPS = 40
IMAGES = 256
REPEATS = 5
SPREAD = Inversion(name="spread", images=("new:64",), steps=20)


def step(root: Path, batch: int, guided: bool, fade: Fade = CONSTANT) -> Callable[[], float]:
    """Measures seconds for an image and a step of a batch, all matches guiding or none; targets are there before."""
    run = replace(GuidedRun.open(Root(str(root))), device="cpu")
    generator = run.generator
    images, _ = generator.generate(torch.from_numpy(generator.draw_latents(range(batch), 5)))
    act = None
    if guided:
        act = observed_target(run.matches, {name: run.model(name) for name in run.data.targets}, images)
    guide = Guide(pixel_error(images.clone()), act)
    starts = Starts(range(batch))
    space = space_of(generator)
    return lambda: timed(lambda: invert(space, guide, starts, Descent(STEPS, 0.1, fade=fade))) / STEPS / batch


def spread(root: Path, address: str) -> float:
    """Seconds to invert four batches on the workers of a scheduler."""
    recipe = provenance.stored_recipe(Root(str(root)))
    assert recipe is not None
    compute = recipe.compute.model_copy(update={"cluster": address, "device": "cpu"})
    provenance.write_recipe(Root(str(root)), recipe.model_copy(update={"compute": compute}))
    plan = plan_inversion(str(root), SPREAD, replace=True)
    plan.root.remove(plan.where)
    laid_out(plan, ["all"], {"z": plan.run.generator.latent or 0}, SPREAD.steps, TERMS, SPREAD.batch)
    return timed(lambda: fill_on_workers(plan.root, Inverting(plan.fingerprint, plan.where, {"all": SPREAD})))


def main() -> None:
    """Measure, write bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    root, _, _ = mine("guidance", IMAGES)
    fade = Inversion().beta_fade
    steps = [step(root, 1, True), step(root, 16, True), step(root, 16, True, fade), step(root, 16, False)]
    one, sixteen, faded, plain = in_turn(REPEATS, *steps)
    alone, dear, dear_by_default = sixteen / one, sixteen / plain, faded / plain
    figures = {
        "invert_seconds_batch1": figure(one, "s"),
        "invert_seconds_batch16": figure(sixteen, "s"),
        "invert_batch16_over_1": figure(alone, "ratio", "≤ 0.25", alone <= 0.25),
        "invert_guided_over_unguided": figure(dear, "ratio", "≤ 1.3", dear <= 1.3),
        "invert_guided_over_unguided_by_default": figure(dear_by_default, "ratio", "≤ 1.3", dear_by_default <= 1.3),
    }
    if cpu_count() > 1:
        with local_processes(1) as first, local_processes(2) as second:
            pin(first)
            pin(second)
            of_one, of_two = in_turn(2, lambda: spread(root, first), lambda: spread(root, second))
        over = of_one / of_two
        figures["invert_two_workers_over_one"] = figure(over, "times", "≥ 1.8", over >= 1.8)
    clear("guidance")
    report("guided inversion, an image and a step, all matches", figures)


if __name__ == "__main__":
    main()
