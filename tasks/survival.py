"""How many matches, neurons and concepts survive each test, read from the tables."""

from dataclasses import asdict, dataclass

import pandas as pd
from rich.console import Console
from rich.table import Table

from rosetta.recipe import Trust
from storage import tables
from storage.location import Root
from storage.provenance import stored_recipe

TESTS = ("chance", "replicates", "lift", "partial", "trusted")
"""In the order in which they are told; the last one asks for all of them."""


@dataclass(frozen=True)
class Survival:
    """What is left of some matches, neurons or concepts."""

    of: str
    """A model whose buddies with the anchor these are, `Rosetta neurons` or `clusters`."""
    control: bool
    count: int
    """As the paper defines them."""
    chance: int
    """With a q-value low enough."""
    replicates: int
    """Buddies in either half of the images."""
    lift: int
    """Above every control."""
    partial: int
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
            name = f"{row.of} (control)" if row.control else row.of
            shown.add_row(name, f"{row.count:,}", *(f"{getattr(row, test):,}" for test in TESTS))
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


def survivors(root: Root, anchor: str) -> Survivors:
    """Count what survives in a judged run."""
    recipe = stored_recipe(root)
    assert recipe is not None, "a judged run has a recipe"
    trust, rosetta, clusters = (tables.read(root, table) for table in ("trust", "rosetta", "clusters"))
    rows = []
    for spec in recipe.models:
        if spec.name != anchor:
            mine = trust[(trust["model_a"] == anchor) & (trust["model_b"] == spec.name)]
            rows.append(_survival(spec.name, spec.control, mine, recipe.trust))
    rows.append(_survival("Rosetta neurons", False, rosetta[rosetta["model"] == anchor], recipe.trust))
    rows.append(_survival("clusters", False, clusters, recipe.trust))
    return Survivors(tuple(rows), tuple(tables.attributes(root, "trust").get("notes", ())))


def _survival(of: str, control: bool, frame: pd.DataFrame, knobs: Trust) -> Survival:
    counts = passes(frame, knobs).sum()
    return Survival(of, control, len(frame), *(int(counts[test]) for test in TESTS))
