"""What matches count, against sums over groups taken one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS
from tiny import statistics

from rosetta.errors import UserError
from rosetta.guidance.matches import Matches
from rosetta.guidance.settings import Inversion
from rosetta.guidance.weights import TESTED, weighed
from rosetta.strict import validated

CHOICES = [(), ("correlation",), ("trust",), ("layer",), ("concept",), ("trust", "layer"), ("correlation", "concept")]


def made_matches(pairs, seed):
    random = np.random.default_rng(seed)
    generator = statistics([(3, (2, 2)), (5, (4, 4)), (1, (3, 3))], random)
    tested = {name: random.uniform(-0.2, 0.9, pairs) for name in TESTED}
    tested["pearson_held_out"][random.random(pairs) < 0.2] = np.nan
    tested["pearson_held_out"][0] = 0.5
    return Matches(
        generator,
        {"d": statistics([(4, (2, 2))], random)},
        random.integers(0, 9, pairs),
        np.array(["d"] * pairs, object),
        random.integers(0, 4, pairs),
        random.uniform(-0.3, 1, pairs),
        {0: np.array([0, 4]), 3: np.array([5])},
        tested,
    )


def strength_of(matches, pair, names):
    if "correlation" in names:
        return max(0.0, matches.pearson[pair])
    if "trust" in names:
        held_out, robust, rotated = (matches.tested[name][pair] for name in TESTED)
        return 0.0 if np.isnan(held_out) else max(0.0, min(held_out, robust) - rotated)
    return 1.0


def group_of(matches, pair, names):
    unit = matches.unit_g[pair]
    if "layer" in names:
        return next(layer.name for layer, span in matches.generator.units.spans() if span.start <= unit < span.stop)
    if "concept" in names:
        return next((concept for concept, units in matches.clusters.items() if unit in units), None)
    return "all"


@pytest.mark.parametrize("names", CHOICES)
@given(pairs=st.integers(1, 30), seed=SEEDS)
def test_each_group_adds_up_to_the_same_in_proportion_to_strength(names, pairs, seed):
    matches = made_matches(pairs, seed)
    found = weighed(matches, names)
    expected = {}
    for pair in range(pairs):
        group = group_of(matches, pair, names)
        if group is not None and (strength := strength_of(matches, pair, names)) > 0:
            expected.setdefault(group, []).append((pair, strength))
    kept = sorted(pair for group in expected.values() for pair, _ in group)
    assert found.unit_g.tolist() == matches.unit_g[kept].tolist()
    assert found.pearson.tolist() == matches.pearson[kept].tolist()
    weight = dict(zip(kept, found.weights, strict=True))
    for group in expected.values():
        total = sum(strength for _, strength in group)
        for pair, strength in group:
            assert weight[pair] == pytest.approx(strength / total if names else 1.0, rel=1e-12)


def test_a_choice_among_weighed_matches_keeps_their_weights():
    matches = weighed(made_matches(30, 0), ("layer",))
    chosen = matches.only(above=0.4)
    assert chosen.weights.tolist() == matches.weights[matches.pearson >= 0.4].tolist()
    assert chosen.tested[TESTED[0]].shape == chosen.weights.shape


@pytest.mark.parametrize("missing", TESTED)
def test_what_was_not_measured_is_one_line(missing):
    matches = made_matches(5, 0)
    unknown = {**matches.tested, missing: np.full(5, np.nan)}
    absent = {name: values for name, values in matches.tested.items() if name != missing}
    for tested in (unknown, absent, {}):
        with pytest.raises(UserError, match=r"^--weights trust needs pearson_.* for no match with 'd'; run .*$"):
            weighed(replace(matches, tested=tested), ("trust",))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": ["loud"]}, "weights.0: input should be 'none', 'correlation', 'trust', 'layer' or 'concept'"),
        ({"weights": ["trust", "correlation"]}, "weights: weights correlation and trust exclude each other"),
        ({"weights": ["concept", "layer"]}, "weights: weights layer and concept exclude each other"),
        ({"weights": ["none", "layer"]}, "weights: weights none stands alone"),
        ({"weights": ["layer"], "high": "0,0,1,1", "concepts": [0], "images": []}, "no matches to weigh"),
        ({"schedule": "cubic"}, "schedule: input should be 'constant', 'linear' or 'cosine'"),
        ({"schedule": "cosine", "fade": 0}, "fade: input should be greater than 0"),
        ({"schedule": "linear", "fade": 1.5}, "fade: input should be less than or equal to 1"),
        ({"schedule": "constant", "fade": 0.5}, "fade says when a fading beta reaches 0; leave it out"),
        ({"schedule": "linear", "rec": "none"}, "nothing is left to optimise once beta has faded"),
    ],
)
def test_bad_settings_are_one_line(changes, said):
    with pytest.raises(UserError) as told:
        validated(Inversion, {"images": ["7"], **changes}, "invert")
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_none_is_the_default():
    assert Inversion(images=("7",), weights=("none",)) == Inversion(images=("7",))


@pytest.mark.parametrize(
    ("given", "effect"),
    [
        ({}, {"beta": 0.3, "schedule": "linear", "fade": 0.35}),
        ({"beta": 0.0}, {"beta": 0.0, "schedule": "linear", "fade": 0.35}),
        ({"fade": 0.5}, {"beta": 0.3, "schedule": "linear", "fade": 0.5}),
        ({"schedule": "constant"}, {"beta": 0.01, "schedule": "constant", "fade": 1.0}),
        ({"rec": "none"}, {"beta": 0.01, "schedule": "constant", "fade": 1.0}),
        ({"rec": "none", "beta": 2.0}, {"beta": 2.0, "schedule": "constant", "fade": 1.0}),
        ({"high": "0,0,1,1", "clusters": (0,)}, {"beta": 0.01, "schedule": "constant", "fade": 1.0}),
    ],
)
def test_beta_fades_unless_there_is_nothing_else(given, effect):
    settings = Inversion(**given)
    stored = settings.model_dump(mode="json")
    assert {name: stored[name] for name in effect} == effect
    # What is stored asks for the same search; what was not given is not stored as if it had been.
    again = Inversion.model_validate(stored)
    assert (again.first_beta, again.beta_fade) == (settings.first_beta, settings.beta_fade)
    assert settings.model_dump(exclude_unset=True).keys() <= {*given, "concepts"}
