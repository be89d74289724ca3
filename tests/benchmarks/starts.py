"""Starts of an inversion: PSNR after 50, 100 and 300 steps from a random start, from the nearest mined image, and from
many starts told apart early, at the same steps and at the same cost.

`make bench ONLY=starts`; with the root of a finished run as an argument it is not mined first, and after it come the
number of images and the kinds of starts.
"""

import sys
from pathlib import Path

import numpy as np
from figures import BENCH, clear, figure, report
from scipy.stats import wilcoxon

from rosetta.guidance.quality import quality
from rosetta.guidance.settings import Inversion
from rosetta.guidance.starts import early_steps
from rosetta.zoo.image_arrays import to_pixels
from storage.filesystem.root import Root
from tasks.guided.inputs import NEW, Inputs, new_images
from tasks.guided.invert import search
from tasks.guided.matches import GuidedRun
from tasks.stage.memory import keep_freed_memory

IMAGES, BATCH, STEPS = 32, 16, (50, 100, 300)
KINDS: dict[str, dict[str, object]] = {
    "random": {},
    "mean": {"starts": "mean"},
    "nearest": {"starts": "nearest"},
    # As many steps early as the longest search has: 2 · (16 − 1) · 10.
    "mixed_16": {"starts": "mixed", "start_count": 16, "start_steps": 10},
    "random_16": {"starts": "random", "start_count": 16, "start_steps": 10},
}


def psnr(run: GuidedRun, images: Inputs, steps: int, guided: bool, **starts: object) -> np.ndarray:
    """(image,) of what a search finds."""
    settings = Inversion.model_validate({"steps": steps, **({} if guided else {"beta": 0.0}), **starts})
    found = []
    for first in range(0, len(images), BATCH):
        part = images.pixels[first : first + BATCH]
        result = search(run, settings, part, None, range(first, first + len(part)), f"{starts} {steps} steps")
        found.append(quality(to_pixels(result.frames[:, -1]), part).psnr)
    return np.concatenate(found)


def main() -> None:
    """Measure, write bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    if len(sys.argv) > 1:
        root = Path(sys.argv[1])
    else:
        from faces import mine

        root, _, _ = mine("starts", 512)
    run = GuidedRun.open(Root(str(root)))
    count = int(sys.argv[2]) if len(sys.argv) > 2 else IMAGES
    images = new_images(run.generator, count, run.data.recipe.images.seed + NEW)
    figures = {}
    for guided in (True, False):
        word = "guided" if guided else "unguided"
        for steps in STEPS:
            plain = psnr(run, images, steps, guided)
            for name in sys.argv[3:] or KINDS:
                starts = KINDS[name]
                found = plain if name == "random" else psnr(run, images, steps, guided, **starts)
                early = early_steps(int(str(starts.get("start_count", 1))), 1, int(str(starts.get("start_steps", 1))))
                gain = found - plain
                p = float(wilcoxon(gain).pvalue) if gain.any() else 1.0
                figures[f"psnr_{word}_{name}_{steps}"] = figure(float(found.mean()), "dB")
                print(
                    f"{word} {name:10} {steps} steps and {early} early: {found.mean():.2f} ± {found.std():.2f} dB,"
                    f" gain {gain.mean():+.2f} ± {gain.std(ddof=1) / len(gain) ** 0.5:.2f}"
                    f" (above on {(gain > 0).sum()}, p {p:.2g})",
                    flush=True,
                )
    clear("starts")
    report(f"starts of {len(images)} inversions, PSNR", figures)


if __name__ == "__main__":
    main()
