"""The flow `study`: a run of `mine` for each model of some families, and how counts grow with their size."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import flow

from flows.locking import holding
from flows.mine import Mined, finished
from flows.plan.checks import prepare
from flows.plan.study import StudyPlan, plan_study
from flows.reporting.links import key_of, link
from flows.sweep import Planned, SweepError, swept
from rosetta.study import Study, read_study
from storage.filesystem.root import Root
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

    def as_dict(self) -> dict[str, Any]:
        """For JSON, where what is not a number is null."""
        return {
            "root": self.root,
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
    with holding(root):
        _write_recipe(root, of)
        stages = [run_as_task("study tables", _unless(tables.are_written, tables.write_tables, subject))]
        stages += [run_as_task("study page", _unless(page.is_written, page.write_page, subject, of.recipe.name))]
    link(root, page.PAGE, "the study", f"{key_of(of.recipe.name)}-study")
    return Studied(root.shown, tuple(runs), tuple(stages), tables.read_tables(root))


def subject_of(plan: StudyPlan) -> Subject:
    """What the tables and the page of a study are made from."""
    root = Root(plan.study.recipe.root)
    runs: dict[str, dict[str, Root]] = {}
    for member in plan.members:
        runs.setdefault(member.anchor, {})[member.model] = Root(member.recipe.root)
    seed = plan.study.recipe.images.seed
    return Subject(root, plan.study.families, plan.sizes, plan.parameters, runs, seed)


def _unless(done: Callable[..., bool], work: Callable[..., None], *of: Any) -> Callable[[], Outcome]:
    def run() -> Outcome:
        if done(*of):
            return "skipped"
        work(*of)
        return "done"

    return run


def _write_recipe(root: Root, of: Study) -> None:
    content = of.to_toml().encode()
    if not root.exists(RECIPE) or root.read_bytes(RECIPE) != content:
        root.write_bytes(RECIPE, content)


RECIPE = "study.toml"
"""The recipe as carried out, under the root of the study."""


def _records(frame: Any) -> list[dict[str, Any]]:
    return [
        {name: None if value != value else value for name, value in row.items()} for row in frame.to_dict("records")
    ]
