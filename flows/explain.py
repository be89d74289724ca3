"""The flow `explain`: where a classifier looks on images of a run, kept in the run and shown on its page."""

from dataclasses import dataclass

from prefect import flow

from flows.locking import holding
from storage.artifacts import seals
from storage.artifacts.catalogue import REPORT, Instance
from storage.artifacts.layout import stored_attributes
from storage.filesystem.lock import lock_of
from storage.run.members import RunMembers
from storage.upkeep.formats import require_no_upgrade
from storage.upkeep.sealing import seal
from tasks.explain.stored import Explaining, explain_images, plan_explaining
from tasks.stage.stage import Outcome, StageResult, run_as_task


@dataclass(frozen=True)
class Explained:
    """What `rosetta explain` left."""

    root: str
    name: str
    """Of the store in `explanations/`."""
    path: str
    """Of the store under the root."""
    stages: tuple[StageResult, ...]


def plan_explanations(
    root: str, images: str | None, model: str, index: int | None = None, layer: str | None = None
) -> tuple[RunMembers, Explaining]:
    """Check all that is named; nothing is written.

    Raises
    ------
    UserError
        There is no such run, model, class, layer or image, or the model has no classifier.
    """
    run = RunMembers.open(root)
    require_no_upgrade(run.root)
    return run, plan_explaining(run, images, model, index, layer)


@flow(name="explain", flow_run_name="explain {model} {images}")
def explain(root: str, images: str | None, model: str, index: int | None = None, layer: str | None = None) -> Explained:
    """Explain images of a run by its concepts, and show it on the page.

    Args:
        root: Root of a mined run, any fsspec URL.
        images: An index, `7`, or a range, `0:16`. All where there is none.
        model: A classifier of the run.
        index: Of the class. The likeliest of each image where there is none.
        layer: Whose maps are weighed. The last that the class depends on where there is none.

    Raises:
        UserError: Something that is named is not there. Nothing has been written then.
    """
    run, plan = plan_explanations(root, images, model, index, layer)
    with holding(run.root, lock_of(plan.path)):
        run.root.require_writable()
        stored = stored_attributes(run.root, plan.path)
        if stored is not None and stored["fingerprint"] != plan.fingerprint.digest:
            seals.discard(run.root, plan.path)
        stage = explain_images(run, plan)
        seal(run.root, plan.path)
    stages = [stage]
    if stage.outcome == "done" and run.root.exists(Instance(REPORT).index):
        stages.append(_show(run))
    return Explained(run.root.shown, plan.name, plan.path, tuple(stages))


def _show(run: RunMembers) -> StageResult:
    """Write what the page shows of explanations; the rest of the page stays as it is."""
    from tasks.report.atlas.explained import write_explained  # it draws, which is slow to import

    def work() -> Outcome:
        seals.break_seal(run.root, REPORT.path())
        write_explained(run.root, run.recipe)
        seal(run.root, REPORT.path())
        return "done"

    with holding(run.root):
        return run_as_task("show", work)
