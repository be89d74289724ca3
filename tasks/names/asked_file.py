"""A file that an option of `rosetta label` names."""

import fsspec

from rosetta.errors import UserError
from tasks.source.places import reason_of


def content_of(path: str, option: str, kind: str) -> bytes:
    """What it holds.

    Parameters
    ----------
    path
        Or any fsspec URL.
    option, kind
        Named where it cannot be read: `--words`, and what to give instead, "a text file".

    Raises
    ------
    UserError
        It cannot be read.
    """
    try:
        with fsspec.open(path, "rb") as file:
            content: bytes = file.read()
        return content
    except Exception as error:  # every filesystem has errors of its own
        raise UserError(f"{option} {path} cannot be read ({reason_of(error)}); give {kind}") from None
