"""Links to the results of a run, and what its stages took, for Prefect's page."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_table_artifact

from storage.filesystem.root import Root
from tasks.stage.stage import StageResult

SUMMARY_HEAD = (
    "| stage | seconds | | images/s | MB read | MB written | computing | reading | writing | waiting |\n"
    "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|"
)


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


def summary_row(stage: StageResult) -> str:
    """What one stage took, as a row of a table in Markdown; what was skipped took nothing."""
    head = f"| {stage.name} | {stage.seconds:.1f} | {stage.outcome} |"
    if (taken := stage.metrics) is None:
        return f"{head} | | | | | | |"
    rate = "" if taken.images_per_second is None else f"{taken.images_per_second:,.1f}"
    amounts = (f"{count / 1e6:,.2f}" for count in (taken.bytes_read, taken.bytes_written))
    shares = (f"{share:.0%}" for share in (taken.computing, taken.reading, taken.writing, taken.waiting))
    return f"{head} {rate} | {' | '.join(amounts)} | {' | '.join(shares)} |"
