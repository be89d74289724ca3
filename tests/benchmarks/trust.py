"""What the tests of trust cost, beside correlating: all stages of the one and of the other, store to store."""

import shutil
import statistics
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from correlation import bare_products
from dask.system import cpu_count
from faces import mine
from figures import BENCH, clear, figure, in_turn, report, timed
from synthetic import write

from flows.plan.gather import plan_of_root
from flows.plan.stages import CORRELATE, PROFILE, stages_from
from rosetta.mining.buddies import best_buddies
from rosetta.recipe import Recipe
from rosetta.units import Layer
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import BUDDIES, CATALOGUE
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.nearest import neighbours
from storage.artifacts.provenance import stored_recipe
from storage.filesystem.root import Root
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import buddy_frame
from tasks.plan import Plan, Stage
from tasks.plan.facts import Facts

IMAGES = 512
REPEATS = 3
WIDE_IMAGES = 128
WIDE = {
    "wide": [Layer(f"block.{index}", 1536, (14, 14)) for index in range(8)],
    "narrow": [Layer(f"block.{index}", 1024, (14, 14)) for index in range(4)],
}
"""12,288 and 4,096 units: a third of a large vision transformer with itself, and against a small one."""
_AFTER = ("units", "dictionary", "report")
"""Stages behind the first of judging that write what a run without tests has, too."""
JUDGING = [WRITE_FEATURES, *(stage for stage in stages_from(PROFILE) if stage.name not in _AFTER)]
"""All that is made for the sake of trust."""
Parts = dict[str, float]
"""By stage: seconds, the median of several rounds."""


def correlated(plan: Plan) -> float:
    """Seconds to correlate all pairs of a run anew."""
    plan.root.remove("correlations")
    return timed(lambda: CORRELATE.make(plan))


def judged(plan: Plan, rounds: list[Parts]) -> float:
    """Seconds to put all pairs to all tests anew; adds those of each stage to `rounds`."""
    for stage in JUDGING:
        for artifact, names in stage.artifacts(plan):
            plan.root.remove(artifact.path(*names))
    parts = {stage.name: timed(partial(_make, stage, plan)) for stage in JUDGING}
    rounds.append(parts)
    return sum(parts.values())


def _make(stage: Stage, plan: Plan) -> None:
    for names in stage.instances(plan):
        stage.make(plan, names)


def _median(rounds: list[Parts]) -> Parts:
    """Of all rounds but the first, which warms up."""
    return {name: statistics.median(one[name] for one in rounds[1:]) for name in rounds[0]}


def faces() -> tuple[float, float, float, Parts]:
    """Correlate and judge the faces run, and multiply as many numbers as that takes, in turn."""
    if not (BENCH / "mine" / "tables" / "trust.parquet").exists():
        mine("mine", IMAGES)
    clear("trust")
    shutil.copytree(BENCH / "mine", BENCH / "trust")
    place = Root(str(BENCH / "trust"))
    recipe = stored_recipe(place)
    assert recipe is not None
    plan = plan_of_root(place, recipe)
    units = {name: ActivationStore.read(place, name).units for name in plan.names}
    rounds: list[Parts] = []
    correlating, judging, products = in_turn(
        REPEATS,
        lambda: correlated(plan),
        lambda: judged(plan, rounds),
        lambda: bare_products(units, plan.pairs, IMAGES),
    )
    clear("trust")
    return correlating, judging, products, _median(rounds)


def wide() -> tuple[float, float, Parts]:
    """The same of two models with many units, once each after a warm-up."""
    clear("wide")
    folder: Path = BENCH / "wide"
    folder.mkdir(parents=True)
    root = Root(str(folder)).absolute
    for seed, (name, layers) in enumerate(WIDE.items()):
        write(root, name, layers, WIDE_IMAGES, seed)
    pixels = np.random.default_rng(0).integers(0, 256, (WIDE_IMAGES, 64, 64, 3), dtype=np.uint8)
    store = ImageStore.create(
        root, fingerprint("images"), images=WIDE_IMAGES, size=(64, 64), block=WIDE_IMAGES, latents=None
    )
    store.write(0, pixels)
    store.finish()
    models = [{"name": name, "model": "timm/resnet18", "weights": "random:0"} for name in WIDE]
    recipe = Recipe.model_validate({"name": "wide", "root": root.url, "models": models})
    plan = Plan(recipe, Facts("cpu"), {one.pattern: partial(_named, one.pattern) for one in CATALOGUE})

    def correlating() -> float:
        root.remove("correlations")
        return timed(lambda: CORRELATE.make(plan))

    rounds: list[Parts] = []

    def judging() -> float:
        root.remove("tables")
        units = {name: ActivationStore.read(root, name).units for name in WIDE}
        frames = [buddy_frame(*pair, units, best_buddies(*neighbours(root, *pair, 5))) for pair in plan.pairs]
        tables.write(root, BUDDIES.path(), pd.concat(frames, ignore_index=True), fingerprint("buddies"))
        return judged(plan, rounds)

    seconds = in_turn(1, correlating, judging)
    clear("wide")
    return seconds[0], seconds[1], _median(rounds)


def _named(pattern: str, _: Plan, *names: str) -> Fingerprint:
    return fingerprint(pattern, names=names)


def main() -> None:
    """Few units in many layers, and many units."""
    correlating, judging, products, parts = faces()
    over = correlating / products
    figures = {
        "correlate_over_products": figure(over, "ratio", "≤ 3", over <= 3),
        "correlate_seconds": figure(correlating, "s"),
        "trust_seconds": figure(judging, "s"),
        "trust_over_correlate": figure(judging / correlating, "ratio", "≤ 1.5", judging <= 1.5 * correlating),
        **{f"trust_{name}_seconds": figure(seconds, "s") for name, seconds in parts.items()},
    }
    correlating, judging, parts = wide()
    figures["trust_over_correlate_wide"] = figure(judging / correlating, "ratio", "≤ 1.5", judging <= 1.5 * correlating)
    figures["correlate_wide_seconds"] = figure(correlating, "s")
    figures |= {f"trust_{name}_wide_seconds": figure(seconds, "s") for name, seconds in parts.items()}
    report(f"trust, {cpu_count()} cores", figures)


if __name__ == "__main__":
    main()
