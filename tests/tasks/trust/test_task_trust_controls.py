"""Several draws of one untrained network as controls: what the best reaches, and how far draws differ."""

from dataclasses import replace

import numpy as np
import oracle
import planted
import pytest
from plans import make, plan_over

from storage.artifacts import catalogue, tables
from storage.artifacts.activations import ActivationStore
from storage.filesystem.root import Root
from tasks.correlate.pair import CORRELATE
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import MATCH
from tasks.trust.pair import JUDGE_PAIRS
from tasks.trust.profile import PROFILE
from tasks.trust.table import JOIN_TRUST

IMAGES = 40
WEIGHTS = {"net-0": "random:0", "net-1": "random:1", "net-2": "random:2", "again": "random:2", "other": "random:0",
           "file": "net.pth"}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Root:
    root = Root(str(tmp_path_factory.mktemp("controls"))).absolute
    random = np.random.default_rng(0)
    pixels = planted.pictures(random, IMAGES)
    planted.write_images(root, pixels)
    scene = random.normal(size=(IMAGES, 1, 4, 4))
    for name, units in {"a": 8, "b": 6, **dict.fromkeys(WEIGHTS, 5)}.items():
        planted.write_maps(root, name, {"l": scene + random.normal(size=(IMAGES, units, 4, 4))})
    plan = plan_over(root, ["a", "b", *WEIGHTS], controls=list(WEIGHTS), neighbours=3, trust=planted.FOUR)
    models = [
        spec.model_copy(
            update={"weights": WEIGHTS.get(spec.name, "x"), "layers": ("l",) if spec.name == "other" else None}
        )
        for spec in plan.recipe.models
    ]
    plan = replace(plan, recipe=plan.recipe.model_copy(update={"models": tuple(models)}))
    make(plan, CORRELATE, MATCH, WRITE_FEATURES, PROFILE, JUDGE_PAIRS, JOIN_TRUST)
    return root


def test_the_spread_is_that_of_the_draws_of_the_network_which_reaches_most(root):
    maps = {name: ActivationStore.read(root, name).maps("l", slice(None)) for name in ("a", *WEIGHTS)}
    best = {name: oracle.textbook_pearson(maps["a"], maps[name]).max(axis=1) for name in WEIGHTS}
    table = tables.read(root, catalogue.TRUST.path())
    spreads = []
    for row in table.itertuples():
        reached = {name: values[row.unit_a] for name, values in best.items() if name != row.model_b}
        first = max(reached, key=lambda name: reached[name])
        assert row.control_best == pytest.approx(reached[first], abs=1e-5)
        seeds = {}
        for name in ("net-0", "net-1", "net-2", "again"):
            if name in reached:
                seeds[WEIGHTS[name]] = max(reached[name], seeds.get(WEIGHTS[name], -1))
        drawn = first not in ("other", "file")
        expected = np.std(list(seeds.values()), ddof=1) if drawn else np.nan
        np.testing.assert_allclose(row.control_spread, expected, atol=1e-5, equal_nan=True)
        spreads.append(row.control_spread)
    assert 0 < np.isnan(spreads).sum() < len(spreads)
