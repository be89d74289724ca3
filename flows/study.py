"""The flow `study`: a run of `mine` for each model of some families, and how counts grow with their size."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow

from flows.locking import holding
from flows.mine import Mined, finished
from flows.plan.checks import prepare
from flows.plan.study import StudyPlan, plan_study
from flows.reporting.links import key_of, link
from flows.sweep import Planned, SweepError, swept
from rosetta.study import read_study
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import ACTIVATIONS, OF_STUDIES, REPORT, STUDY_RECORD
from storage.artifacts.finished import is_finished
from storage.artifacts.layout import attributes_at
from storage.artifacts.provenance import write_provenance
from storage.artifacts.shared import Place, place_of
from storage.filesystem.root import Root
from storage.upkeep.sealing import seal, write_sealed
from tasks.stage.stage import Outcome, StageResult, run_as_task
from tasks.study import page, tables
from tasks.study.tables import StudyTables, Subject


class StudyError(SweepError):
    """Some runs of a study failed; one line for each."""


@dataclass(frozen=True)
class StudyRun:
    """One run of a study."""

    anchor: str
    model: str
    root: str
    skipped: bool
    """Whether there was nothing to do any more."""
    summary: str


@dataclass(frozen=True)
class Studied:
    """What a study left."""

    root: str
    runs: tuple[StudyRun, ...]
    stages: tuple[StageResult, ...]
    tables: StudyTables
    page: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON, where what is not a number is null."""
        return {
            "root": self.root,
            "page": self.page,
            "runs": [asdict(run) for run in self.runs],
            "stages": [stage.as_dict() for stage in self.stages],
            "models": _records(self.tables.models),
            "exponents": _records(self.tables.exponents),
        }


@flow(name="study", flow_run_name="study {recipe}", validate_parameters=True)
def study(recipe: Path, root: str | None = None, changes: tuple[str, ...] = (), replace: bool = False) -> Studied:
    """Mine a recipe once for each model of its families, and compare their counts over size. Resumes.

    Args:
        recipe: The path of a recipe with families, on the machine of the flow.
        root: Where the study goes, any fsspec URL. Default: the root in the recipe.
        changes: Changes to the recipe, for example `images.count=64`, as in `rosetta mine --set`.
        replace: Rebuild what other recipes made under the same roots. Otherwise such runs are refused.

    Raises:
        UserError: The recipe is no study, or one of its runs cannot be mined. Nothing has been changed then.
        StudyError: Some runs failed; one line for each. All others are mined.
    """
    plan = plan_study(read_study(recipe, root, changes))
    return carry_out(plan, replace, done=runs_done(plan, replace))


def runs_done(plan: StudyPlan, replace: bool) -> list[Mined | None]:
    """What each run left where there is nothing to do any more; every run is checked before any is mined.

    Raises
    ------
    UserError
        A run cannot be mined.
    """
    return [finished(prepare(member.recipe, replace)) for member in plan.members]


def carry_out(plan: StudyPlan, replace: bool, done: Sequence[Mined | None]) -> Studied:
    """Mine what is not done, then count."""
    of, root = plan.study, Root(plan.study.recipe.root)
    root.require_writable()
    runs, failed = [], []
    for member, before in zip(plan.members, done, strict=True):
        outcome = swept(Planned(member.recipe.name, member.recipe), replace) if before is None else None
        mined = before if outcome is None else outcome.mined
        if mined is None:
            failed.append(f"{member.anchor}/{member.model}: {outcome.reason if outcome else ''}")
        else:
            runs.append(StudyRun(member.anchor, member.model, mined.root, outcome is None, mined.summary))
    if failed:
        raise StudyError("\n".join([f"{len(failed)} of {len(plan.members)} runs failed", *failed]))
    subject = subject_of(plan)
    digest, write_page = subject.fingerprint.digest, partial(page.write_page, subject, of.recipe.name)
    with holding(root):
        write_sealed(root, STUDY_RECORD.path(), of.to_toml().encode())
        stages = [_stage("study tables", root, OF_STUDIES, digest, partial(tables.write_tables, subject))]
        stages += [_stage("study page", root, (REPORT,), digest, write_page)]
        _write_provenance(plan, digest, stages)
    link(root, page.PAGE, "the study", f"{key_of(of.recipe.name)}-study")
    return Studied(root.shown, tuple(runs), tuple(stages), tables.read_tables(root), page.PAGE)


def subject_of(plan: StudyPlan) -> Subject:
    """What the tables and the page of a study are made from."""
    root = Root(plan.study.recipe.root)
    runs: dict[str, dict[str, Root]] = {}
    for member in plan.members:
        runs.setdefault(member.anchor, {})[member.model] = Root(member.recipe.root)
    seed = plan.study.recipe.images.seed
    return Subject(root, plan.study.families, plan.sizes, plan.parameters, runs, seed)


def _stage(name: str, root: Root, artifacts: Sequence[Artifact], digest: str, work: Callable[[], None]) -> StageResult:
    """Make and seal some artifacts of a study, unless they are there with this fingerprint."""

    def run() -> Outcome:
        if all(is_finished(Place(root, one.path()), one, digest) for one in artifacts):
            return "skipped"
        work()
        for one in artifacts:
            seal(root, one.path())
        return "done"

    return run_as_task(name, run)


def _write_provenance(plan: StudyPlan, digest: str, stages: Sequence[StageResult]) -> None:
    if all(stage.outcome == "skipped" for stage in stages):
        return
    weights = {}
    for member in plan.members:
        for spec in member.recipe.models:
            attributes = attributes_at(place_of(Root(member.recipe.root), ACTIVATIONS.path(spec.name))) or {}
            weights[spec.name] = str(attributes["weights_sha256"])
    root, fingerprints = Root(plan.study.recipe.root), {table.path(): digest for table in OF_STUDIES}
    of_stages = [stage.as_dict() for stage in stages]
    write_provenance(root, device="cpu", weights=weights, fingerprints=fingerprints, stages=of_stages, retries=0)


def _records(frame: Any) -> list[dict[str, Any]]:
    return [
        {name: None if value != value else value for name, value in row.items()} for row in frame.to_dict("records")
    ]
