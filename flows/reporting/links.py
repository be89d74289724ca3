"""Links to the results of a run, for Prefect's page."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_table_artifact

from storage.filesystem.root import Root


def key_of(*words: str) -> str:
    """A key in Prefect's form: lower-case letters, digits and dashes."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in "-".join(words).lower())


def link(root: Root, path: str, text: str, key: str) -> None:
    """A link to something under a root."""
    where = root.local.resolve().as_uri() if root.local else root.shown
    create_link_artifact(f"{where}/{path}", link_text=text, key=key, description=f"{text}: {root.shown}/{path}")


def link_guided(root: Root, where: str, run: str, summary: Sequence[Mapping[str, Any]]) -> None:
    """Links to the page and the metrics of an inversion or an edit, and their summary.

    Parameters
    ----------
    where
        `inversions/<name>` or `edits/<name>`.
    run
        Name of the recipe.
    """
    key = key_of(run, where)
    link(root, f"{where}/index.html", where, f"{key}-page")
    link(root, f"{where}/metrics.parquet", f"{where}, metrics", f"{key}-metrics")
    create_table_artifact([dict(row) for row in summary], key=f"{key}-summary", description=f"metrics of {where}")
