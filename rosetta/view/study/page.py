"""A study as one HTML page that needs nothing beside it."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from markupsafe import Markup

from rosetta.study import COUNTED
from rosetta.view.numbers import correlation, counted, percent, significant
from rosetta.view.plots import svg
from rosetta.view.study.contents import AnchorStory, StudyPage
from rosetta.view.study.plots import plots, told
from rosetta.view.templating import environment

_COUNTS = {
    "buddies": "buddies",
    "buddies_trusted": "trusted buddies",
    "neurons": "Rosetta neurons",
    "neurons_trusted": "trusted neurons",
    "matched": "units with a buddy",
    "rarefied": "buddies among equally many units",
    "share": "share of units with a buddy",
}
"""Rows of the table of exponents, by `count` in `tables/exponents.parquet`."""
_BY_DEPTH = ("buddies", "buddies_trusted", "matched")


def render_study(page: StudyPage) -> str:
    """Write the page.

    Parameters
    ----------
    page
        What it shows. Texts may hold any character: all are escaped, and only the plots' SVG goes in as it is.
    """
    return (
        environment()
        .get_template("study.html")
        .render(page=page, stories=[_story(page, story) for story in page.anchors], lede=list(_lede(page)))
    )


def _story(page: StudyPage, story: AnchorStory) -> dict[str, Any]:
    return {
        "anchor": story.anchor,
        "pictures": {
            one.name: (Markup(svg.drawn(one.size, one.label, one.draw)), one.note) for one in plots(page, story)
        },
        "models": [_model(row, story) for row in story.models.to_dict("records")],
        "drawn": int(story.models["rarefied_units"].max()),
        "laws": list(_laws(story, "all", _COUNTS)),
        "depths": [row for part in ("early", "middle", "late") for row in _laws(story, part, _BY_DEPTH)],
        "families": [family.name for family in page.families],
    }


def _lede(page: StudyPage) -> Iterator[str]:
    """A sentence for each anchor and family: how its buddies grow."""
    for story in page.anchors:
        for law in story.exponents.to_dict("records"):
            if (law["count"], law["part"]) != ("buddies", "all"):
                continue
            whose = f"Against {story.anchor}, " if len(page.anchors) > 1 else ""
            measured = page.measured(law["family"])
            size = measured if measured in COUNTED else "given size"
            grow = f"buddies of {law['family']} grow as the {size} to the power of {_law(law)}."
            if not math.isfinite(law["exponent"]):
                grow = f"a model of {law['family']} has no buddies, so that there is nothing to fit."
            yield f"{whose}{grow}" if whose else f"{grow[0].upper()}{grow[1:]}"


def _model(row: dict[str, Any], story: AnchorStory) -> dict[str, Any]:
    cells = (
        told(row["size"]),
        told(row["units"]),
        told(row["buddies"]),
        told(row["buddies_trusted"]),
        significant(row["buddies_null"]),
        told(row["neurons"]),
        told(row["neurons_trusted"]),
        percent(row["share"]),
        significant(row["rarefied"]),
        significant(row["pearson"], 2),
        significant(row["excess"], 2),
        f"{significant(row['kurtosis_matched'], 2)} / {significant(row['kurtosis_others'], 2)}",
        f"{percent(row['half_share_matched'])} / {percent(row['half_share_others'])}",
    )
    return {**row, "cells": cells, "page": story.pages[row["model"]]}


def _laws(story: AnchorStory, part: str, counts: "dict[str, str] | tuple[str, ...]") -> Iterator[dict[str, Any]]:
    """Rows of a table of exponents, a column for each family."""
    laws: pd.DataFrame = story.exponents[story.exponents["part"] == part]
    for name in counts:
        rows = laws[laws["count"] == name].to_dict("records")
        if rows:
            yield {"count": _COUNTS[name], "part": part, "laws": [(_law(law), _across(law)) for law in rows]}


def _law(law: dict[str, Any]) -> str:
    """An exponent with its bootstrap interval; a dash where there is none."""
    if not math.isfinite(law["exponent"]):
        return "–"
    exponent, low, high = (correlation(law[name]) for name in ("exponent", "low", "high"))
    return f"{exponent} ({low} to {high})"


def _across(law: dict[str, Any]) -> str:
    """The interval of the regression over models; what is missing for it where there is none."""
    if not math.isfinite(law["exponent"]):
        return "a model has none"
    if not math.isfinite(law["low_models"]):
        return counted(law["models"], "model", "models")
    return f"over models {correlation(law['low_models'])} to {correlation(law['high_models'])}"
