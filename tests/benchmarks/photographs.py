"""Targets that are no images of G: does guiding help a model that took no part in it to see the target?

Each discriminative model is left out once: the others guide, and it compares each result with the target, against the
search without guidance from the same start. `make bench ONLY=photographs`; with the root of a finished run as an
argument it is not mined first.
"""

import sys
from pathlib import Path

import numpy as np
from figures import BENCH, clear, figure, report
from foreign_images import foreign_images
from PIL import Image
from scipy.stats import wilcoxon

from rosetta.guidance.held_out import seen_agreement
from rosetta.guidance.settings import Inversion
from rosetta.zoo.image_arrays import from_pixels, to_pixels
from storage.filesystem.root import Root
from tasks.guided.invert import search
from tasks.guided.matches import GuidedRun
from tasks.stage.memory import keep_freed_memory

STEPS, BATCH, BETA = 300, 16, 0.1
BEST = 8
"""Images in a band of the picture."""
Pixels = np.ndarray


def found(run: GuidedRun, targets: Pixels, models: tuple[str, ...], steps: int, beta: float) -> Pixels:
    """(image, y, x, rgb) what a search guided by some models finds; none: without guidance."""
    settings = Inversion(models=models, beta=beta if models else 0.0, schedule="constant", steps=steps)
    parts = []
    for first in range(0, len(targets), BATCH):
        part = targets[first : first + BATCH]
        images = range(first, first + len(part))
        parts.append(to_pixels(search(run, settings, part, None, images, f"guided by {models}").frames[:, -1]))
    return np.concatenate(parts)


def agreement(run: GuidedRun, name: str, targets: Pixels, results: Pixels) -> np.ndarray:
    """(image,) as one model sees both."""
    model, matches = run.model(name), run.matches.only(models=(name,))
    wished, seen = (
        {name: {layer: maps.clone() for layer, maps in model.observe(from_pixels(pixels, model.device)).items()}}
        for pixels in (targets, results)
    )
    return seen_agreement(matches, wished, seen)[name]


def picture(path: Path, rows: list[Pixels]) -> None:
    """Targets above, results below, in bands of :data:`BEST` images: (image, y, x, rgb) each."""
    bands = []
    for first in range(0, len(rows[0]), BEST):
        lines = [np.concatenate(list(row[first : first + BEST]), axis=1) for row in rows]
        bands += [*lines, np.full((6, *lines[0].shape[1:]), 255, np.uint8)]
    whole = np.concatenate(bands[:-1])
    larger = (2 * whole.shape[1], 2 * whole.shape[0])
    Image.fromarray(whole).resize(larger, Image.Resampling.BICUBIC).save(path, quality=80)


def main() -> None:
    """Measure, write bench.json and a picture, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    if len(sys.argv) > 1:
        root = Path(sys.argv[1])
    else:
        from faces import mine

        root, _, _ = mine("photographs", 512)
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS
    beta = float(sys.argv[3]) if len(sys.argv) > 3 else BETA
    run = GuidedRun.open(Root(str(root)))
    size = run.generator.image_size
    assert size is not None
    names, targets = foreign_images(size[0])
    alone = found(run, targets, (), steps, beta)
    every, unguided, unrelated, results = [], [], [], []
    for left_out in run.data.targets:
        guides = tuple(name for name in run.data.targets if name != left_out)
        results.append(found(run, targets, guides, steps, beta))
        every.append(agreement(run, left_out, targets, results[-1]))
        unguided.append(agreement(run, left_out, targets, alone))
        unrelated.append(agreement(run, left_out, targets, np.roll(alone, 1, axis=0)))
        gain = every[-1] - unguided[-1]
        print(f"left out {left_out:12} {unguided[-1].mean():.3f} → {every[-1].mean():.3f}  gain {gain.mean():+.3f}"
              f"  above on {(gain > 0).sum()} of {len(gain)}  p {wilcoxon(gain).pvalue:.2g}", flush=True)  # fmt: skip
    gain = np.mean(every, axis=0) - np.mean(unguided, axis=0)
    for name, one in sorted(zip(names, gain, strict=True), key=lambda pair: -pair[1]):
        print(f"  {name:14} {one:+.3f}")
    np.savez(BENCH / "photographs.npz", targets=targets, alone=alone, guided=np.stack(results), gain=gain)
    shown = np.linspace(0, len(names) - 1, 2 * BEST).astype(int)
    rows = [targets[shown], alone[shown], results[0][shown]]
    picture(BENCH / "photographs.webp", rows)
    p = float(wilcoxon(gain).pvalue)
    clear("photographs")
    figures = {
        "held_out_unguided": figure(float(np.mean(unguided)), "r"),
        "held_out_guided": figure(float(np.mean(every)), "r"),
        "held_out_unrelated": figure(float(np.mean(unrelated)), "r"),
        "held_out_gain": figure(float(gain.mean()), "r", "> 0", bool(gain.mean() > 0 and p < 0.01)),
        "held_out_gain_error": figure(float(gain.std(ddof=1) / np.sqrt(len(gain))), "r"),
        "held_out_p": figure(p, "p", "< 0.01", p < 0.01),
        "held_out_above": figure(float((gain > 0).mean()), "share"),
    }
    report(f"{len(names)} photographs and drawings, {steps} steps, β {beta:g}", figures)


if __name__ == "__main__":
    main()
