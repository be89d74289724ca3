"""The page of a study, and its plots as files."""

from collections.abc import Iterator

from rosetta.mining.shape.power_law import RESAMPLES
from rosetta.view.plots import svg
from rosetta.view.study.contents import AnchorStory, StudyPage
from rosetta.view.study.page import render_study
from rosetta.view.study.plots import plots
from storage.artifacts import seals
from storage.artifacts.catalogue import REPORT, STUDY_RECORD, Instance
from storage.filesystem.root import Root
from tasks.report.page import PAGE as PAGE_OF_RUN
from tasks.study.tables import StudyTables, Subject, read_tables

PAGE = Instance(REPORT).index
"""Under the root of a study."""
PLOTS = f"{REPORT.path()}/plots"


def write_page(of: Subject, name: str) -> None:
    """The plots as SVG and PNG, and last the page, so that it never tells of what is not there."""
    page = _contents(of, name, read_tables(of.root))
    seals.discard(of.root, REPORT.path())
    for story in page.anchors:
        for plot in plots(page, story):
            for kind, content in svg.files(plot.size, plot.draw).items():
                of.root.write_bytes(f"{PLOTS}/{story.anchor}-{plot.name}.{kind}", content)
    of.root.write_bytes(PAGE, render_study(page).encode())


def _contents(of: Subject, name: str, tables: StudyTables) -> StudyPage:
    return StudyPage(
        name=name,
        families=of.families,
        anchors=list(_stories(of, tables)),
        resamples=RESAMPLES,
        command=f"rosetta study {of.root.shown}/{STUDY_RECORD.path()}",
        fingerprint=of.fingerprint.digest,
    )


def _stories(of: Subject, tables: StudyTables) -> Iterator[AnchorStory]:
    for anchor, runs in of.runs.items():
        models, depths, laws = (
            frame[frame["anchor"] == anchor] for frame in (tables.models, tables.depths, tables.exponents)
        )
        pages = {model: f"../{_relative(root, of.root)}/{PAGE_OF_RUN}" for model, root in runs.items()}
        yield AnchorStory(anchor, models, depths, laws, pages)


def _relative(root: Root, base: Root) -> str:
    return root.url.removeprefix(base.url).lstrip("/")
