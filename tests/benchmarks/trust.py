"""What judging every match costs, beside correlating: all stages of the one and of the other, store to store."""

import shutil
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
from tasks.correlate.pair import CORRELATE
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import buddy_frame
from tasks.plan import Plan
from tasks.plan.facts import Facts
from tasks.trust.pair import JUDGE_PAIRS
from tasks.trust.profile import PROFILE

IMAGES = 512
REPEATS = 3
WIDE_IMAGES = 128
WIDE = {
    "wide": [Layer(f"block.{index}", 1536, (14, 14)) for index in range(8)],
    "narrow": [Layer(f"block.{index}", 1024, (14, 14)) for index in range(4)],
}
"""12,288 and 4,096 units: a third of a large vision transformer with itself, and against a small one."""
JUDGED = ("features.zarr", "profiles", "tables/trust")


def correlated(plan: Plan) -> float:
    """Seconds to correlate all pairs of a run anew."""
    plan.root.remove("correlations")
    return timed(lambda: CORRELATE.make(plan))


def judged(plan: Plan) -> float:
    """Seconds to judge them: pixel features, profiles, and every pair."""
    for path in JUDGED:
        plan.root.remove(path)

    def judge() -> None:
        for stage in (WRITE_FEATURES, PROFILE, JUDGE_PAIRS):
            stage.make(plan)

    return timed(judge)


def faces() -> tuple[float, float, float]:
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
    correlating, judging, products = in_turn(
        REPEATS, lambda: correlated(plan), lambda: judged(plan), lambda: bare_products(units, plan.pairs, IMAGES)
    )
    clear("trust")
    return correlating, judging, products


def wide() -> tuple[float, float]:
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

    def judging() -> float:
        for path in (*JUDGED, "tables"):
            root.remove(path)
        units = {name: ActivationStore.read(root, name).units for name in WIDE}
        frames = [buddy_frame(*pair, units, best_buddies(*neighbours(root, *pair, 5))) for pair in plan.pairs]
        tables.write(root, BUDDIES.path(), pd.concat(frames, ignore_index=True), fingerprint("buddies"))

        def judge() -> None:
            WRITE_FEATURES.make(plan)
            PROFILE.make(plan)
            JUDGE_PAIRS.make(plan)

        return timed(judge)

    seconds = in_turn(1, correlating, judging)
    clear("wide")
    return seconds[0], seconds[1]


def _named(pattern: str, _: Plan, *names: str) -> Fingerprint:
    return fingerprint(pattern, names=names)


def main() -> None:
    """Few units in many layers, and many units."""
    correlating, judging, products = faces()
    over = correlating / products
    figures = {
        "correlate_over_products": figure(over, "ratio", "≤ 3", over <= 3),
        "correlate_seconds": figure(correlating, "s"),
        "trust_seconds": figure(judging, "s"),
        "trust_over_correlate": figure(judging / correlating, "ratio", "≤ 1.5", judging <= 1.5 * correlating),
    }
    correlating, judging = wide()
    figures["trust_over_correlate_wide"] = figure(judging / correlating, "ratio", "≤ 1.5", judging <= 1.5 * correlating)
    report(f"trust, {cpu_count()} cores", figures)


if __name__ == "__main__":
    main()
