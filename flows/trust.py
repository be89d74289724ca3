"""The flow `trust`: test every match of a finished run, and rebuild the dictionary."""

from collections.abc import Sequence

from prefect import flow

from flows.locking import holding
from flows.plan.gather import survey_root
from flows.plan.plan import Survey
from flows.stages import cluster_of, dictionary_stages, judging_stages
from rosetta.errors import UserError
from rosetta.recipe import Recipe, parse_recipe
from storage.artifacts import provenance
from storage.filesystem.root import Root
from storage.upkeep.sealing import seal_finished
from storage.upkeep.status import artifacts
from tasks.dump.features import write_features
from tasks.stage.stage import Stage


def prepared(root: str, changes: Sequence[str] = ()) -> Survey:
    """A run that is to be judged, with some of its recipe changed; nothing is written.

    Raises
    ------
    UserError
        There is no run, it is not finished, or a change is about anything but `trust`.
    """
    place = Root(root)
    provenance.require_run(place)
    for change in changes:
        if not change.startswith("trust."):
            raise UserError(
                f"--set {change!r}: only keys of trust can change in a mined run; run rosetta mine for any other"
            )
    text = place.read_bytes(provenance.RECIPE).decode("utf-8", errors="replace")
    recipe = parse_recipe(text, f"{place.shown}/{provenance.RECIPE}", root, changes)
    missing = [entry.artifact for entry in artifacts(place) if entry.state != "complete" and _needed(entry.artifact)]
    if missing:
        raise UserError(f"{place.shown} is not finished ({missing[0]} is incomplete); run rosetta mine on it first")
    return survey_root(place, recipe)


def _needed(artifact: str) -> bool:
    return artifact.startswith(("images", "activations", "correlations")) or artifact == "tables/buddies.parquet"


@flow(name="trust", flow_run_name="trust {recipe.name}", validate_parameters=True)
def trust(recipe: Recipe) -> tuple[Stage, ...]:
    """Test every match of a mined run, and rebuild the dictionary and its page."""
    plan = survey_root(Root(recipe.root), recipe)
    plan.root.require_writable()
    with holding(plan.root):
        provenance.write_recipe(plan.root, recipe)
        stages = [write_features(plan.root, plan.features)]
        with cluster_of(plan, True) as cluster:
            stages += judging_stages(plan, plan.setting(cluster))
        stages += dictionary_stages(plan)
        seal_finished(plan.root)
    return tuple(stages)
