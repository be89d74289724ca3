"""Everything that can be wrong with a run, found out before anything is written."""

from flows.plan.forecast import forecast
from flows.plan.gather import survey
from flows.plan.plan import Survey
from rosetta.recipe import Recipe
from storage.artifacts import provenance
from storage.artifacts.catalogue import IMAGES
from tasks.source.pixels import bad_images, read_headers
from tasks.stage.progress import log


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
    if plan.files and plan.stored(IMAGES.path()) is None:
        _check_source(plan)
    forecast(plan)
    return plan


def _check_source(plan: Survey) -> None:
    """Say what reading a source's files changes. Bad ones are named once all have been read, as data can be cut, too.

    Raises
    ------
    UserError
        None of them is an image that can be read.
    """
    images = plan.recipe.images
    files = plan.files[: images.count]
    headers = read_headers(files, images)
    if len(headers.bad) == len(files):
        raise bad_images(headers.bad, len(files))
    for line in headers.lines(images):
        log.warning("images.source: %s", line)
