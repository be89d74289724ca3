"""Gathers the facts of a plan: from a recipe and what it names, or from the stores of a run that is there."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flows.plan import identity
from flows.plan.identity import Finder
from flows.plan.image_size import sized
from flows.plan.stages import STAGES
from rosetta import zoo
from rosetta.errors import UserError
from rosetta.mining.draw import kept_of
from rosetta.mining.trust.tests import require_known
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Images, Recipe
from rosetta.zoo.device import resolve_device
from storage.artifacts import after_mining, agreed
from storage.artifacts.activations import ActivationStore
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import ACTIVATIONS, CATALOGUE, IMAGES
from storage.artifacts.fingerprint import Fingerprint, format_of
from storage.artifacts.halves import HALVES
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import attributes_at, open_at
from storage.artifacts.shared import Place, choose, place_of, shared_places, store_attributes
from storage.filesystem.root import Root
from storage.upkeep.formats import several_formats
from tasks.cluster.engine import check_cluster
from tasks.cluster.gpus import asked_for
from tasks.plan import Plan
from tasks.plan.facts import Facts, Identity
from tasks.plan.plan import DEFAULT_COUNT
from tasks.source.recognition import in_order, listing_digest, recognise
from tasks.source.streamed import Streamed


def plan_of_recipe(recipe: Recipe, any_weights: bool = False) -> Plan:
    """Look at everything that a recipe names; nothing is written.

    Parameters
    ----------
    any_weights
        Whether weights may be missing; nothing is fetched then, and :attr:`Facts.unseen` names the models.

    Raises
    ------
    UserError
        A model, its weights, the images or the device is not available.
    """
    return with_models(*look(recipe, any_weights))


def look(recipe: Recipe, any_weights: bool = False) -> tuple[Recipe, Facts]:
    """The recipe with all sizes, and all facts but those that may take loading a model, as :func:`plan_of_recipe`.

    Models are loaded for the size of a source's images, where neither the recipe nor the root says it.
    """
    generator = _generator(recipe)
    device = _device(recipe)
    gpus = asked_for(recipe.compute, device)
    if "://" in (cluster := _cluster(recipe)):
        check_cluster(cluster, recipe.compute.device)
    weights, unseen = _weights(recipe.models, any_weights)
    recipe = sized(recipe, weights, unseen)
    added = after_mining.fingerprints(Root(recipe.root))
    facts = Facts(device, generator, weights=weights, unseen=unseen, added=added, cluster=cluster, gpus=gpus)
    home = None if recipe.images.from_ is None else Root(recipe.images.from_)
    if recipe.images.source is not None:
        files, place = in_order(recipe.images), _images_place(recipe)
        streamed = _streamed(recipe.images, recipe.images.count or len(files))
        if streamed is not None:
            every = files[: streamed.images]
            streamed = replace(streamed, files=every, listing=listing_digest(every))
            files = every.take(kept_of(streamed.images, _kept(recipe.images)))
        images = recipe.images.stored(None if streamed is None else streamed.images)
        recognised = recognise(place, images, files, agreed.known(*_agreed_at(recipe)), streamed)
        if recognised.difference and place.root == home:
            raise UserError(
                f"images.from: {home.shown} has other images ({recognised.difference}); give another root, or none"
            )
        facts = replace(facts, files=files, streamed=streamed, recognised=recognised, images=recognised.fingerprint)
        if recognised.fingerprint is not None:
            with suppress(FileNotFoundError):  # a store that is mended
                facts = replace(facts, stored_count=ImageStore(open_at(place)).count)
    elif home is not None and generator is None:
        facts = replace(facts, **_shared_images(home, recipe.images.count))
    elif generator is not None:
        stored = attributes_at(_images_place(recipe))
        facts = replace(
            facts,
            streamed=_streamed(recipe.images, recipe.images.count or DEFAULT_COUNT),
            older_images=None if stored is None or HALVES in stored["depends"] else stored["depends"],
        )
    return recipe, facts


def _kept(images: Images) -> int:
    assert images.keep != "all"
    return images.keep


def _streamed(images: Images, count: int) -> Streamed | None:
    """All images of a run, where the maps of only some are to be stored.

    Raises
    ------
    UserError
        The recipe keeps more than there are.
    """
    if images.keep == "all" or images.keep == count:
        return None
    if images.keep > count:
        raise UserError(
            f"images.keep = {images.keep} is more than the {count} images of the run; lower it, or use 'all'"
        )
    return Streamed(count)


def _generator(recipe: Recipe) -> ModelSpec | None:
    """The model that makes the images, if any.

    Raises
    ------
    UserError
        Images come from more than one thing, or from nothing.
    """
    generators = [spec for spec in recipe.models if zoo.is_generator(spec)]
    if len(generators) > 1:
        names = " and ".join(repr(spec.name) for spec in generators[:2])
        raise UserError(f"models {names} are both generators, but a run takes its images from one; leave one out")
    if not generators:
        if recipe.images.source is None and recipe.images.from_ is None:
            raise UserError(
                "no model is a generator and there is no images.source and no images.from; add one of them to get"
                " images"
            )
        return None
    (generator,) = generators
    if generator.control:
        raise UserError(f"model {generator.name!r} makes the images, so it cannot be a control; remove control = true")
    if recipe.images.source is not None:
        raise UserError(
            f"images.source and the generator {generator.name!r} both give the images; leave one of them out"
        )
    return generator


def _weights(models: Sequence[ModelSpec], any_weights: bool) -> tuple[dict[str, str], dict[str, str | None]]:
    """:attr:`Facts.weights` and :attr:`Facts.unseen`."""
    weights: dict[str, str] = {}
    unseen: dict[str, str | None] = {}
    for spec in models:
        try:
            if any_weights and zoo.is_fetched(spec):
                weights[spec.name], unseen[spec.name] = "", None
                continue
            weights[spec.name] = zoo.weights_sha256(spec)
        except UserError as error:
            if not any_weights:
                raise
            weights[spec.name], unseen[spec.name] = "", str(error)
    return weights, unseen


def _images_place(recipe: Recipe) -> Place:
    """Where images lie: under the root that the recipe names for them, unless they are under the run's own."""
    own, home = Place(Root(recipe.root), IMAGES.path()), recipe.images.from_
    return own if home is None or own.root.exists(f"{own.path}/zarr.json") else Place(Root(home), own.path)


def _stored_images(place: Place) -> dict[str, Any]:
    """:attr:`Facts.images` and :attr:`Facts.stored_count` of a finished store.

    Raises
    ------
    FileNotFoundError
        It is missing or incomplete.
    """
    store = ImageStore(open_at(place))
    return {"images": Fingerprint(store.attributes["depends"]), "stored_count": store.count}


def _shared_images(home: Root, count: int | None) -> dict[str, Any]:
    """The same of another root's images, which the recipe does not say how to make.

    Raises
    ------
    UserError
        They are not there, or not as many as the recipe asks for.
    """
    try:
        stored = _stored_images(Place(home, IMAGES.path()))
    except FileNotFoundError:
        raise UserError(
            f"images.from: {home.shown} has no images yet, or not all of them; mine the run that makes them first, or"
            " add its generator or its images.source to this recipe"
        ) from None
    if count not in (None, stored["stored_count"]):
        raise UserError(
            f"images.count asks for {count} images but {home.shown} has {stored['stored_count']}; leave it out"
        )
    return stored


def with_models(recipe: Recipe, facts: Facts) -> Plan:
    """The plan once its models are known, of which some may have to be loaded.

    Raises
    ------
    UserError
        A model cannot be loaded, or the root that the recipe shares holds other images.
    """
    home = recipe.images.from_
    elsewhere = {} if home is None else store_attributes(Root(home))
    known = agreed.known(*_agreed_at(recipe))

    def identity_of(spec: ModelSpec, find: Finder, artifact: Artifact, *names: str) -> Identity:
        """From a store of the run's own, and those of the root that it shares."""
        if spec.name in facts.unseen:
            return Identity(identity.of_recipe(spec, ""))
        own = attributes_at(Place(Root(recipe.root), artifact.path(*names)))
        others = [store for path, store in elsewhere.items() if artifact.names(path) is not None]
        return find(spec, facts.weights[spec.name], [own, *others] if own else others, known)

    maker, generator = None, facts.generator
    if generator is not None:
        maker = identity_of(generator, identity.of_images, IMAGES)
    models = {spec.name: identity_of(spec, identity.of_maps, ACTIVATIONS, spec.name) for spec in recipe.models}
    return with_places(_plan(recipe, replace(facts, maker=maker, models=models)))


def with_images(plan: Plan) -> Plan:
    """The same once the files of its source have been read."""
    return with_places(plan.given(**_stored_images(plan.place(IMAGES.path()))))


def with_places(plan: Plan) -> Plan:
    """The same with what lies, or will lie, under the root that the recipe shares, as that root is now.

    Raises
    ------
    UserError
        It has other images.
    """
    if plan.recipe.images.from_ is None:
        return plan
    shareable = [artifact for artifact in CATALOGUE if artifact.shareable and artifact.pattern in plan.fingerprints]
    fingerprints = {
        artifact.path(*names): plan.fingerprint(artifact, *names)
        for artifact in shareable
        for names in plan.instances(artifact.per)
    }
    return plan.given(places=choose(plan.root, Root(plan.recipe.images.from_), fingerprints))


def plan_of_root(root: Root, recipe: Recipe) -> Plan:
    """The plan of a run that is there, from its stores alone: weights and sources may be elsewhere.

    Its fingerprints are of the format in which the run was written.

    Raises
    ------
    FileNotFoundError
        A store is missing or incomplete.
    UserError
        Its stores are of several formats.
    """
    stores = {spec.name: ActivationStore.read(root, spec.name).attributes for spec in recipe.models}
    images = _stored_images(place_of(root, IMAGES.path()))
    formats = {format_of(attributes) for attributes in (*stores.values(), images["images"].attributes())}
    if len(formats) > 1:
        raise UserError(several_formats(root))
    facts = Facts(
        _device(recipe),
        next((spec for spec in recipe.models if stores[spec.name]["generator"]), None),
        weights={name: str(attributes["weights_sha256"]) for name, attributes in stores.items()},
        models={name: identity.of_store(attributes) for name, attributes in stores.items()},
        places=shared_places(root),
        added=after_mining.fingerprints(root),
        cluster=_cluster(recipe),
        format=formats.pop(),
        streamed=_streamed_before(images["images"]),
        **images,
    )
    return _plan(recipe.model_copy(update={"root": root.url}), facts)


def _streamed_before(images: Fingerprint) -> Streamed | None:
    """What the fingerprint of stored images says of all images of their run."""
    of = images.depends.get("streamed")
    return None if of is None else Streamed(int(of), str(images.depends.get("listing", "")))


def _device(recipe: Recipe) -> str:
    """What this process runs models on; where the workers of an address do that, it needs no such device itself.

    Raises
    ------
    UserError
        There is no such device.
    """
    try:
        return resolve_device(recipe.compute.device)
    except UserError:
        if "://" not in recipe.compute.cluster:
            raise
        return "cpu"


def _cluster(recipe: Recipe) -> str:
    """Where pairs are compared, as long as no workers of this machine have been started."""
    return "threads" if recipe.compute.cluster == "local" else recipe.compute.cluster


def _plan(recipe: Recipe, facts: Facts) -> Plan:
    require_known(recipe.trust)
    if "cause" in recipe.trust.tests:
        from tasks.causes.current import current_causes  # with it come the models' libraries

        facts = replace(facts, causes=current_causes(Root(recipe.root)))
    return Plan(recipe, facts, {artifact.pattern: stage.fingerprint for stage in STAGES for artifact in stage.writes})


def keep_agreed(plan: Plan) -> None:
    """Write down what stores agreed with since, see :mod:`storage.artifacts.agreed`."""
    compared: dict[str, Any] = dict(plan.facts.recognised.agreed)
    for model in (plan.facts.maker, *plan.facts.models.values()):
        compared |= model.agreed if model else {}
    agreed.keep(compared, *_agreed_at(plan.recipe))


def _agreed_at(recipe: Recipe) -> tuple[Root, ...]:
    """Where that is kept: beside the images or, of a shared root that can only be read, under the run's own."""
    return tuple(dict.fromkeys([_images_place(recipe).root, Root(recipe.root)]))
