"""Datasets that Hugging Face's `save_to_disk` left: which Arrow files of a folder belong to one, and whether all do."""

import json
from collections.abc import Sequence

from rosetta.mining.draw import folder_of
from tasks.source.contents import BadDatasetError
from tasks.source.image_file import ImageFile
from tasks.source.places import Place

_STATE = "state.json"
"""Beside the Arrow files of a dataset: names them. Others there are caches of what was made of it."""


def without_caches(
    place: Place, root: str, files: Sequence[ImageFile], whole: bool
) -> tuple[list[ImageFile], list[ImageFile]]:
    """Files that are no caches beside a saved dataset, and the caches.

    Parameters
    ----------
    root
        The folder that the sources of the files are relative to.
    whole
        Whether all files of a dataset must be there.

    Raises
    ------
    BadDatasetError
        One is missing, or a dataset does not say which files it has.
    """
    arrows = {file.source for file in files if file.source.lower().endswith(".arrow")}
    caches: set[str] = set()
    for folder in sorted({folder_of(source) for source in arrows}):
        state = "/".join(filter(None, [folder, _STATE]))
        path = f"{root.rstrip('/')}/{state}" if root else state
        if not place.filesystem.isfile(path):
            continue
        named = {"/".join(filter(None, [folder, name])) for name in _named(place, path, state)}
        if whole and (missing := sorted(named - arrows)):
            raise BadDatasetError(state, f"names {missing[0]!r}, which is not there")
        caches |= {source for source in arrows - named if folder_of(source) == folder}
    return [file for file in files if file.source not in caches], [file for file in files if file.source in caches]


def _named(place: Place, path: str, state: str) -> list[str]:
    with place.filesystem.open(path, "rb") as file:
        content = file.read()
    try:
        return [str(one["filename"]) for one in json.loads(content)["_data_files"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadDatasetError(state, "does not say which files the dataset has") from None
