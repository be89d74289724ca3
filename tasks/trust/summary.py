"""How many matches, neurons and concepts survive each test, read from the tables."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from rosetta.recipe import Trust
from storage.run.data import RunData

TESTS = ("chance", "replicates", "lift", "partial", "trusted")
"""In the order in which they are told; the last one asks for all of them."""
_NEEDS = {"chance": "q_value", "replicates": "q_value", "lift": "lift", "partial": "pearson_partial"}
"""The column that is NaN where a test could not be asked: no control to compare with, or nothing judged at all."""
_LABELS = {"concepts": "concepts with such a neuron"}


@dataclass(frozen=True)
class Survival:
    """What is left of some matches, neurons or concepts; None for a test that could be asked of none of them."""

    of: str
    """A model whose buddies with the anchor these are, `Rosetta neurons`, or `concepts` that hold such a neuron."""
    control: bool
    count: int
    """As the paper defines them."""
    chance: int | None
    """With a q-value low enough."""
    replicates: int | None
    """Buddies in either half of the images."""
    lift: int | None
    """Above every control."""
    partial: int | None
    """With enough left when the pixels are taken out."""
    trusted: int
    """All of these."""


@dataclass(frozen=True)
class Survivors:
    """What is left of a whole run."""

    rows: tuple[Survival, ...]
    notes: tuple[str, ...]
    """What a reader must know of how it was judged."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def print(self) -> None:
        """Print a table on standard output, and what there is to note."""
        shown = Table(box=None, pad_edge=False, header_style="bold")
        shown.add_column("")
        for heading in ("found", "beat chance", "replicate", "beat controls", "beyond pixels", "trusted"):
            shown.add_column(heading, justify="right")
        for row in self.rows:
            name = f"{row.of} (control)" if row.control else _LABELS.get(row.of, row.of)
            counts = (getattr(row, test) for test in TESTS)
            shown.add_row(name, f"{row.count:,}", *("not asked" if count is None else f"{count:,}" for count in counts))
        Console(width=None if Console().is_terminal else 120).print(shown)
        for note in self.notes:
            print(f"Note: {note}")


def passes(frame: pd.DataFrame, knobs: Trust) -> pd.DataFrame:
    """(row, test) whether each row passes each test; what was not judged does not.

    Parameters
    ----------
    frame
        Rows with `q_value`, `replicates`, `lift` and `pearson_partial`.
    """
    each = pd.DataFrame(
        {
            "chance": frame["q_value"] <= knobs.q,
            "replicates": frame["replicates"].astype(bool),
            "lift": frame["lift"] > 0,
            "partial": frame["pearson_partial"] > knobs.partial,
        }
    )
    return each.assign(trusted=each.all(axis=1))


def surviving(frame: pd.DataFrame, knobs: Trust, groups: "pd.Series[Any]") -> pd.DataFrame:
    """(group, test) how many rows of each group pass each test; missing where a test could be asked of none of them.

    Parameters
    ----------
    frame
        As for :func:`passes`.
    groups
        (row,) what each row belongs to.
    """
    counts = passes(frame, knobs).groupby(groups).sum().astype("Int64")
    asked = frame[list(dict.fromkeys(_NEEDS.values()))].notna().groupby(groups).any()
    return counts.assign(**{test: counts[test].where(asked[column]) for test, column in _NEEDS.items()})


def survivors(run: RunData) -> Survivors:
    """Count what survives in a judged run."""
    rows, settings, neurons = [], run.recipe.trust, run.neurons
    for spec in run.recipe.models:
        if spec.name != run.anchor:
            matches = run.with_anchor(run.trust, spec.name)
            rows.append(Survival(spec.name, spec.control, len(matches), **in_all(matches, settings)))
    rows.append(Survival("Rosetta neurons", False, len(neurons), **in_all(neurons, settings)))
    by_concept = surviving(neurons, settings, neurons["cluster"])
    rows.append(Survival("concepts", False, len(by_concept), **_totals(by_concept > 0)))
    return Survivors(tuple(rows), run.notes)


def in_all(frame: pd.DataFrame, knobs: Trust) -> dict[str, Any]:
    """Test → how many of all rows pass it; None for a test that could be asked of none of them."""
    return _totals(surviving(frame, knobs, pd.Series(0, index=frame.index)))


def _totals(counts: pd.DataFrame) -> dict[str, Any]:
    return {test: None if len(counts) and counts[test].isna().all() else int(counts[test].sum()) for test in TESTS}
