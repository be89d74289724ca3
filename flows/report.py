"""The flow `report`: rebuild the page of a finished run from its stores. No weights are needed."""

from collections.abc import Callable

from prefect import flow

from flows import trust as judge
from flows.locking import holding
from flows.plan.gather import plan_of_root
from flows.plan.stages import stages_from
from flows.running import run
from rosetta.errors import UserError
from rosetta.recipe import Recipe
from storage.artifacts import provenance
from storage.artifacts.catalogue import TRUST
from storage.artifacts.finished import index_of
from storage.filesystem.root import Root
from storage.upkeep.sealing import seal_finished
from tasks.match.units import WRITE_UNITS
from tasks.plan import Plan, Stage
from tasks.report.page import PAGE, WRITE_REPORT, list_guided
from tasks.stage.stage import StageResult


def prepared(root: str) -> Plan:
    """The plan of a run whose page is to be written; nothing is written yet.

    Raises
    ------
    UserError
        There is no run, or it is not finished.
    """
    plan = judge.prepared(root)
    table = TRUST.path()
    if not plan.root.exists(table):
        raise UserError(f"{plan.root.shown} has no trust tests ({table} is missing); run rosetta trust on it first")
    return plan


def rewrite(root: Root) -> str:
    """Rewrite the page of a run, if it has one, after a command has added a table.

    Returns
    -------
    str
        A line that says where the page is, or why it does not show the table yet; empty where there is no page.
    """
    return _renewed(root, _write_page)


def relist(root: Root) -> str:
    """Let the page of a run, if it has one, list the inversions and edits that there are.

    Returns
    -------
    str
        As of :func:`rewrite`.
    """
    return _renewed(root, list_guided)


def _renewed(root: Root, work: Callable[[Root], None]) -> str:
    if not root.exists(PAGE):
        return ""
    try:
        with holding(root):
            work(root)
    except (UserError, FileNotFoundError) as error:
        return f"The page does not show this yet ({error}); rosetta report {root.shown} rewrites it"
    return f"Page: {root.shown}/{PAGE}"


def _write_page(root: Root) -> None:
    recipe = provenance.stored_recipe(root)
    assert recipe is not None
    run(plan_of_root(root, recipe), [WRITE_REPORT])
    seal_finished(root)


def _lacks(plan: Plan, stage: Stage) -> bool:
    """Whether something that a stage writes is not there; what is stays, though it be of an earlier version."""
    return not all(plan.root.exists(index_of(artifact.path(*of), artifact)) for artifact, of in stage.artifacts(plan))


@flow(name="report", flow_run_name="report {recipe.name}", validate_parameters=True)
def report(recipe: Recipe) -> tuple[StageResult, ...]:
    """Rebuild the page of a run, after any table of units or concepts that is missing."""
    plan = plan_of_root(Root(recipe.root), recipe)
    plan.root.require_writable()
    with holding(plan.root):
        plan.root.remove(PAGE)
        stages = run(plan, [stage for stage in stages_from(WRITE_UNITS) if _lacks(plan, stage)])
        seal_finished(plan.root)
    return tuple(stages)
