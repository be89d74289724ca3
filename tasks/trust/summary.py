"""How many matches, neurons and concepts survive each test, and how many chance would make, read from the tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from rosetta.mining.trust.null_dictionary import CONCEPTS, NEURONS, NullCount
from rosetta.mining.trust.survival import Counts, in_all, surviving, totals
from rosetta.mining.trust.tests import TESTS
from rosetta.view import null_words
from storage.run.data import RunData
from tasks.stage.text_table import print_table

_LABELS = {CONCEPTS: "concepts with one"}
_NOT_MADE = "not made"


@dataclass(frozen=True)
class Survival:
    """What is left of some matches, neurons or concepts."""

    of: str
    """A model whose buddies with the anchor these are, `Rosetta neurons`, or `concepts` that hold such a neuron."""
    control: bool
    count: int
    """As the paper defines them."""
    passing: Counts
    null: NullCount | None = None
    """The count beside what it is with images exchanged; None where that was not found out."""

    @property
    def label(self) -> str:
        """What people read."""
        return f"{self.of} (control)" if self.control else _LABELS.get(self.of, self.of)

    def as_dict(self) -> dict[str, object]:
        """For JSON, where what is not a number is null."""
        row = {"of": self.of, "control": self.control, "count": self.count, **self.passing}
        return {**row, "null": None if self.null is None else null_words.as_json(self.null)}


@dataclass(frozen=True)
class Survivors:
    """What is left of a whole run."""

    rows: tuple[Survival, ...]
    notes: tuple[str, ...]
    """What a reader must know of how it was judged."""
    asked: tuple[str, ...] = tuple(test.name for test in TESTS)
    """The tests that `trusted` asks for."""

    def as_dict(self) -> dict[str, object]:
        """For JSON: all tests, and which of them count."""
        return {"rows": [row.as_dict() for row in self.rows], "tests": self.asked, "notes": self.notes}

    def print(self) -> None:
        """Print on standard output the tests that count, then the others, the null, and what there is to note."""
        asked = [test for test in TESTS if test.name in self.asked]
        names = [*(test.name for test in asked), "trusted"]
        head = ("", "found", *(test.heading for test in asked), "trusted")
        print_table(head, [(row.label, row.count, *_cells(row, names)) for row in self.rows], width=120)
        others = [
            test for test in TESTS
            if test not in asked and any(row.passing.get(test.name) is not None for row in self.rows)
        ]  # fmt: skip
        if others:
            print("\nReported beside them:")
            names = [test.name for test in others]
            head = ("", *(test.heading for test in others))
            print_table(head, [(row.label, *_cells(row, names)) for row in self.rows], width=120)
        nulls = [(row, row.null) for row in self.rows if row.null is not None]
        if nulls:
            print("\nWith the images of every model exchanged:")
            rows = [(row.label, null.found, *_null_cells(null)) for row, null in nulls]
            print_table(("", "found", "null", "found over null", "false discovery rate"), rows, width=120)
        for note in self.notes:
            print(f"Note: {note}")


def _cells(row: Survival, tests: Sequence[str]) -> list[str | int]:
    counts = (row.passing.get(test) for test in tests)
    return [_NOT_MADE if count is None else count for count in counts]


def _null_cells(null: NullCount) -> tuple[str, str, str]:
    return null_words.mean(null), null_words.ratio(null), null_words.rate(null)


def survivors(run: RunData) -> Survivors:
    """Count what survives in a judged run."""
    rows, settings, neurons = [], run.recipe.trust, run.neurons
    # A model may be called `concepts`, too; those of models come first, the dictionary's own last.
    of_models, of_dictionary = ({null.of: null for null in order} for order in (run.null_counts[::-1], run.null_counts))
    for spec in run.recipe.models:
        if spec.name != run.anchor:
            matches = run.with_anchor(run.trust, spec.name)
            of_model = in_all(matches, settings)
            rows.append(Survival(spec.name, spec.control, len(matches), of_model, of_models.get(spec.name)))
    rows.append(Survival(NEURONS, False, len(neurons), in_all(neurons, settings), of_dictionary.get(NEURONS)))
    by_concept = surviving(neurons, settings, neurons["cluster"])
    rows.append(Survival(CONCEPTS, False, len(by_concept), totals(by_concept > 0), of_dictionary.get(CONCEPTS)))
    return Survivors(tuple(rows), run.judging_notes, settings.tests)
