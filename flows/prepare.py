"""Everything that can be wrong with a run, found out before anything is written."""

from flows.forecast import forecast, units_of
from flows.survey import Survey, survey
from rosetta.recipe import Recipe
from storage import activations, provenance


def prepare(recipe: Recipe, replace: bool = False) -> Survey:
    """Survey a recipe and check it against what its root holds and what correlating will take; nothing is written.

    Raises
    ------
    UserError
        Something that the recipe names is not to be had, the memory is too small, or the root was made from something
        else and `replace` is not given.
    """
    plan = survey(recipe)
    if not replace:
        provenance.require_same_run(plan.root, recipe)
        plan.recognised.require_none_other()
        for path, wanted in plan.known_stores():
            if (found := plan.stored(path)) is not None:
                wanted.require_match(path, found)
    for spec in plan.models:
        if plan.stored(activations.path(spec.name)) is None:
            units_of(spec)
    forecast(plan)
    return plan
