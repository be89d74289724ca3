"""The size of a source's images where a recipe leaves it out: that of the largest image that a model takes."""

from collections.abc import Mapping

from flows.plan.identity import examined
from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Recipe
from rosetta.units import Grid
from storage.artifacts.provenance import stored_recipe
from storage.filesystem.root import Root
from tasks.stage.progress import log


def sized(recipe: Recipe, weights: Mapping[str, str], unseen: Mapping[str, str | None]) -> Recipe:
    """A recipe with `images.size`.

    A root keeps the size that its run began with, and images that are shared have that of their run.

    Parameters
    ----------
    weights
        SHA-256 of the weights of each model.
    unseen
        Models whose weights are not at hand, see :attr:`tasks.plan.facts.Facts.unseen`.

    Raises
    ------
    UserError
        A model cannot be loaded.
    """
    images = recipe.images
    if images.size is not None:
        return recipe
    roots = [recipe.root] if images.from_ is None else [images.from_, recipe.root]
    side = next((known for root in roots if (known := _recorded(root)) is not None), None)
    if side is None and images.source is not None:
        taken = {spec.name: image_size(spec, weights[spec.name], spec.name in unseen) for spec in recipe.models}
        largest = {name: max(size) for name, size in taken.items() if size is not None}
        if largest:
            side = max(largest.values())
            named = ", ".join(name for name, one in largest.items() if one == side)
            log.info("images.size: %s, the largest input of a model (%s)", side, named)
    return recipe if side is None else recipe.model_copy(update={"images": images.model_copy(update={"size": side})})


def image_size(spec: ModelSpec, weights_sha256: str, unseen: bool) -> Grid | None:
    """Height and width of the images that a model takes; None for a generator.

    Raises
    ------
    UserError
        It cannot be loaded.
    """
    if spec.size is not None:
        return spec.size
    if unseen:
        outlined = zoo.outlined(spec)
        return None if outlined is None else outlined.takes
    preprocessing = examined(spec, weights_sha256).preprocessing
    if preprocessing is None:
        return None
    height, width = preprocessing["size"]
    return height, width


def _recorded(root: str) -> int | None:
    """The size of the run under a root; None where there is none, or its recipe cannot be read."""
    try:
        recipe = stored_recipe(Root(root))
    except UserError:  # whoever needs it says so
        return None
    return None if recipe is None else recipe.images.size
