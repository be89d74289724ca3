"""Everything that can be wrong with a run, found out before anything is written."""

from flows.forecast import forecast
from flows.survey import Survey, survey
from rosetta.recipe import Recipe
from storage import provenance
from storage.images import PATH as IMAGES
from tasks.images import check_source


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
        for path, wanted in plan.stores():
            if (found := plan.stored(path)) is not None:
                wanted.require_match(path, found)
    if plan.files and plan.stored(IMAGES) is None:
        check_source(plan.files)
    forecast(plan)
    return plan
