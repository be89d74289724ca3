"""The story of a page about trust, all of it made up: matches of three models, and what is measured of a run."""

import numpy as np
import pandas as pd

from rosetta.mining.trust.null_dictionary import null_counts
from rosetta.mining.trust.tests import passing
from rosetta.recipe import Trust
from rosetta.view.trust.contents import Matches, ModelSize, NullExample, TrustStory, WholeRun

HOSTILE = """x"><script>alert(1)</script>' onload='alert("$x_1$") {{ 7*7 }} http://evil.example/a"""
SETTINGS = Trust()


def trust_matches(count: int = 300, model: str = "lite0") -> Matches:
    rng = np.random.default_rng(0)
    pearson = rng.uniform(0.1, 0.9, count)
    models = np.array([model, "lite2", "untrained"], dtype=object)[np.arange(count) % 3]
    control = models == "untrained"
    best = np.where(control, np.nan, rng.uniform(0.0, 0.5, count))
    found = {
        "model_b": models, "control": control, "pearson": pearson,
        "p_value": 10.0 ** -rng.uniform(0, 30, count), "q_value": rng.uniform(0, 0.1, count),
        "pearson_half_1": pearson + rng.normal(0, 0.02, count), "pearson_half_2": pearson + rng.normal(0, 0.02, count),
        "replicates": rng.random(count) < 0.7, "pearson_centred": 0.8 * pearson, "pearson_partial": 0.5 * pearson,
        "control_best": best, "lift": pearson - best, "pearson_held_out": 0.9 * pearson,
        "pearson_rotated": np.full(count, 0.3), "excess": pearson - 0.3, "alone": rng.random(count),
        "few_positions": rng.random(count),
        "pearson_robust": 0.7 * pearson, "pearson_low": pearson - 0.2, "pearson_high": pearson + 0.1,
        "influence": 10.0 ** rng.uniform(-4, 0, count), "pearson_within": 0.6 * pearson,
        "assigned": np.arange(count) % 2.0, "causal_effect": 0.3 * pearson, "causal_p": np.full(count, 0.02),
        "causal_q": 0.04 + 0.02 * (np.arange(count) % 3),
    }  # fmt: skip
    return {**found, "trusted": passing(found, SETTINGS)["trusted"]}


def trust_cut(matches: Matches, keep: np.ndarray | slice) -> Matches:
    return {name: values[keep] for name, values in matches.items()}


def trust_example(label: str = "dcgan main.5:12 × lite0 blocks.3:45") -> NullExample:
    return NullExample(label, np.random.default_rng(1).normal(0.03, 0.02, 999), 0.41, 2.4e-9, 0.08)


def trust_whole(model: str = "lite0", layers: int = 3) -> WholeRun:
    others = [model, "lite2", "untrained"]
    of = [*others, "Rosetta neurons", "concepts"]
    null = pd.DataFrame(
        [(time, name, 3 + time if time else 60) for time in range(4) for name in of],
        columns=["exchange", "of", "count"],
    )
    ks = np.arange(1, 21)
    stability = pd.DataFrame({"neighbours": ks, "neurons": 8 * ks, "trusted": 3 * ks, "concepts": 20 - ks // 2,
                              "largest": np.maximum(1, ks**2 // 4), "jaccard": 1.0 / (1.0 + abs(ks - 5))})  # fmt: skip
    names = {name: [f"{name}.{layer}" for layer in range(layers)] for name in ["dcgan", *others]}
    pairs = [
        {"model_a": "dcgan", "layer_a": one, "model_b": name, "layer_b": other, "cka": 0.4 + 0.3 * (i == j),
         "cka_null": 0.1, "rsa": 0.2, "rsa_null": 0.02}
        for name in others for i, one in enumerate(names["dcgan"]) for j, other in enumerate(names[name])
    ]  # fmt: skip
    facts = {"assigned": 12, "unmatched_a": 6, "unmatched_b": 3, "hubness_a": 1.5, "hub_a": 7, "hub_occurrences_a": 11,
             "hubness_b": np.nan, "hub_b": -1, "hub_occurrences_b": 0}  # fmt: skip
    distances = pd.DataFrame([{"model_a": "dcgan", "model_b": name, "distance": 0.62, **facts} for name in others])
    rarefaction = pd.DataFrame(
        [("dcgan", name, units, draw, units // 2 + draw % 3) for name in others for units in (32, 64, 128)
         for draw in range(20)],
        columns=["model_a", "model_b", "units", "draw", "buddies"],
    )  # fmt: skip
    sizes = {name: ModelSize(200, 60, name == "untrained") for name in others}
    return WholeRun(null, stability, pd.DataFrame(pairs), distances, rarefaction, null_counts(null), sizes, names)


def trust_story(matches: Matches | None = None, whole: WholeRun | None = None) -> TrustStory:
    return TrustStory(
        name="faces", anchor="dcgan", images=512, settings=SETTINGS, judgement="One layer was not judged.",
        matches=trust_matches() if matches is None else matches, neurons=30, trusted_neurons=4, null=trust_example(),
        fingerprint="cafe0123",
        command="rosetta trust runs/faces", whole=trust_whole() if whole is None else whole,
    )  # fmt: skip
