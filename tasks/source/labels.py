"""Labels of images: their dataset's, those of a table, or the folders that they lie in."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rosetta.errors import UserError
from rosetta.recipe import Images
from tasks.source.file_list import Files
from tasks.source.places import reason_of

FOLDER, NONE = "folder", "none"
"""What `images.labels` may be beside a table's path."""
_COLUMNS = ("source", "label")
_NAMED = 3
"""Images that a message names."""
_AT_ONCE = 1 << 15
"""Rows of a table that are objects at once."""


def labelled(files: Files, images: Images) -> Files:
    """The images of a source, those that have a label of their own with it.

    Raises
    ------
    UserError
        The table of labels cannot be read, contradicts itself or names images that are not there; or folders are to be
        the labels and there are none.
    """
    if images.labels is None:
        return files
    if images.labels not in (FOLDER, NONE):
        return files.labelled(*_of_table(images.labels, files))
    if images.labels == FOLDER and not any(files.folders()):
        raise UserError("images.labels = 'folder', but no image lies in a folder of the source; leave it out")
    return files.labelled() if files.have_labels else files


def labels_of(files: Files, images: Images) -> list[str] | None:
    """(image,) labels, empty where one is not known; None where there are none at all.

    Parameters
    ----------
    files
        As :func:`labelled` gives them.
    """
    if files.have_labels:
        return files.labels()
    folders = [] if images.labels == NONE else files.folders()
    return folders if any(folders) else None


def _of_table(path: str, files: Files) -> tuple[npt.NDArray[np.int64], list[str]]:
    """(file,) index of each image's label, and the labels; that of images which the table lacks is empty."""
    labels: dict[str, int] = {"": 0}
    sources: list[pa.Array] = []
    numbers: list[npt.NDArray[np.int64]] = []
    rows = _rows(path)
    while part := list(islice(rows, _AT_ONCE)):
        sources.append(pa.array([source for _, source, _ in part], pa.large_string()))
        numbers.append(np.array([(line, labels.setdefault(label, len(labels))) for line, _, label in part]))
    of_rows = pa.chunked_array(sources, pa.large_string())
    line, label = np.concatenate([np.zeros((0, 2), np.int64), *numbers]).T
    texts, known = list(labels), files.sources
    _require_one_label(path, of_rows, line, label, texts)
    strangers = of_rows.filter(pc.invert(pc.is_in(of_rows, known))).unique()
    if len(strangers):
        named = ", ".join(repr(source) for source in strangers[:_NAMED].to_pylist())
        more = f" and {len(strangers) - _NAMED:,} more" if len(strangers) > _NAMED else ""
        raise UserError(
            f"images.labels: {path} has labels for {named}{more}, which"
            f" images.source does not have; name images as it does, {pc.min(known).as_py()!r} for one"
        )
    codes = np.zeros(len(files), np.int64)
    codes[pc.index_in(of_rows, known).to_numpy()] = label
    return codes, texts


def _require_one_label(
    path: str,
    sources: pa.ChunkedArray,
    lines: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    texts: Sequence[str],
) -> None:
    """
    Raises
    ------
    UserError
        A row gives an image another label than one before.
    """
    image = pc.index_in(sources, sources.unique()).to_numpy()
    before = labels[np.unique(image, return_index=True)[1]][image]
    if (other := np.flatnonzero(before != labels)).size:
        row = other[0]
        raise UserError(
            f"images.labels: line {lines[row]} of {path} gives {sources[int(row)].as_py()!r} the label"
            f" {texts[labels[row]]!r}, but it had {texts[before[row]]!r} before; leave one of them"
        )


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
