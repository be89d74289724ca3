"""Stage `choose coefficients` of Table 1, and the searches that follow from it."""

import pandas as pd

from rosetta.guidance.quality import quality
from rosetta.guidance.settings import Inversion, Table
from rosetta.zoo.image_arrays import to_pixels
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.guided import read_table, write_table
from storage.filesystem.root import Root
from tasks.guided.inputs import Inputs
from tasks.guided.invert import search
from tasks.guided.matches import GuidedRun
from tasks.stage.stage import Outcome, stage

COEFFICIENTS = ("rate", "alpha", "beta")


@stage("choose coefficients")
def choose_coefficients(root: Root, fingerprint: Fingerprint, where: str, tuning: Inputs, settings: Table) -> Outcome:
    """`coefficients.parquet`: for each row of Table 1 the coefficients with the best mean PSNR on the tuning images.

    Learning rate and α are chosen without guidance and then serve every row; β is chosen for each row. Each trial is
    kept as soon as it is done.
    """
    run = GuidedRun.open(root)
    table = read_table(root, where, "coefficients", fingerprint)
    trials = [] if table is None else table.to_dict("records")
    count = len(trials)

    def score(guidance: str, coefficients: dict[str, float]) -> float:
        for trial in trials:
            if trial["guidance"] == guidance and all(trial[name] == coefficients[name] for name in COEFFICIENTS):
                return float(trial["psnr"])
        rate, alpha, beta = (coefficients[name] for name in COEFFICIENTS)
        title = f"tuning {guidance}: rate {rate:g}, α {alpha:g}, β {beta:g}"
        trial_settings = _table_search(run, settings, guidance, coefficients)
        result = search(run, trial_settings, tuning.pixels, tuning.classes, range(len(tuning)), title)
        near = quality(to_pixels(result.frames[:, -1]), tuning.pixels)
        means = {"psnr": float(near.psnr.mean()), "ssim": float(near.ssim.mean())}
        trials.append({"guidance": guidance, **coefficients, **means})
        write_table(root, where, "coefficients", pd.DataFrame(trials), fingerprint)
        return means["psnr"]

    alone = [{"rate": rate, "alpha": alpha, "beta": 0.0} for rate in settings.rates for alpha in settings.alphas]
    best = max(alone, key=lambda coefficients: score("none", coefficients))
    for guidance in table_rows(run, settings):
        if guidance != "none":
            fades = guidance == _weighed_row(settings) and settings.schedule != "constant"
            for beta in settings.fading_betas if fades else settings.betas:
                score(guidance, {**best, "beta": beta})
    return "skipped" if len(trials) == count else "done"


def chosen_searches(
    root: Root, fingerprint: Fingerprint, where: str, run: GuidedRun, settings: Table
) -> dict[str, Inversion]:
    """Row of Table 1 → its search with the coefficients that were chosen; ties to the first that was tried."""
    trials = read_table(root, where, "coefficients", fingerprint)
    assert trials is not None
    searches = {}
    for guidance in table_rows(run, settings):
        best = trials[trials["guidance"] == guidance].sort_values("psnr", ascending=False, kind="stable").iloc[0]
        chosen = {name: float(best[name]) for name in COEFFICIENTS}
        searches[guidance] = _table_search(run, settings, guidance, chosen)
    return searches


def table_rows(run: GuidedRun, settings: Table) -> dict[str, tuple[str, ...]]:
    """Guidance → models: none, each model, all; all with weights, with a schedule or with both."""
    every = run.data.targets
    rows: dict[str, tuple[str, ...]] = {"none": (), **{name: (name,) for name in every}}
    if len(every) > 1:
        rows["all"] = every
    if more := _weighed_row(settings):
        rows[more] = every
    return rows


def _weighed_row(settings: Table) -> str | None:
    """`all+weights`, `all+schedule` or `all+weights+schedule`, which no model can be called; None for no such row."""
    given = [name for name, asked in (("weights", settings.weights), ("schedule", settings.schedule != "constant"))
             if asked]  # fmt: skip
    return "+".join(["all", *given]) if given else None


def _table_search(run: GuidedRun, settings: Table, guidance: str, coefficients: dict[str, float]) -> Inversion:
    base = Inversion(steps=settings.steps, seed=settings.seed, schedule="constant")
    changed: dict[str, object] = {"models": table_rows(run, settings)[guidance], **coefficients}
    if guidance == _weighed_row(settings):
        changed |= {name: getattr(settings, name) for name in ("weights", "schedule", "fade")}
    return base.model_copy(update=changed)
