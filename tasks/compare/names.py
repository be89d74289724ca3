"""What a run calls its concepts: names from notes first, then labels."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from rosetta.errors import UserError
from storage.artifacts import notes
from storage.run.data import RunData


def concept_names(run: RunData) -> Mapping[int, str]:
    """By concept: its names, each once. Names of an earlier dictionary are left out, as the page of a run does."""
    found: dict[int, dict[str, None]] = {}
    for concept, name in _names(run):
        found.setdefault(concept, {})[name] = None
    return {concept: ", ".join(names) for concept, names in found.items()}


def _names(run: RunData) -> Iterator[tuple[int, str]]:
    with suppress(UserError):
        yield from [(note.concept, note.name) for note in notes.stored_notes(run.root) if note.name]
    with suppress(UserError):
        rows = run.labels
        yield from rows.loc[rows["named"], ["cluster", "label"]].itertuples(index=False, name=None)
