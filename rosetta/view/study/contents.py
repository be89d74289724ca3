"""What the page of a study shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rosetta.study import Family


@dataclass(frozen=True)
class AnchorStory:
    """All models against one anchor."""

    anchor: str
    models: pd.DataFrame
    """Its rows of `tables/study.parquet`."""
    depths: pd.DataFrame
    """Its rows of `tables/depths.parquet`."""
    exponents: pd.DataFrame
    """Its rows of `tables/exponents.parquet`."""
    pages: Mapping[str, str]
    """By model: the page of its run, relative to this one."""


@dataclass(frozen=True)
class StudyPage:
    """The whole page."""

    name: str
    families: Sequence[Family]
    anchors: Sequence[AnchorStory]
    resamples: int
    """Behind each interval."""
    command: str
    fingerprint: str

    def measured(self, family: str) -> str:
        """What the size of a family is: `parameters`, `units`, or the sizes that the recipe gives."""
        size = next(one.size for one in self.families if one.name == family)
        return size if isinstance(size, str) else f"size of {family}"
