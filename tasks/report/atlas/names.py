"""Files of the atlas about what people and models call concepts: the words that fit them, and notes."""

from collections.abc import Iterator
from typing import Any

from rosetta.view.atlas.script import numbers, put
from rosetta.view.atlas.words import quantised
from storage.artifacts.catalogue import EDITS, INVERSIONS, WORDS, instances
from storage.artifacts.dictionary import dictionary_of, is_of_dictionary
from storage.artifacts.layout import stored_attributes
from storage.artifacts.notes import are_stale, told
from storage.artifacts.words import WordStore
from storage.filesystem.root import Root
from tasks.report.atlas.run import AtlasRun

_KINDS = {INVERSIONS.pattern: "inversion", EDITS.pattern: "edit"}


def has_words(run: AtlasRun) -> bool:
    """Whether the words of a vocabulary were scored for the concepts of this very dictionary."""
    stored = stored_attributes(run.root, WORDS.path()) or {}
    return bool(stored.get("complete")) and is_of_dictionary(run.root, stored)


def has_notes(root: Root) -> bool:
    """Whether there are notes on the concepts of this very dictionary."""
    return not are_stale(root) and bool(told(root))


def about_names(run: AtlasRun) -> dict[str, Any]:
    """What the page's shell says of them, and of the pages beside it."""
    return {
        "dictionary": dictionary_of(run.root) or "",
        "words": len(WordStore.read(run.root).words) if has_words(run) else 0,
        "notes": has_notes(run.root),
        "guided": guided_pages(run.root),
    }


def guided_pages(root: Root) -> list[dict[str, str]]:
    """The pages of inversions and edits, each with its kind, name, and address from the folder of the report."""
    searches = instances(root, lambda artifact: artifact.pattern in _KINDS)
    return [
        {
            "kind": "inversion" if one.artifact is INVERSIONS else "edit",
            "name": one.names[0],
            "address": f"../{one.index}",
        }
        for one in searches
        if root.exists(one.index)
    ]


def words_file(run: AtlasRun) -> tuple[str, bytes]:
    """`data/words.js`: the vocabulary, and how well its words fit each concept."""
    store = WordStore.read(run.root)
    value: dict[str, Any] = {
        "words": store.words,
        "concept": store.clusters.tolist(),
        "null": numbers(store.null, 3),
        **quantised(store.score, store.null).data,
    }
    return "data/words.js", put("words", value)


def notes_file(root: Root) -> tuple[str, bytes]:
    """`data/notes.js`: the merged notes."""
    return "data/notes.js", put("notes", told(root))


def name_files(run: AtlasRun) -> Iterator[tuple[str, bytes]]:
    """Those of them that the run has."""
    if has_words(run):
        yield words_file(run)
    if has_notes(run.root):
        yield notes_file(run.root)
