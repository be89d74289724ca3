"""What a sceptic asks of matches whose truth is known: what is shared is trusted, and what is not is named."""

import confounds
import pandas as pd
import pytest

from rosetta.mining.trust.tests import passing
from storage.filesystem.root import Root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SEEDS = 20
FEW = 1
BY_TEST = {
    "subspace": "alone",
    "positions": "robust",
    "class means": "within",
    "one class": "interval",
    "one image": "influence",
    "hub": "one_to_one",
}
"""By confound: the test that is made for it."""


@pytest.fixture(scope="module", params=[FEW, pytest.param(SEEDS, marks=pytest.mark.soak)])
def matches(request, tmp_path_factory):
    """The matches of all seeds with the two real models, and how many were planted."""
    frames, count = [], 0
    for seed in range(request.param):
        root = Root(str(tmp_path_factory.mktemp("confounded")))
        zoo = confounds.plant(root, seed)
        frames.append(confounds.matches_of(zoo, confounds.judge(root)))
        count += 2 * sum(kind.startswith("signal") for kind in zoo.kinds["g"])
        root.remove("activations")
    assert count == request.param * 2 * 2 * confounds.SHARED * len(confounds.SIGNALS)
    return pd.concat(frames, ignore_index=True), count


def test_what_is_shared_is_trusted_and_little_else(matches):
    table, count = matches
    shared = table["kind"].str.startswith("signal")
    assert (table["trusted"] & shared).sum() >= 0.95 * count
    assert (table["trusted"] & ~shared).sum() <= 0.05 * table["trusted"].sum()
    assert set(confounds.CONFOUNDS) <= set(table["kind"])


@pytest.mark.parametrize("kind", BY_TEST)
def test_what_only_looks_shared_is_named_by_its_own_test(matches, kind):
    table, _ = matches
    rows = table[table["kind"] == kind]
    passes = passing(rows, confounds.EVERY_TEST)
    # Of many units that share one, one is assigned to it.
    assert passes[BY_TEST[kind]].mean() <= (0.25 if kind == "hub" else 0.05)
    shared = table["kind"].str.startswith("signal")
    assert passing(table[shared], confounds.EVERY_TEST)[BY_TEST[kind]].mean() >= 0.95


def test_the_columns_say_what_it_is(matches):
    table, _ = matches
    of = table.groupby("kind")
    median = {name: of[name].median() for name in table.columns if table[name].dtype.kind == "f"}
    assert abs(median["excess"]["subspace"]) < 0.03
    assert median["few_positions"]["positions"] > 0.9
    assert abs(median["pearson_robust"]["positions"]) < 0.1
    assert abs(median["pearson_within"]["class means"]) < 0.1
    assert median["pearson"]["class means"] > 0.4
    assert median["influence"]["one image"] > 0.5
    assert abs(median["pearson_held_out"]["one image"]) < 0.1
    for kind in (f"signal {rho}" for rho in confounds.SIGNALS):
        assert median["pearson_robust"][kind] == pytest.approx(median["pearson"][kind], abs=0.02)
        assert median["pearson_within"][kind] == pytest.approx(median["pearson"][kind], abs=0.02)
        assert median["pearson_held_out"][kind] == pytest.approx(median["pearson"][kind], abs=0.02)
