"""What is known of concepts beside their matches: names, labels of masks, classes, and what their units cause."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from rosetta.view.atlas.script import numbers
from storage.artifacts.catalogue import CAUSES, CLASSES_OF_CONCEPTS, LABELS, MASKS, SILENCED
from tasks.report.atlas.run import AtlasRun

COLUMNS = ("name", "name_score", "label", "iou", "class", "auroc", "effect", "effect_q")
"""Of concepts, as :mod:`rosetta.view.atlas` describes them."""


@dataclass(frozen=True)
class Findings:
    """The rows of each table that are about concepts; None where it is missing or of an earlier dictionary."""

    names: pd.DataFrame | None
    """Words, best first."""
    labels: pd.DataFrame | None
    """Labels of masks that the anchor's unit of the strongest neuron overlaps, best first."""
    classes: pd.DataFrame | None
    """Classes, best first."""
    causes: pd.DataFrame | None
    """By neuron and model, the strongest neuron first: whether its buddy follows when its unit is ablated."""
    silenced: pd.DataFrame | None
    """By model: its output as a whole, then the classes whose scores move."""

    @classmethod
    def of(cls, run: AtlasRun) -> "Findings":
        """Of a run."""
        names, masks, classes = run.found(LABELS), run.found(MASKS), run.found(CLASSES_OF_CONCEPTS)
        causes, silenced = run.found(CAUSES), run.found(SILENCED)
        if causes is not None:
            index = causes["model"].map(run.index)
            causes = causes.assign(index=index).sort_values(["rosetta", "index"], kind="stable")
        return cls(
            names=None if names is None else names[names["subject"] == "concept"].sort_values("rank"),
            labels=None if masks is None else masks[masks["strongest"]].sort_values("rank"),
            classes=None if classes is None or classes.empty else classes.sort_values("rank"),
            causes=causes,
            silenced=None if silenced is None else silenced.assign(index=silenced["model"].map(run.index)),
        )

    def columns(self, concepts: pd.Series) -> dict[str, list[Any]]:
        """:data:`COLUMNS`.

        Parameters
        ----------
        concepts
            Their numbers.
        """
        found: dict[str, list[Any]] = {column: [None] * len(concepts) for column in COLUMNS}
        best = {
            ("name", "name_score"): _best(self.names, "named", "label", "score"),
            ("label", "iou"): _best(self.labels, "named", "label", "iou"),
            ("class", "auroc"): _best(self.classes, None, "label", "auroc"),
            ("effect", "effect_q"): effects(self.causes),
        }
        for columns, frame in best.items():
            if frame is not None:
                rows = frame.reindex(concepts)
                for column, (_, values) in zip(columns, rows.items(), strict=True):
                    number = values.dtype.kind == "f"
                    found[column] = numbers(values.to_numpy()) if number else _text(values)
        return found

    def counts(self, concepts: pd.Series) -> dict[str, int]:
        """How many concepts have a name, a label, a class and an effect; `called`: a name or a label."""
        columns = self.columns(concepts)
        columns["called"] = [name or label for name, label in zip(columns["name"], columns["label"], strict=True)]
        return {
            name: sum(one is not None for one in columns[name])
            for name in ("called", "name", "label", "class", "effect")
        }

    def of_concept(self, concept: int) -> dict[str, Any]:
        """`found` of the file of a concept: by table its rows, None where it was not measured."""
        return {name: None if rows is None else rows.get(concept, []) for name, rows in self._by_concept.items()}

    @cached_property
    def _by_concept(self) -> dict[str, dict[int, list[list[Any]]] | None]:
        return {name: _grouped(getattr(self, name), columns) for name, columns in _ROWS.items()}


_ROWS = {
    "names": ["label", "score", "score_null", "named"],
    "labels": ["label", "iou", "named"],
    "classes": ["label", "images", "auroc", "deviation", "mean"],
    "causes": ["rosetta", "index", "unit", "causal_effect", "random_effect", "causal_rank", "causal_p", "causal_q"],
    "silenced": ["index", "units", "rank", "class", "label", "change", "random", "p_value", "cosine"],
}
"""By table the columns that the file of a concept has of it."""


def effects(causes: pd.DataFrame | None) -> pd.DataFrame | None:
    """What ablating the strongest neuron of each concept does, in the model that follows it most.

    The strongest of the neurons that were ablated stands for the concept, as it does in its maps. It is chosen by its
    correlation, so a concept of many neurons has no more chances of a large effect. Of the models the one with the
    largest effect is taken, with its own q.

    Returns
    -------
    DataFrame
        By concept: effect, effect_q.
    """
    if causes is None:
        return None
    first = causes[causes["rosetta"] == causes.groupby("cluster")["rosetta"].transform("min")]
    best = first.sort_values("causal_effect", ascending=False, kind="stable").drop_duplicates("cluster")
    named = best.set_index("cluster")[["causal_effect", "causal_q"]]
    return named.set_axis(["effect", "effect_q"], axis="columns")


def _best(frame: pd.DataFrame | None, must: str | None, *columns: str) -> pd.DataFrame | None:
    """By concept: the columns of its best row, of those that `must` holds for."""
    if frame is None:
        return None
    rows = frame if must is None else frame[frame[must]]
    return rows.drop_duplicates("cluster").set_index("cluster")[list(columns)]


def _text(values: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in values]


def _grouped(frame: pd.DataFrame | None, columns: list[str]) -> dict[int, list[list[Any]]] | None:
    """By concept: its rows, in their order."""
    if frame is None:
        return None
    values = [_text(frame[name]) if name == "label" else numbers(frame[name].to_numpy()) for name in columns]
    rows: dict[int, list[list[Any]]] = defaultdict(list)
    for concept, *row in zip(frame["cluster"].tolist(), *values, strict=True):
        rows[concept].append(row)
    return rows
