"""The tables of a study, from its finished runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rosetta.mining.shape.power_law import RESAMPLES
from rosetta.study import Family
from storage.artifacts import tables
from storage.artifacts.catalogue import (
    BUDDIES,
    DEPTHS,
    EXCESS,
    EXPONENTS,
    NULL,
    OF_STUDIES,
    RAREFACTION,
    ROSETTA,
    STUDY,
    TRUST,
    UNITS,
)
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.filesystem.root import Root
from storage.run.data import RunData
from tasks.shape.frames import typed
from tasks.study.counts import Counts, counts_of
from tasks.study.exponents import exponents

_READ = (BUDDIES, TRUST, ROSETTA, UNITS, NULL, RAREFACTION)


@dataclass(frozen=True)
class Subject:
    """What a study is about, and where its runs are."""

    root: Root
    """Of the study."""
    families: Sequence[Family]
    sizes: Mapping[str, Mapping[str, float]]
    """By family and model."""
    parameters: Mapping[str, int]
    """By model."""
    runs: Mapping[str, Mapping[str, Root]]
    """By anchor and model of a family: the roots of its runs."""
    seed: int

    @property
    def fingerprint(self) -> Fingerprint:
        """Of all that its tables and its page are made from."""
        made_from = {
            anchor: {model: _digests(root, anchor, model) for model, root in runs.items()}
            for anchor, runs in self.runs.items()
        }
        return fingerprint(
            "study",
            families=[[one.name, one.size if isinstance(one.size, str) else "given"] for one in self.families],
            sizes={name: dict(sizes) for name, sizes in self.sizes.items()},
            parameters=dict(self.parameters),
            runs=made_from,
            resamples=RESAMPLES,
            seed=self.seed,
        )


@dataclass(frozen=True)
class StudyTables:
    """What a study counts."""

    models: pd.DataFrame
    """`tables/study.parquet`."""
    depths: pd.DataFrame
    """`tables/depths.parquet`."""
    exponents: pd.DataFrame
    """`tables/exponents.parquet`."""


def _digests(root: Root, anchor: str, model: str) -> dict[str, str]:
    paths = [*(table.path() for table in _READ), EXCESS.path(anchor, model)]
    return {path: str(tables.attributes(root, path).get("fingerprint", "")) for path in paths}


def read_tables(root: Root) -> StudyTables:
    """The tables of a study.

    Raises
    ------
    FileNotFoundError
        One is missing.
    """
    return StudyTables(*(tables.read(root, one.path()) for one in OF_STUDIES))


def write_tables(of: Subject) -> None:
    """Count what the runs found, and write all three tables."""
    rows, depths, laws = [], [], []
    for anchor, runs in of.runs.items():
        counts = {model: counts_of(RunData.open(root.url), model) for model, root in runs.items()}
        drawn = _common(list(counts.values()))
        for family in of.families:
            sizes = of.sizes[family.name]
            members = [counts[model] for model in family.models]
            laws += exponents(anchor, family.name, sizes, members, drawn, of.seed)
            for one in members:
                rows.append(
                    {
                        **one.row,
                        **_rarefied(one, drawn),
                        "anchor": anchor,
                        "family": family.name,
                        "model": one.model,
                        "size": sizes[one.model],
                        "parameters": of.parameters[one.model],
                    }
                )
        depths += [one.layers.assign(anchor=anchor) for one in counts.values()]
    print_of = of.fingerprint
    for artifact, frame in (
        (STUDY, typed(rows, STUDY.columns)),
        (DEPTHS, typed(pd.concat(depths, ignore_index=True), DEPTHS.columns)),
        (EXPONENTS, typed(laws, EXPONENTS.columns)),
    ):
        tables.write(of.root, artifact.path(), frame, print_of)


def _common(members: Sequence[Counts]) -> int:
    """The most units that were drawn of every model; 0 where that is none."""
    return max(set.intersection(*(set(one.draws) for one in members)), default=0)


def _rarefied(of: Counts, units: int) -> dict[str, float]:
    draws = of.draws[units] if units else np.full(2, np.nan)
    return {"rarefied_units": units, "rarefied": float(draws.mean()), "rarefied_std": float(draws.std(ddof=1))}
