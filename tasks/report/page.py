"""Stage `report`: tables and stores into `report/`, the dictionary that a person looks at."""

from rosetta.errors import UserError
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import (
    CLASSES_OF_CONCEPTS,
    CLASSES_OF_UNITS,
    DISTANCES,
    LAYERS,
    NULL,
    RAREFACTION,
    REPORT,
    ROSETTA,
    STABILITY,
    UNITS,
    Instance,
)
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.seals import discard
from storage.filesystem.root import Root
from storage.upkeep.sealing import replace_file
from tasks.plan import Plan, Stage

PAGE = Instance(REPORT).index
_VERSION, _STREAMED_VERSION = 10, 11
"""Of the page, and of that of a streamed run: another one writes such pages again."""


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the page."""
    return fingerprint(
        "report",
        dictionary=plan.digest(ROSETTA),
        units=plan.digest(UNITS),
        measured={table.name: plan.digest(table) for table in _MEASURED if _is_made(plan, table)},
        added=dict(plan.facts.added),
        name=plan.recipe.name,
        page=_version(plan),
    )


def _version(plan: Plan) -> int:
    return _VERSION if plan.facts.streamed is None else _STREAMED_VERSION


_MEASURED = (NULL, STABILITY, LAYERS, DISTANCES, RAREFACTION, CLASSES_OF_UNITS, CLASSES_OF_CONCEPTS)
"""Tables that the pages show where the run has them."""


def _is_made(plan: Plan, table: Artifact) -> bool:
    return table.pattern in plan.fingerprints and table.measured not in plan.recipe.trust.leave_out


def write_report(plan: Plan) -> None:
    """Write the atlas, and the page that explains trust; the shell last, so that it never shows what is not there."""
    # Matplotlib and the templates come with these, and no stage before this one needs them.
    from rosetta.view.atlas.page import render
    from rosetta.view.trust.page import render_trust
    from tasks.report.atlas.run import AtlasRun
    from tasks.report.atlas.write import write_atlas
    from tasks.report.trust_page import TRUST_PAGE, trust_story

    root, digest = plan.root, plan.digest(REPORT)
    discard(root, REPORT.path())
    run = AtlasRun.of(root, plan.recipe)
    summary = {**write_atlas(run, digest), "version": _version(plan)}
    if run.judged:
        story = trust_story(run, summary["judgement"], digest)
        root.write_bytes(f"{REPORT.path()}/{TRUST_PAGE}", render_trust(story).encode())
        summary["trust_page"] = TRUST_PAGE
    root.write_bytes(PAGE, render(summary).encode())


def list_guided(root: Root) -> None:
    """Let the page of a run list the inversions and edits that there are now; all else of it stays as it is.

    Raises
    ------
    UserError
        Another version wrote it.
    """
    from rosetta.view.atlas.page import render, told
    from tasks.report.atlas.names import guided_pages

    try:
        run, there = told(root.read_bytes(PAGE).decode()), guided_pages(root)
    except ValueError:
        run = {}
    if run.get("version") not in (_VERSION, _STREAMED_VERSION):
        raise UserError("another version wrote it")
    if run["guided"] != there:
        replace_file(root, REPORT.path(), PAGE, render({**run, "guided": there}).encode())


WRITE_REPORT = Stage("report", (REPORT,), fingerprint_of, write_report)
