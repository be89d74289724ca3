"""Rewriting a root of an older format in the present one."""

from flows.locking import holding
from flows.plan.gather import plan_of_root
from flows.plan.stages import STAGES, fingerprints, stages_from
from storage.artifacts import provenance, tables
from storage.artifacts.catalogue import PROVENANCE, USERS
from storage.artifacts.provenance import require_run, stored_recipe
from storage.artifacts.seals import discard
from storage.filesystem.root import Root
from storage.upkeep.upgrade import Upgrade
from tasks.match.units import WRITE_UNITS
from tasks.plan import Plan
from tasks.stage.progress import track


def upgrade_root(url: str) -> Upgrade | None:
    """Rewrite a root in the present format, or finish rewriting it; None where it is in it already.

    Raises
    ------
    UserError
        There is no run, it is damaged, too old or in use, or shares stores of an older format; or the disk is full.
    """
    root = Root(url)
    if stored_recipe(root) is None and not root.list(USERS):
        require_run(root)
    upgrade = Upgrade(root)
    if not upgrade.has_work:
        return None
    root.require_writable()
    with holding(root, upgrade=True):
        upgrade.begin()
        with track("upgrade", len(upgrade.own)) as advance:
            upgrade.artifacts(advance)
        plan = _plan_of_finished(root)
        if plan is not None:  # else mining does it in the end
            _rebuild_dictionary(plan)
        provenance.renew(root, upgrade.known, {} if plan is None else fingerprints(plan))
        upgrade.end()
    return upgrade


_LAST = stages_from(WRITE_UNITS)
"""The stages that `rosetta report` runs, too: they take no weights, and not long."""


def _plan_of_finished(root: Root) -> Plan | None:
    """The plan of a run all of whose matches have been judged; None of any other."""
    recipe = stored_recipe(root)
    if recipe is None or not root.exists(PROVENANCE.path()):
        return None
    try:
        plan = plan_of_root(root, recipe)
    except FileNotFoundError:
        return None
    return plan if all(stage.is_finished(plan) for stage in STAGES if stage not in _LAST) else None


def _rebuild_dictionary(plan: Plan) -> None:
    """The page, and before it the tables that lack a column of today."""
    for stage in _LAST:
        for artifact, names in stage.artifacts(plan):
            path = artifact.path(*names)
            if artifact.kind == "table" and not tables.is_present(plan.root, path):
                discard(plan.root, path)
        for names in stage.instances(plan):
            stage.make(plan, names)
