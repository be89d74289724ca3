"""Joins of runs whose correlations are known: planted factors, permuted copies, tiles, what was not kept."""

from dataclasses import replace

import joined_runs
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from joined_runs import Seen, units_of

from flows.join import plan_join
from rosetta.errors import UserError
from rosetta.mining.join.settings import Joining
from storage.artifacts.joined import StrengthStore
from storage.filesystem.root import Root
from tasks.join import strengths
from tasks.join.inputs import plan_inputs
from tasks.join.strengths import strength, write_strengths
from tasks.join.tables import write_tables

LAYERS = (1000, 1000, 1000, 1000)
"""Of an observer: large enough that chance seldom brings two units of factors together."""


def frame(root, name):
    return pd.read_parquet(f"{root}/tables/join_{name}.parquet")


def run(place, factors, observer, seed, **options):
    """A run of a generator whose units follow factors, and an observer whose units do."""
    random = np.random.default_rng(seed)
    units = units_of(len(factors) // 2, len(factors) - len(factors) // 2)
    seen = Seen(units_of(*LAYERS), joined_runs.seen_factors(random, factors, observer), "d")
    blind = random.normal(scale=0.1, size=(len(factors), 40)).astype(np.float32)
    control = Seen(units_of(40), blind, "c", control=True)
    own = joined_runs.seen_factors(random, factors, factors)
    return joined_runs.write(place, units, own, {"d": seen, "c": control}, weights=place.name, **options)


@pytest.fixture(scope="module")
def observer():
    """(unit,) 50 of 60 factors are seen, each by a unit of the observer, and 20 of the other generator alone."""
    random = np.random.default_rng(7)
    followed = np.full(sum(LAYERS), -1)
    followed[random.choice(len(followed), 70, replace=False)] = np.r_[:50, 100:120]
    return followed


def tables_of(roots, out, **settings):
    plan = plan_inputs([str(root) for root in roots], str(out), Joining(**settings))
    for other in plan.others:
        write_strengths(plan, other, False)
    write_tables(plan)
    return plan


def test_common_factors_are_found(tmp_path, observer):
    random = np.random.default_rng(3)
    factors_a = random.permutation(np.r_[:60, np.full(40, -1)])
    factors_b = random.permutation(np.r_[:60, 100:120, np.full(40, -1)])
    roots = [run(tmp_path / "a", factors_a, observer, 1), run(tmp_path / "b", factors_b, observer, 2)]
    tables_of(roots, tmp_path / "join")
    pairs = frame(tmp_path / "join", "pairs")
    found = pairs[pairs["trusted"]]
    same = factors_a[found["unit_a"]] == factors_b[found["unit_b"]]
    common = set(factors_a[found["unit_a"]][same & (factors_a[found["unit_a"]] >= 0)])
    assert len(common) >= 0.95 * 50
    assert same.mean() >= 0.95
    assert (pairs["agree"] == 1).all()
    assert pairs["exact"].all()
    links = frame(tmp_path / "join", "links")
    of_found = links.merge(found[["unit_a", "unit_b"]])
    through = of_found[of_found["pivot"] == "d"]
    assert (observer[through["unit"]] == factors_a[through["unit_a"]]).mean() >= 0.95
    assert set(of_found["pivot"]) == {"d", "c"}


def test_nothing_is_found_where_nothing_is_shared(tmp_path, observer):
    random = np.random.default_rng(4)
    factors_a = random.permutation(np.r_[:50, np.full(50, -1)])
    factors_b = random.permutation(np.r_[100:120, np.full(80, -1)])
    roots = [run(tmp_path / "a", factors_a, observer, 1), run(tmp_path / "b", factors_b, observer, 2)]
    tables_of(roots, tmp_path / "join")
    pairs = frame(tmp_path / "join", "pairs")
    assert len(pairs)
    assert not pairs["trusted"].any()


def noisy(random, pearson):
    return (pearson + random.normal(scale=0.005, size=pearson.shape)).clip(-1, 1).astype(np.float32)


def test_a_permuted_copy_finds_itself(tmp_path):
    random = np.random.default_rng(5)
    order = random.permutation(200)
    base = {name: random.normal(scale=0.2, size=(200, 700)) for name in "def"}
    own = np.eye(200, dtype=np.float32)
    roots = []
    for name, rows in (("a", np.arange(200)), ("b", order)):
        # What other images add: correlations of the same units differ a little.
        seen = {model: Seen(units_of(300, 400), noisy(random, pearson)[rows], model) for model, pearson in base.items()}
        roots.append(joined_runs.write(tmp_path / name, units_of(200), own, seen, weights=name))
    plan = tables_of(roots, tmp_path / "join")
    store = StrengthStore.read(plan.root, *plan.names)
    (_, values), *_ = store.bands(plan.trained)
    assert (order[values.argmax(axis=1)] == np.arange(200)).mean() >= 0.99


def random_run(place, seed, keep="matrix", units=30, constant=()):
    random = np.random.default_rng(seed)
    models = {}
    for name, layers, control in (("d", (20, 11), False), ("e", (25,), False), ("c", (6,), True)):
        pearson = random.uniform(-0.5, 0.9, (units, sum(layers))).astype(np.float32)
        pearson[list(constant)] = np.nan
        models[name] = Seen(units_of(*layers), pearson, name, control)
    own = random.uniform(0, 1, (units, units)).astype(np.float32)
    return joined_runs.write(place, units_of(units), own, models, weights=place.name, latents=seed, keep=keep), models


def test_strengths_are_those_of_the_definition(tmp_path):
    a, of_a = random_run(tmp_path / "a", 1, constant=(3,))
    b, of_b = random_run(tmp_path / "b", 2, units=23)
    plan = tables_of([a, b], tmp_path / "join")
    with xr.open_zarr(tmp_path / "join/strengths/g-1~g-2.zarr") as store:
        assert store["pivot"].values.tolist() == ["d", "e", "c"]
        assert store["control"].values.tolist() == [False, False, True]
        assert store["layer_b"].values[0] == "layer.0"
        for name in of_a:
            terms = np.minimum(of_a[name].pearson[:, None], of_b[name].pearson[None])
            expected = terms.max(axis=2)
            np.testing.assert_array_equal(store["strength"].sel(pivot=name), expected)
        mean = store["strength"].isel(pivot=~store["control"].values).mean("pivot", skipna=False).values
    assert np.isnan(mean[3]).all()
    pairs = frame(tmp_path / "join", "pairs")
    np.testing.assert_allclose(pairs["strength"], mean[pairs["unit_a"], pairs["unit_b"]], rtol=1e-6)
    assert 3 not in set(pairs["unit_a"])
    assert plan.neighbours == 2


def test_tiles_give_the_bytes_of_the_whole(tmp_path):
    a, _ = random_run(tmp_path / "a", 1)
    b, _ = random_run(tmp_path / "b", 2)
    plan = plan_inputs([str(a), str(b)], str(tmp_path / "join"), Joining())
    whole = strength(plan, 1, 0, slice(0, 30), slice(0, 30))
    parts = np.block(
        [
            [strength(plan, 1, 0, rows, columns) for columns in (slice(0, 11), slice(11, 30))]
            for rows in (slice(0, 7), slice(7, 30))
        ]
    )
    assert parts.tobytes() == whole.tobytes()


def test_what_was_not_kept_can_only_make_links_stronger(tmp_path):
    whole = [random_run(tmp_path / name, seed)[0] for name, seed in (("a", 1), ("b", 2))]
    kept = [random_run(tmp_path / f"{name}-kept" / name, seed, "neighbours")[0] for name, seed in (("a", 1), ("b", 2))]
    tables_of(whole, tmp_path / "join")
    tables_of(kept, tmp_path / "join-kept")
    stores = [xr.open_zarr(tmp_path / name / "strengths/g-1~g-2.zarr").load() for name in ("join", "join-kept")]
    full, some = (store["strength"].values for store in stores)
    assert np.isnan(some).any()
    assert (some[~np.isnan(some)] <= full[~np.isnan(some)]).all()
    pairs = frame(tmp_path / "join-kept", "pairs")
    assert pairs["exact"].sum() > 0
    mean = full[:2].astype(np.float64).mean(axis=0)[pairs["unit_a"], pairs["unit_b"]]
    np.testing.assert_allclose(pairs.loc[pairs["exact"], "strength"], mean[pairs["exact"]], rtol=1e-6)


def test_goes_on_with_the_tiles_that_are_missing(tmp_path, monkeypatch):
    a, _ = random_run(tmp_path / "a", 1)
    b, _ = random_run(tmp_path / "b", 2)
    plan = plan_inputs([str(a), str(b)], str(tmp_path / "join"), Joining())
    made = []

    def counted(*given):
        made.append(given[2])
        if len(made) == 2:
            raise KeyboardInterrupt
        return strength(*given)

    monkeypatch.setattr(strengths, "cpu_count", lambda: 1)
    monkeypatch.setattr(strengths, "strength", counted)
    with pytest.raises(KeyboardInterrupt):
        write_strengths(plan, 1, False)
    store = StrengthStore.open(plan.root, plan.strengths_fingerprint(1), *plan.names)
    left = int((~store.written()).sum())
    assert 0 < left < 3
    made.clear()
    made.extend([None, None])
    assert write_strengths(plan, 1, False) == "done"
    assert len(made) - 2 == left
    assert write_strengths(plan, 1, False) == "skipped"


def test_what_does_not_fit_is_one_line(tmp_path):
    a, models = random_run(tmp_path / "a", 1)
    b, _ = random_run(tmp_path / "b", 2)
    out = str(tmp_path / "join")

    def refused(*roots, **settings):
        with pytest.raises(UserError) as caught:
            plan_join([str(root) for root in roots], out, Joining(**settings))
        return str(caught.value)

    assert "two runs or more" in refused(a)
    assert "stands twice" in refused(a, a)
    assert "stands twice" in refused(a, a, split=True)
    assert "have others" in refused(a, b, split=True)
    other = {name: replace(seen, weights="x") if name == "d" else seen for name, seen in models.items()}
    c = joined_runs.write(tmp_path / "c", units_of(30), np.eye(30, dtype=np.float32), other, weights="c")
    assert "model 'd' has other weights" in refused(a, c)
    own = {"z": replace(models["d"], weights="z"), "c": models["c"]}
    d = joined_runs.write(tmp_path / "d", units_of(30), np.eye(30, dtype=np.float32), own, weights="d")
    assert "no trained discriminative model in common" in refused(a, d)
    same = joined_runs.write(
        tmp_path / "same", units_of(30), np.eye(30, dtype=np.float32), models, weights="a", latents=1
    )
    assert "4 in common" in refused(a, same, split=True)
    Root(str(b)).remove("correlations/g~d.zarr/zarr.json")
    assert "rosetta mine" in refused(a, b)
    assert not (tmp_path / "join").exists()
    out = str(a)
    assert "holds a run" in refused(a, c)


def test_names_may_differ(tmp_path):
    a, models = random_run(tmp_path / "a", 1)
    renamed = {f"{name}-other": seen for name, seen in models.items()}
    b = joined_runs.write(tmp_path / "b", units_of(30), np.eye(30, dtype=np.float32), renamed, name="h", weights="b")
    plan = plan_inputs([str(a), str(b)], str(tmp_path / "join"), Joining())
    assert plan.names == ("g", "h")
    assert [pivot.names for pivot in plan.pivots] == [("d", "d-other"), ("e", "e-other"), ("c", "c-other")]
    assert [pivot.control for pivot in plan.pivots] == [False, False, True]
