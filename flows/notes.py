"""The flow `notes`: notes of people on concepts, from files that the atlas exports into a table of the run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import fsspec
from prefect import flow

from flows import report as rewriting
from flows.locking import holding
from flows.report import report
from rosetta.errors import UserError
from rosetta.naming.notes import MOST_BYTES, Note, NotesFile, merged, parse
from rosetta.recipe import Recipe
from storage.artifacts.catalogue import NOTES
from storage.artifacts.dictionary import dictionary_of
from storage.artifacts.notes import are_stale, stored_notes, told, write_notes
from storage.filesystem.lock import lock_of
from storage.filesystem.root import Root
from storage.run.data import RunData
from storage.upkeep.sealing import seal
from tasks.source.places import reason_of
from tasks.stage.stage import Outcome, run_as_task


@dataclass(frozen=True)
class NotesPlan:
    """Notes to merge into those of a run."""

    recipe: Recipe
    files: tuple[NotesFile, ...]
    replace: bool


def plan_notes(root: str, files: Sequence[str], replace: bool = False, any_dictionary: bool = False) -> NotesPlan:
    """Check all files of notes; nothing is written.

    Raises
    ------
    UserError
        There is no finished run, or a file cannot be read, is no file of notes, is on another dictionary, or names a
        concept that is not there.
    """
    recipe = rewriting.prepared(root).recipe
    run = RunData.open(root)
    read = []
    for path in files:
        file = parse(_content(path), _name(path))
        if file.dictionary != dictionary_of(run.root) and not any_dictionary:
            raise UserError(
                f"{path} has notes on another dictionary, whose numbers mean other concepts; --any-dictionary takes "
                "them as they are"
            )
        for note in file.notes:
            try:
                run.require_concept(note.concept)
            except UserError as error:
                raise UserError(f"{path}: {error}") from None
        read.append(file)
    if are_stale(run.root) and not replace:
        stored_notes(run.root)  # says what is wrong with them
    return NotesPlan(recipe, tuple(read), replace)


@flow(name="notes", flow_run_name="notes {root}")
def merge_notes(root: str, files: tuple[str, ...], replace: bool = False, any_dictionary: bool = False) -> int:
    """Merge files of notes into a run, then rewrite its page.

    Args:
        root: Root of a mined run, any fsspec URL.
        files: Paths or URLs of files that the atlas exported.
        replace: Drop the notes that are there. Otherwise those on another dictionary are an error.
        any_dictionary: Take files of notes on another dictionary, too.

    Returns:
        How many notes there are now.

    Raises:
        UserError: A file does not fit the run. Nothing has been written then.
    """
    plan, place = plan_notes(root, files, replace, any_dictionary), Root(root)
    new = [note for file in plan.files for note in file.notes]
    with holding(place, lock_of(NOTES.path())):
        place.require_writable()
        there: list[Note] = [] if replace else stored_notes(place)
        all_notes = merged([*there, *new])

        def work() -> Outcome:
            if place.exists(NOTES.path()) and not replace and all_notes == there:
                return "skipped"
            write_notes(place, all_notes)
            return "done"

        run_as_task("notes", work)
        seal(place, NOTES.path())
    report(plan.recipe)
    return len(told(place))


def _name(path: str) -> str:
    """What the file is called, as text that can be stored whatever bytes a disk has in its place."""
    return (PurePosixPath(path).name or path).encode("utf-8", "replace").decode()


def _content(path: str) -> bytes:
    """
    Raises
    ------
    UserError
        The file cannot be read.
    """
    try:
        with fsspec.open(path, "rb") as file:
            return bytes(file.read(MOST_BYTES + 1))
    except Exception as error:  # as many kinds as there are filesystems
        raise UserError(f"{path} cannot be read ({reason_of(error)}); give a file that the page exported") from None
