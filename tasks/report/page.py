"""Stage `report`: tables and stores into `report/`, the dictionary that a person looks at."""

from collections.abc import Sequence

from rosetta.recipe import ModelSpec, Recipe
from rosetta.view.atlas.page import render
from rosetta.view.trust.page import render_trust
from storage.artifacts.catalogue import REPORT, Instance
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.seals import discard
from storage.filesystem.root import Root
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.write import write_atlas
from tasks.report.trust_page import TRUST_PAGE, trust_story
from tasks.stage.stage import Outcome, stage

PAGE = Instance(REPORT).index


@stage("report")
def write_report(root: Root, wanted: Fingerprint, recipe: Recipe, anchor: str, models: Sequence[ModelSpec]) -> Outcome:
    """Write the atlas, and the page that explains trust; the shell last, so that it never shows what is not there."""
    if is_written(root, wanted):
        return "skipped"
    discard(root, REPORT.path())
    run = AtlasRun.of(root, recipe)
    summary = write_atlas(run, wanted.digest)
    if run.judged:
        story = trust_story(run, summary["judgement"], wanted.digest)
        root.write_bytes(f"{REPORT.path()}/{TRUST_PAGE}", render_trust(story).encode())
        summary["trust_page"] = TRUST_PAGE
    root.write_bytes(PAGE, render(summary).encode())
    return "done"


def is_written(root: Root, wanted: Fingerprint) -> bool:
    """Whether the page is there and was made from the same."""
    return root.exists(PAGE) and wanted.digest.encode() in root.read_bytes(PAGE)
