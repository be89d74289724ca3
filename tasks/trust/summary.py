"""How many matches, neurons and concepts survive each test, read from the tables."""

from dataclasses import dataclass

from rosetta.mining.trust.survival import Counts, in_all, surviving, totals
from rosetta.mining.trust.tests import TESTS
from storage.run.data import RunData
from tasks.stage.text_table import print_table

_LABELS = {"concepts": "concepts with such a neuron"}


@dataclass(frozen=True)
class Survival:
    """What is left of some matches, neurons or concepts."""

    of: str
    """A model whose buddies with the anchor these are, `Rosetta neurons`, or `concepts` that hold such a neuron."""
    control: bool
    count: int
    """As the paper defines them."""
    passing: Counts


@dataclass(frozen=True)
class Survivors:
    """What is left of a whole run."""

    rows: tuple[Survival, ...]
    notes: tuple[str, ...]
    """What a reader must know of how it was judged."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        rows = [{"of": row.of, "control": row.control, "count": row.count, **row.passing} for row in self.rows]
        return {"rows": rows, "notes": self.notes}

    def print(self) -> None:
        """Print a table on standard output, and what there is to note."""
        rows = []
        for row in self.rows:
            name = f"{row.of} (control)" if row.control else _LABELS.get(row.of, row.of)
            rows.append((name, row.count, *("not asked" if count is None else count for count in row.passing.values())))
        print_table(("", "found", *(test.heading for test in TESTS), "trusted"), rows, width=120)
        for note in self.notes:
            print(f"Note: {note}")


def survivors(run: RunData) -> Survivors:
    """Count what survives in a judged run."""
    rows, settings, neurons = [], run.recipe.trust, run.neurons
    for spec in run.recipe.models:
        if spec.name != run.anchor:
            matches = run.with_anchor(run.trust, spec.name)
            rows.append(Survival(spec.name, spec.control, len(matches), in_all(matches, settings)))
    rows.append(Survival("Rosetta neurons", False, len(neurons), in_all(neurons, settings)))
    by_concept = surviving(neurons, settings, neurons["cluster"])
    rows.append(Survival("concepts", False, len(by_concept), totals(by_concept > 0)))
    return Survivors(tuple(rows), run.notes)
