"""The forecast of an edit against what the judges say afterwards: 32 edits of unseen images.

Both are about the same edits of the same images. The forecast is a mean over images; what the judges say is the share
of images and models in which the model sees what was asked for. `make bench ONLY=forecast`; with the root of a finished
run as an argument it is not mined first.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from figures import BENCH, clear, figure, report
from scipy.stats import spearmanr

from rosetta.guidance.latent import space_of
from rosetta.guidance.objective import edit_objective
from rosetta.guidance.optimise import Descent, optimise
from rosetta.guidance.settings import Editing
from rosetta.zoo.image_arrays import to_pixels
from storage.filesystem.root import Root
from tasks.guided.edit import edited_maps_of_generator, generated_maps, judged
from tasks.guided.forecast import forecast
from tasks.guided.inputs import NEW, Inputs, new_images
from tasks.guided.matches import GuidedRun
from tasks.stage.memory import keep_freed_memory

IMAGES, STEPS = 8, 150
MIDDLE = "0.25,0.25,0.75,0.75"
EDITS = {
    "zoom": ("0.6", "0.7", "0.8", "0.9", "1.1", "1.2", "1.4", "1.7"),
    "shift": ("0.05,0", "0.1,0", "0.25,0", "0.4,0", "-0.25,0", "0,0.1", "0,0.25", "0.5,0"),
    "remove": ("0", "3", "10", "14", "20", "30", "40", f"3@{MIDDLE}"),
    "add": tuple(f"{concept}@{MIDDLE}" for concept in (0, 2, 3, 6, 10, 14, 20, 40)),
}


def measured(run: GuidedRun, images: Inputs, word: str, value: str, steps: int) -> dict[str, object]:
    """One edit of all images: forecast, and what the judges say."""
    settings = Editing(images=images.sources, edits=((word, value),), steps=steps)
    start = torch.from_numpy(images.latents)
    edited = edited_maps_of_generator(run, start, None, settings, {})
    before = generated_maps(run, start, None)
    told = forecast(run, edited, before, np.full(len(images), -1), None, f"{word} {value}")
    touched = edited.touched()
    rest = np.setdiff1d(edited.units, touched)
    stays = edited.target(rest) if len(rest) else None
    objective = edit_objective(
        space_of(run.generator), start, edited.target(touched), stays, settings.rest, settings.near
    )
    after = to_pixels(optimise(objective, start, Descent(steps, settings.rate, 2)).frames[:, -1])
    shown = images.pixels, after, np.roll(images.pixels, 1, axis=0)
    judgements = [judged(run, name, settings, shown, {}) for name in run.data.targets]
    after_asked, before_asked = (
        float(np.nanmean([getattr(one, name) for one in judgements])) if word in ("zoom", "shift") else np.nan
        for name in ("asked_after", "asked_before")
    )
    return {
        "edit": f"{word} {value}",
        "forecast": float(told.gain.mean()),
        "agreement": float(told.agreement.mean()),
        "share": float(told.share.mean()),
        "worked": float(np.mean([one.worked for one in judgements])),
        "asked_after": after_asked,
        "asked_gain": after_asked - before_asked,
    }


def main() -> None:
    """Measure, write bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    if len(sys.argv) > 1:
        root = Path(sys.argv[1])
    else:
        from faces import mine

        root, _, _ = mine("forecast", 512)
    count, steps = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 3 else (IMAGES, STEPS)
    run = GuidedRun.open(Root(str(root)))
    images = new_images(run.generator, count, run.data.recipe.images.seed + NEW)
    rows = []
    for word, values in EDITS.items():
        for value in values:
            rows.append(measured(run, images, word, value, steps))
            print("  ".join(f"{text:.3f}" if isinstance(text, float) else f"{text:28}" for text in rows[-1].values()),
                  flush=True)  # fmt: skip
    table = pd.DataFrame(rows)
    table.to_json(BENCH / "forecast.json", orient="records", indent=1)
    rank = float(spearmanr(table["forecast"], table["worked"]).statistic)
    moved = table[table["asked_gain"].notna()]
    clear("forecast")
    right = (table["forecast"] > 0) == (table["worked"] > 0.5)
    figures = {
        "forecast_spearman": figure(rank, "rho", "≥ 0.6", rank >= 0.6),
        "forecast_right": figure(float(right.mean()), "share"),
        # How near a moved scene ends, which says nothing of whether it came nearer.
        "agreement_asked_after_spearman": figure(
            float(spearmanr(moved["agreement"], moved["asked_after"]).statistic), "rho"
        ),
        "share_spearman": figure(float(spearmanr(table["share"], table["worked"]).statistic), "rho"),
    }
    report(f"forecast of {len(table)} edits of {count} images, {steps} steps", figures)


if __name__ == "__main__":
    main()
