"""Stage `report`: tables and stores into `report/`, the dictionary that a person looks at."""

from rosetta.view.atlas.page import render
from rosetta.view.trust.page import render_trust
from storage.artifacts.catalogue import REPORT, ROSETTA, UNITS
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.finished import index_of
from storage.artifacts.seals import discard
from tasks.plan import Plan, Stage
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.write import write_atlas
from tasks.report.trust_page import TRUST_PAGE, trust_story

PAGE = index_of(REPORT.path(), REPORT)
_VERSION = 4
"""Of the page: another one writes the pages of all runs again."""


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the page."""
    return fingerprint(
        "report",
        dictionary=plan.digest(ROSETTA),
        units=plan.digest(UNITS),
        name=plan.recipe.name,
        page=_VERSION,
    )


def write_report(plan: Plan) -> None:
    """Write the atlas, and the page that explains trust; the shell last, so that it never shows what is not there."""
    root, recipe, anchor, digest = plan.root, plan.recipe, plan.anchor, plan.digest(REPORT)
    discard(root, REPORT.path())
    run = AtlasRun.read(root, recipe, anchor, plan.models)
    told = write_atlas(run, digest)
    if run.judged:
        story = trust_story(root, recipe, anchor, run.tables["trust"], run.neurons, told["judgement"], digest)
        root.write_bytes(f"{REPORT.path()}/{TRUST_PAGE}", render_trust(story).encode())
        told["trust_page"] = TRUST_PAGE
    root.write_bytes(PAGE, render(told).encode())


WRITE_REPORT = Stage("report", (REPORT,), fingerprint_of, write_report)
