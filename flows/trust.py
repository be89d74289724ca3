"""The flow `trust`: test every match of a finished run, and rebuild the dictionary."""

from collections.abc import Sequence

from prefect import flow

from flows.locking import holding
from flows.plan.gather import plan_of_root
from flows.plan.stages import PROFILE, stages_from
from flows.running import run
from rosetta.errors import UserError
from rosetta.recipe import Recipe, parse_recipe
from storage.artifacts import provenance
from storage.artifacts.catalogue import ACTIVATIONS, BUDDIES, CORRELATIONS, IMAGES, instance_at
from storage.filesystem.root import Root
from storage.upkeep.formats import require_no_upgrade
from storage.upkeep.sealing import seal_finished
from storage.upkeep.status import artifacts
from tasks.dump.features import WRITE_FEATURES
from tasks.plan import Plan
from tasks.stage.stage import StageResult

NEEDED = (IMAGES, ACTIVATIONS, CORRELATIONS, BUDDIES)
"""What must be complete before matches can be judged."""


def prepared(root: str, changes: Sequence[str] = ()) -> Plan:
    """The plan of a run that is to be judged, with some of its recipe changed; nothing is written.

    Raises
    ------
    UserError
        There is no run, it is not finished, an upgrade of it was cut short, or a change is about anything but `trust`.
    """
    place = Root(root)
    provenance.require_run(place)
    require_no_upgrade(place)
    for change in changes:
        if not change.startswith("trust."):
            raise UserError(
                f"--set {change!r}: only keys of trust can change in a mined run; run rosetta mine for any other"
            )
    text = place.read_bytes(provenance.RECIPE).decode("utf-8", errors="replace")
    recipe = parse_recipe(text, f"{place.shown}/{provenance.RECIPE}", root, changes)
    missing = [entry.artifact for entry in artifacts(place) if entry.state != "complete" and _is_needed(entry.artifact)]
    if missing:
        raise UserError(f"{place.shown} is not finished ({missing[0]} is incomplete); run rosetta mine on it first")
    return plan_of_root(place, recipe)


def _is_needed(path: str) -> bool:
    instance = instance_at(path)
    return instance is not None and instance.artifact in NEEDED


@flow(name="trust", flow_run_name="trust {recipe.name}", validate_parameters=True)
def trust(recipe: Recipe) -> tuple[StageResult, ...]:
    """Test every match of a mined run, and rebuild the dictionary and its page."""
    plan = plan_of_root(Root(recipe.root), recipe)
    plan.root.require_writable()
    with holding(plan.root):
        provenance.write_recipe(plan.root, recipe)
        stages = run(plan, [WRITE_FEATURES, *stages_from(PROFILE)])
        seal_finished(plan.root)
    return tuple(stages)
