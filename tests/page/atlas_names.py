"""The made-up atlas with names, words and notes: what each word fits is known, and nobody means well."""

from pathlib import Path

import numpy as np
from atlas_page import CONCEPTS, HOSTILE, columns, write

from rosetta.view.atlas.script import put
from rosetta.view.atlas.words import quantised

WORDS = ["nose", "eye", "eyebrow", "hair", "mouth", "sky blue", "beard", HOSTILE]
NULL = 0.5
"""Of every concept."""
GUIDED = [
    {"kind": "inversion", "name": "table1", "address": "../inversions/table1/index.html"},
    {"kind": "edit", "name": "smile", "address": "../edits/smile/index.html"},
]


def score(concept: int, word: int) -> float:
    """How well a word fits a concept: above chance for every eighth, the more so the higher the number."""
    return (0.6 if concept % len(WORDS) == word else -0.4) + concept / (4 * CONCEPTS)


def name(concept: int) -> str | None:
    """What the model calls a concept: the word that fits it, of every second one."""
    return WORDS[concept % len(WORDS)] if concept % 2 == 0 else None


def merged(concept: int, author: str, **note: object) -> dict:
    """A note as the run has it."""
    text = {"name": "", "starred": False, "note": "", "when": "2026-01-02T03:04:05.000Z", "source": "a.json"}
    return {"concept": concept, "author": author, **text, **note}


NOTES = [merged(7, "Ada", name="left ear", starred=True), merged(9, HOSTILE, name=HOSTILE, note=HOSTILE)]


def write_named(folder: Path) -> Path:
    """The whole atlas; returns its page."""
    page = write(folder, words=len(WORDS), notes=True, guided=GUIDED)
    scores = np.array([[score(concept, word) for word in range(len(WORDS))] for concept in range(CONCEPTS)])
    words = {"words": WORDS, "concept": list(range(CONCEPTS)), "null": [NULL] * CONCEPTS}
    words |= quantised(scores, np.full(CONCEPTS, NULL)).data
    named = {**columns(), "name": [name(concept) for concept in range(CONCEPTS)]}
    for key, value in {"concepts": named, "words": words, "notes": NOTES}.items():
        (folder / "data" / f"{key}.js").write_bytes(put(key, value))
    return page
