"""What stages took, as rows of a table in Markdown for Prefect's page."""

from tasks.stage.stage import StageResult

SUMMARY_HEAD = (
    "| stage | seconds | | images/s | MB read | MB written | computing | reading | writing | waiting |\n"
    "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|"
)


def summary_row(stage: StageResult) -> str:
    """One stage; what was skipped took nothing."""
    head = f"| {stage.name} | {stage.seconds:.1f} | {stage.outcome} |"
    if (taken := stage.metrics) is None:
        return f"{head} | | | | | | |"
    rate = "" if taken.images_per_second is None else f"{taken.images_per_second:,.1f}"
    amounts = (f"{count / 1e6:,.2f}" for count in (taken.bytes_read, taken.bytes_written))
    shares = (f"{share:.0%}" for share in (taken.computing, taken.reading, taken.writing, taken.waiting))
    return f"{head} {rate} | {' | '.join(amounts)} | {' | '.join(shares)} |"
