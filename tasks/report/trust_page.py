"""What the page that explains trust shows, out of a run's own tables and stores."""

from typing import Any

import numpy as np
import pandas as pd

from rosetta.mining.trust.judge import Panel, chance
from rosetta.mining.trust.null import standardised_shifts
from rosetta.view.trust.contents import ModelSize, NullExample, TrustStory, WholeRun
from storage.artifacts.catalogue import DISTANCES, LAYERS, NULL, RAREFACTION, STABILITY
from storage.run.data import RunData
from tasks.trust.nulls import null_of_strip, partners, shapes, strips
from tasks.trust.panel_sides import ModelProfile

TRUST_PAGE = "trust.html"
"""Beside the dictionary's page."""


def trust_story(run: RunData, judgement: str, fingerprint: str) -> TrustStory:
    """All that the page shows.

    Parameters
    ----------
    judgement
        What there is to say of how matches were judged.
    fingerprint
        Digest of what the page is made from.
    """
    trust = run.trust
    rows = trust[(trust["model_a"] == run.anchor) & (trust["model_b"] != run.anchor)]
    rows = rows.assign(control=rows["model_b"].isin(run.controls))
    return TrustStory(
        name=run.name,
        anchor=run.anchor,
        images=run.seen,
        settings=run.recipe.trust,
        judgement=judgement,
        matches={str(name): rows[name].to_numpy() for name in rows},
        neurons=len(run.neurons),
        trusted_neurons=run.trusted,
        null=_example(run, rows[~rows["control"]]),
        fingerprint=fingerprint,
        command=f"rosetta trust {run.root.shown}",
        neighbours=run.recipe.matching.neighbours,
        whole=_whole(run),
        guided=run.generator is not None,
    )


def _whole(run: RunData) -> WholeRun:
    facts = run.summary
    sizes = {
        name: ModelSize(int(facts.at[name, "units"]), int(facts.at[name, "buddies"]), name in run.controls)
        for name in run.models
        if name != run.anchor
    }
    return WholeRun(
        null=run.optional(NULL),
        stability=run.optional(STABILITY),
        layers=run.optional(LAYERS),
        distances=run.optional(DISTANCES),
        rarefaction=run.optional(RAREFACTION),
        null_counts=run.null_counts,
        sizes=sizes,
        layer_names={name: run.layers(name) for name in run.models},
    )


def _example(run: RunData, rows: pd.DataFrame) -> NullExample | None:
    """The null of the match in the middle of all that were judged: neither the best nor the worst."""
    judged = rows[rows["p_value"].notna()].sort_values("pearson", kind="stable")
    if not len(judged):
        return None
    match: Any = judged.iloc[len(judged) // 2]
    profiles = [ModelProfile(run.root, match[f"model_{side}"]) for side in "ab"]
    units = [int(match[f"unit_{side}"]) for side in "ab"]
    spans = [slice(unit, unit + 1) for unit in units]
    grids = [profile.store.units.cut(span).grids() for profile, span in zip(profiles, spans, strict=True)]
    a, b = (
        profile.side(span, np.ones(1), others)
        for profile, span, others in zip(profiles, spans, reversed(grids), strict=True)
    )
    pearson = np.array([[match["pearson"]]], dtype=np.float32)
    judgement = chance(pearson, Panel(a, b), run.seen)
    spread, above = float(judgement.null_std[0, 0]), float(judgement.deviation[0, 0])
    mean = float(match["pearson"]) - above * spread
    shifts = standardised_shifts(
        *(next(shapes(profile.store, np.array([unit]))) for profile, unit in zip(profiles, units, strict=True))
    )
    strip = next(strip for strip in strips(len(profiles[0].store.units)) if strip.start <= units[0] < strip.stop)
    null = null_of_strip(profiles[0].store, strip, partners(profiles[1].store))
    return NullExample(
        label=f"{match['layer_a']}:{match['channel_a']} and {match['model_b']} {match['layer_b']}:{match['channel_b']}",
        null=mean + spread * shifts.astype(np.float64),
        observed=float(match["pearson"]),
        p_value=float(match["p_value"]),
        tail_from=mean + spread * float(null.threshold[units[0] - strip.start]),
    )
