"""Everything that can be wrong with a run, found out before anything is written."""

from collections.abc import Iterator

from flows.plan.forecast import forecast
from flows.plan.gather import look, with_models
from flows.plan.stages import STAGES
from rosetta.recipe import Recipe
from storage.artifacts import provenance
from storage.artifacts.catalogue import IMAGES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.layout import attributes_at
from storage.artifacts.seals import discard
from storage.filesystem.root import Root
from storage.upkeep.formats import require_present
from tasks.plan import Plan
from tasks.source.pixels import bad_images, read_headers, what_of
from tasks.stage.progress import log


def prepare(recipe: Recipe, replace: bool = False) -> Plan:
    """Plan a recipe and check it against what its root holds and what correlating will take; nothing is written.

    Raises
    ------
    UserError
        Something that the recipe names is not available, the memory is too small, or the root was made from something
        else or in an older format and `replace` is not given.
    """
    if not replace:
        require_present(Root(recipe.root))
    if recipe.images.from_ is not None:
        require_present(Root(recipe.images.from_))
    recipe, facts = look(recipe)
    if not replace:
        provenance.require_same_run(Root(recipe.root), recipe)
        facts.recognised.require_none_other()
    plan = with_models(recipe, facts)
    if not replace and plan.knows_images:
        for path, fingerprint in _protected(plan):
            if (stored := attributes_at(plan.place(path))) is not None:
                fingerprint.require_match(path, stored)
    if facts.files and attributes_at(plan.place(IMAGES.path())) is None:
        _check_source(plan)
    forecast(plan)
    return plan


def remove_what_differs(plan: Plan) -> None:
    """Remove the protected artifacts of a root that were made from something else, as far as that is known."""
    for path, fingerprint in _protected(plan):
        if path in plan.facts.places:
            continue  # of another root, and the right one
        stored = attributes_at(plan.place(path))
        if stored is not None and stored["fingerprint"] != fingerprint.digest:
            discard(plan.root, path)


def _protected(plan: Plan) -> Iterator[tuple[str, Fingerprint]]:
    """Path and fingerprint of every protected artifact; of images alone before the files of their source are read."""
    for stage in STAGES if plan.knows_images else STAGES[:1]:
        for artifact, names in stage.artifacts(plan) if stage.protected else ():
            yield artifact.path(*names), plan.fingerprint(artifact, *names)


def _check_source(plan: Plan) -> None:
    """Say what reading a source's files changes. Bad ones are named once all have been read, as data can be cut, too.

    Raises
    ------
    UserError
        None of them is an image that can be read.
    """
    images = plan.recipe.images
    files = plan.facts.files[: images.count]
    headers = read_headers(files, images)
    if len(headers.bad) == len(files):
        raise bad_images(headers.bad, len(files), what=what_of(files))
    for line in headers.lines(images):
        log.warning("images.source: %s", line)
