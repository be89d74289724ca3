"""What judging every match costs, against correlating: the whole stage of one beside that of the other."""

import os
import shutil

from faces import REPEATS, mine
from figures import BENCH, figure, in_turn, report, timed

from flows.stages import judging_stages
from flows.survey import Survey, survey_root
from storage.location import Root
from storage.provenance import stored_recipe
from tasks.correlate import correlate
from tasks.features import write_features

IMAGES = 512
JUDGED = ("features.zarr", "profiles", "tables/trust", "tables/trust.parquet")


def correlated(plan: Survey) -> float:
    """Seconds to correlate all pairs of a run anew."""
    plan.root.remove("correlations")
    setting = plan.setting("threads")
    return timed(lambda: [correlate.fn(plan.root, plan.correlations(pair), *pair, setting) for pair in plan.pairs])


def judged(plan: Survey) -> float:
    """Seconds to judge them, pixel features and profiles included."""
    for path in JUDGED:
        plan.root.remove(path)

    def judge() -> None:
        write_features.fn(plan.root, plan.features)
        judging_stages(plan, plan.setting("threads"), direct=True)

    return timed(judge)


def main() -> None:
    """Mine the faces once, then correlate and judge in turn."""
    root = BENCH / "mine"
    if not (root / "tables" / "trust.parquet").exists():
        mine("mine", IMAGES)
    copy = BENCH / "trust"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(root, copy)
    place = Root(str(copy))
    recipe = stored_recipe(place)
    assert recipe is not None
    plan = survey_root(place, recipe)
    correlating, judging = in_turn(REPEATS, lambda: correlated(plan), lambda: judged(plan))
    shutil.rmtree(copy)
    report(
        f"trust, {IMAGES} images, {len(plan.pairs)} pairs, {os.cpu_count()} cores",
        {
            "correlate_seconds": figure(correlating, "s"),
            "trust_seconds": figure(judging, "s"),
            "trust_over_correlate": figure(judging / correlating, "ratio", "<= 1.5", judging <= 1.5 * correlating),
        },
    )
