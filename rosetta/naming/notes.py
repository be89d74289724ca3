"""Notes on concepts: what people call them, which they star, and how the notes of several people become one list.

A file of notes is what the atlas exports::

    {"format": "rosetta-notes", "version": 1, "run": "faces", "dictionary": "<fingerprint>", "author": "Ada",
     "notes": [{"concept": 3, "name": "nose", "starred": true, "note": "", "when": "2026-11-27T10:00:00.000Z"}]}

`dictionary` is the fingerprint of `tables/rosetta.parquet`: numbers of concepts mean something in one dictionary only.
A note without name, star and text takes back an earlier one.
"""

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from rosetta.errors import UserError
from rosetta.strict import Strict, validated

VERSION = 1
"""Of the format of files of notes."""
MOST_BYTES = 4 * 2**20
"""Of a file of notes."""
NAME, TEXT = 100, 2000
"""Most characters of a name or an author, and of the text of a note."""


@dataclass(frozen=True, order=True)
class Note:
    """What one person says of one concept."""

    concept: int
    author: str
    when: str
    """UTC, ISO 8601 with milliseconds, so that texts sort as times."""
    starred: bool
    name: str
    text: str
    source: str
    """Name of the file that it came in."""


def _line(text: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
        raise ValueError("a control character is not allowed here")
    return text.strip()


def _lines(text: str) -> str:
    _line("".join(letter for letter in text if letter not in "\n\t"))
    return text.strip()


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("this is no time in ISO 8601, like 2026-11-27T10:00:00Z") from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Line = Annotated[str, Field(max_length=NAME), AfterValidator(_line)]


class _Entry(Strict):
    concept: int = Field(strict=True, ge=0, lt=2**31)
    name: Line = ""
    starred: bool = Field(default=False, strict=True)
    note: Annotated[str, Field(max_length=TEXT), AfterValidator(_lines)] = ""
    when: Annotated[str, Field(max_length=40), AfterValidator(_time)]


class _File(Strict):
    format: Literal["rosetta-notes"]
    version: int
    run: str = Field(default="", max_length=1000)
    dictionary: str = Field(max_length=200)
    author: Line = ""
    notes: tuple[_Entry, ...]


@dataclass(frozen=True)
class NotesFile:
    """A file of notes."""

    dictionary: str
    """Fingerprint of the dictionary that the notes are on."""
    notes: tuple[Note, ...]


def parse(content: bytes, name: str) -> NotesFile:
    """Read a file of notes, which anyone may have written.

    Parameters
    ----------
    name
        Of the file: what errors call it, and the author of its notes where it names none.

    Raises
    ------
    UserError
        It is too large, is not such a file, or is of another version.
    """
    if len(content) > MOST_BYTES:
        raise UserError(f"{name} is larger than {MOST_BYTES // 2**20} MiB; this is no file of notes")
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise UserError(f"{name} is not JSON; give a file that the atlas exported") from None
    if not isinstance(found, dict) or found.get("format") != "rosetta-notes":
        raise UserError(f"{name} is not a file of notes; give a file that the atlas exported")
    if found.get("version") != VERSION:
        raise UserError(
            f"{name} is of version {found.get('version')!r} of the format of notes, and this rosetta reads {VERSION}"
        )
    file = validated(_File, found, name)
    author = file.author or name
    notes = (Note(one.concept, author, one.when, one.starred, one.name, one.note, name) for one in file.notes)
    return NotesFile(file.dictionary, tuple(notes))


def merged(notes: Iterable[Note]) -> list[Note]:
    """Of each author and concept the latest note, by concept and author.

    The order in which notes come says nothing: of two of the same time the one with the greater content stays.
    """
    latest: dict[tuple[int, str], Note] = {}
    for note in notes:
        key = note.concept, note.author
        if key not in latest or astuple(latest[key]) < astuple(note):
            latest[key] = note
    return [latest[key] for key in sorted(latest)]
