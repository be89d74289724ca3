"""Gathers what a survey says: from a recipe and what it names, or from the stores of a run that is there."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flows.plan.identity import Identity
from flows.plan.plan import Survey
from rosetta import zoo
from rosetta.errors import UserError
from rosetta.recipe import ModelSpec, Recipe
from rosetta.zoo.device import resolve_device
from storage.artifacts.activations import ActivationStore
from storage.artifacts.catalogue import ACTIVATIONS, FEATURES, IMAGES
from storage.artifacts.fingerprint import Fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import open_at, open_complete
from storage.artifacts.shared import Place, choose, shared_places
from storage.filesystem.root import Root
from tasks.cluster.engine import check_cluster
from tasks.source.recognition import in_order, recognise


def survey(recipe: Recipe, plan_only: bool = False) -> Survey:
    """Look at everything that a recipe names; nothing is written.

    Parameters
    ----------
    plan_only
        Whether weights may be missing; nothing is fetched then, and :attr:`Survey.unseen` names the models.

    Raises
    ------
    UserError
        A model, its weights, the images or the device is not to be had.
    """
    generators = [spec for spec in recipe.models if zoo.is_generator(spec)]
    if len(generators) > 1:
        names = " and ".join(repr(spec.name) for spec in generators[:2])
        raise UserError(f"models {names} are both generators, but a run takes its images from one; leave one out")
    generator = generators[0] if generators else None
    if generator is not None and generator.control:
        raise UserError(f"model {generator.name!r} makes the images, so it cannot be a control; remove control = true")
    if generator is not None and recipe.images.source is not None:
        raise UserError(
            f"images.source and the generator {generator.name!r} both give the images; leave one of them out"
        )
    if generator is None and recipe.images.source is None and recipe.images.from_ is None:
        raise UserError(
            "no model is a generator and there is no images.source and no images.from; add one of them to get images"
        )
    device = resolve_device(recipe.compute.device)
    if "://" in recipe.compute.cluster:
        check_cluster(recipe.compute.cluster, recipe.compute.device)
    weights, unseen = _look(recipe.models, plan_only)
    files = in_order(recipe.images) if recipe.images.source is not None else ()
    plan = Survey(recipe, Root(recipe.root), device, generator, files, weights, unseen)
    if files:
        found = recognise(plan.images_place, recipe.images, files, plan.agreed)
        plan = replace(plan, recognised=found, stored_images=found.fingerprint)
    return _shared(plan)


def with_images(plan: Survey) -> Survey:
    """The same once its images are there."""
    if not plan.files:
        return plan
    depends: Any = open_complete(plan.root, IMAGES.path()).attrs["depends"]
    return _shared(replace(plan, stored_images=Fingerprint(depends)))


def _shared(plan: Survey) -> Survey:
    """The same with the images and the stores of another root, where they are those that are wanted.

    Raises
    ------
    UserError
        It has other images, or none yet where the recipe does not say how to make them.
    """
    if plan.recipe.images.from_ is None:
        return plan
    home = Root(plan.recipe.images.from_)
    if plan.recognised.difference and plan.images_place.root == home:
        raise UserError(
            f"images.from: {home.shown} has other images ({plan.recognised.difference}); give another root, or none"
        )
    if plan.generator is None and not plan.files:
        plan = replace(plan, stored_images=_images_of(home, plan.recipe.images.count))
        plan = replace(plan, places={IMAGES.path(): Place(home, IMAGES.path())})
    wanted = {IMAGES.path(): plan.images, FEATURES.path(): plan.features}
    wanted |= {ACTIVATIONS.path(spec.name): plan.activations(spec) for spec in plan.models}
    return replace(plan, places=choose(plan.root, home, wanted))


def _images_of(home: Root, count: int | None) -> Fingerprint:
    try:
        store = ImageStore(open_at(Place(home, IMAGES.path())))
    except FileNotFoundError:
        raise UserError(
            f"images.from: {home.shown} has no images yet, or not all of them; mine the run that makes them first, or"
            " add its generator or its images.source to this recipe"
        ) from None
    if count not in (None, store.count):
        raise UserError(f"images.count asks for {count} images but {home.shown} has {store.count}; leave it out")
    depends: Any = store.group.attrs["depends"]
    return Fingerprint(depends)


def _look(models: Sequence[ModelSpec], plan_only: bool) -> tuple[dict[str, str], dict[str, str | None]]:
    """:attr:`Survey.weights`, empty for a model that was not looked at, and :attr:`Survey.unseen`."""
    weights: dict[str, str] = {}
    unseen: dict[str, str | None] = {}
    for spec in models:
        if plan_only and zoo.is_fetched(spec):
            weights[spec.name], unseen[spec.name] = "", None
            continue
        try:
            weights[spec.name] = zoo.weights_sha256(spec)
        except UserError as error:
            if not plan_only:
                raise
            weights[spec.name], unseen[spec.name] = "", str(error)
    return weights, unseen


def survey_root(root: Root, recipe: Recipe) -> Survey:
    """The same of a run that is there, from its stores alone: weights and sources may be elsewhere.

    Raises
    ------
    FileNotFoundError
        A store is not there or not finished.
    """
    depends: Any = open_complete(root, IMAGES.path()).attrs["depends"]
    images = Fingerprint(depends)
    stores: Any = {spec.name: ActivationStore.read(root, spec.name).group.attrs for spec in recipe.models}
    generator = next((spec for spec in recipe.models if stores[spec.name]["generator"]), None)
    weights = {name: str(attributes["weights_sha256"]) for name, attributes in stores.items()}
    models = {name: Identity(attributes["depends"]["model"]) for name, attributes in stores.items()}
    device, places = resolve_device(recipe.compute.device), shared_places(root)
    return Survey(
        recipe, root, device, generator, (), weights, stored_images=images, stored_models=models, places=places
    )
