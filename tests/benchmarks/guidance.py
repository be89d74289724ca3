"""Guided inversion: seconds for an image and a step, by itself and in a batch of 16."""

from dataclasses import replace
from pathlib import Path

import torch
from faces import mine
from figures import BENCH, clear, figure, in_turn, report, timed

from rosetta.guidance import Descent, Guide, Starts, invert, observed_target, pixel_error, space_of
from storage.filesystem.root import Root
from tasks.guided.matches import GuidedRun
from tasks.stage.memory import keep_freed_memory

STEPS = 40
IMAGES = 256
REPEATS = 5


def seconds(root: Path, batch: int, guided: bool) -> float:
    """Seconds for an image and a step of a batch, all matches guiding or none."""
    run = replace(GuidedRun.open(Root(str(root))), device="cpu")
    generator = run.generator
    images, _ = generator.generate(torch.from_numpy(generator.draw_latents(range(batch), 5)))
    act = None
    if guided:
        act = observed_target(run.matches, {name: run.model(name) for name in run.data.targets}, images)
    guide = Guide(pixel_error(images.clone()), act)
    starts = Starts(range(batch))
    space = space_of(generator)
    return timed(lambda: invert(space, guide, starts, Descent(STEPS, 0.1))) / STEPS / batch


def main() -> None:
    """Measure, write bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    root, _, _ = mine("guidance", IMAGES)
    one, sixteen, plain = in_turn(
        REPEATS, lambda: seconds(root, 1, True), lambda: seconds(root, 16, True), lambda: seconds(root, 16, False)
    )
    figures = {
        "invert_seconds_batch1": figure(one, "s"),
        "invert_seconds_batch16": figure(sixteen, "s"),
        "invert_batch16_over_1": figure(sixteen / one, "ratio", "≤ 0.3", sixteen / one <= 0.3),
        "invert_guided_over_unguided": figure(sixteen / plain, "ratio"),
    }
    clear("guidance")
    report("guided inversion, an image and a step, all matches", figures)


if __name__ == "__main__":
    main()
