"""Labels of images: their dataset's, those of a table, or the folders that they lie in."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import fsspec

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.image_file import ImageFile
from tasks.source.places import reason_of

FOLDER, NONE = "folder", "none"
"""What `images.labels` may be beside a table's path."""
_COLUMNS = ("source", "label")
_NAMED = 3
"""Images that a message names."""


def labelled(files: Sequence[ImageFile], images: Images) -> list[ImageFile]:
    """The images of a source, those that have a label of their own with it.

    Raises
    ------
    UserError
        The table of labels cannot be read, contradicts itself or names images that are not there; or folders are to be
        the labels and there are none.
    """
    if images.labels is None:
        return list(files)
    if images.labels not in (FOLDER, NONE):
        labels = _of_table(images.labels, {file.source for file in files})
        return [replace(file, label=labels.get(file.source, "")) for file in files]
    if images.labels == FOLDER and not any(file.folder for file in files):
        raise UserError("images.labels = 'folder', but no image lies in a folder of the source; leave it out")
    return [replace(file, label=None) if file.label is not None else file for file in files]


def are_given(files: Sequence[ImageFile]) -> bool:
    """Whether some images have labels that do not follow from their names."""
    return any(file.label is not None for file in files)


def labels_of(files: Sequence[ImageFile], images: Images) -> list[str] | None:
    """(image,) labels, empty where one is not known; None where there are none at all.

    Parameters
    ----------
    files
        As :func:`labelled` gives them.
    """
    if are_given(files):
        return [file.label or "" for file in files]
    folders = [] if images.labels == NONE else [file.folder for file in files]
    return folders if any(folders) else None


def _of_table(path: str, known: set[str]) -> dict[str, str]:
    """By source; of those images that the table has."""
    labels: dict[str, str] = {}
    for line, source, label in _rows(path):
        if labels.setdefault(source, label) != label:
            raise UserError(
                f"images.labels: line {line} of {path} gives {source!r} the label {label!r}, but it had"
                f" {labels[source]!r} before; leave one of them"
            )
    if strangers := [source for source in labels if source not in known]:
        more = f" and {len(strangers) - _NAMED:,} more" if len(strangers) > _NAMED else ""
        raise UserError(
            f"images.labels: {path} has labels for {', '.join(map(repr, strangers[:_NAMED]))}{more}, which"
            f" images.source does not have; name images as it does, {min(known)!r} for one"
        )
    return labels


def _rows(path: str) -> Iterator[tuple[int, str, str]]:
    """Line, source and label of each row."""
    with _readable(path), fsspec.open(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if lacking := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
            raise UserError(
                f"images.labels: {path} has no column {lacking[0]!r}; its first line must be source,label (or name"
                " them among others)"
            )
        for row in reader:
            source, label = (row[name] for name in _COLUMNS)
            if source is None or label is None or None in row:
                raise UserError(
                    f"images.labels: line {reader.line_num} of {path} has not as many values as its first line; quote"
                    " those with a comma"
                )
            yield reader.line_num, source, label.strip()


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # every filesystem has errors of its own
        raise UserError(
            f"images.labels {path!r} cannot be read ({reason_of(error)}); give 'folder', 'none', or a CSV file with the"
            " columns source and label"
        ) from None
