"""Which model a recipe means: what decides about its maps, and about a generator's images, as fingerprints hold it.

A store knows how its model behaved (:mod:`rosetta.zoo.behaviour`) and with which code. While a finished store's model
has the same recipe, weights and code, nothing is loaded: the store is believed. Else the model shows what it does, and
where that is what the store holds, the store's own numbers go on being the model's fingerprint, for the last bits of a
sketch differ between machines. With this code, too, the store is believed from then on
(:mod:`storage.artifacts.agreed`). A user's own model may depend on anything, and always shows it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from rosetta.model_spec import ModelSpec
from rosetta.zoo.behaviour import Behaviour, agree, examine, made_with
from storage.artifacts.fingerprint import IMAGE, MAPS, depends_of
from tasks.plan.facts import Identity

Attributes = Mapping[str, Any]

_ELSEWHERE = {"name", "model", "weights", "sha256", "layers", "match", "condition", "control", "sae"}
"""Fields of a recipe's model that an identity holds in its own way, or that decide nothing."""
_OF_FILES = {"weights", "sha256"}
"""Fields of an autoencoder that the digest of all weights speaks for."""
_FOUND = {"preprocessing", "units", MAPS, IMAGE}
"""What no recipe says."""


Finder = Callable[[ModelSpec, str, Sequence[Attributes], Mapping[str, Any]], Identity]
""":func:`of_maps` or :func:`of_images`."""


def of_recipe(spec: ModelSpec, weights_sha256: str) -> dict[str, Any]:
    """What a recipe says that decides about a model. Its name does not, nor where its weights lie."""
    condition = spec.condition.identity
    return {
        "model": spec.model,
        "weights_sha256": weights_sha256,
        "layers": list(spec.layers) if spec.layers is not None else None,
        "match": spec.match,
        **({"condition": condition} if condition else {}),
        **({"sae": [one.model_dump(exclude_none=True, exclude=_OF_FILES) for one in spec.sae]} if spec.sae else {}),
        **spec.model_dump(mode="json", exclude_none=True, exclude=_ELSEWHERE),
    }


def of_maps(spec: ModelSpec, weights_sha256: str, stores: Sequence[Attributes], agreed: Mapping[str, Any]) -> Identity:
    """A model's part of an activation store's fingerprint.

    Parameters
    ----------
    stores
        Attributes of the stores that may hold its maps, the likeliest first.
    agreed
        What they agreed with before (:func:`storage.artifacts.agreed.known`).

    Raises
    ------
    UserError
        It has to be loaded, and cannot be.
    """
    recipe, code = of_recipe(spec, weights_sha256), made_with(spec.model)
    candidates = [store for store in stores if _has(store, "model", recipe)]
    for store in candidates:
        if _is_believed(store, "model", MAPS, spec, code, agreed):
            return of_store(store, code)
    now = examined(spec, weights_sha256)
    layers = [[layer.name, layer.channels, *layer.grid] for layer in now.units.layers]
    fresh = {**recipe, "preprocessing": now.preprocessing, "units": layers, MAPS: now.maps}
    settled = [{**fresh, MAPS: _settled(depends_of(store)["model"].get(MAPS, {}), now.maps)} for store in candidates]
    for store, one in zip(candidates, settled, strict=True):
        # One of an earlier version has no sketches; what it does say has to be so.
        if all(one.get(key) == value for key, value in depends_of(store)["model"].items()):
            return of_store(store, code, {store["fingerprint"]: code})
    return Identity(next(iter(settled), fresh), code, layers=layers)


def of_store(
    store: Attributes, made_with: Mapping[str, str] | None = None, agreed: Mapping[str, Any] | None = None
) -> Identity:
    """The model whose maps a store holds, as the store says."""
    return Identity(
        store["depends"]["model"], made_with or {}, agreed or {}, depends_of(store)["model"].get("units", ())
    )


def of_images(
    spec: ModelSpec, weights_sha256: str, stores: Sequence[Attributes], agreed: Mapping[str, Any]
) -> Identity:
    """A generator's part of the fingerprint of its images, as :func:`of_maps`."""
    recipe, code = of_recipe(spec, weights_sha256), made_with(spec.model)
    candidates = [store for store in stores if _has(store, "generator", recipe)]
    for store in candidates:
        if _is_believed(store, "generator", IMAGE, spec, code, agreed):
            return Identity(store["depends"]["generator"], code)
    fresh = {**recipe, IMAGE: examined(spec, weights_sha256).image}
    for store in candidates:
        stored = store["depends"]["generator"]
        if IMAGE not in stored or agree(stored[IMAGE], fresh[IMAGE]):
            return Identity(stored, code, {store["fingerprint"]: code})
    return Identity(fresh, code)


@lru_cache(maxsize=64)
def examined(spec: ModelSpec, weights_sha256: str) -> Behaviour:
    """:func:`rosetta.zoo.behaviour.examine`, once for each model and its weights."""
    return examine(spec)


def _has(store: Attributes, part: str, recipe: Mapping[str, Any]) -> bool:
    """Whether a store is of what a recipe says."""
    stored = store["depends"].get(part)
    return isinstance(stored, Mapping) and {key: stored[key] for key in stored.keys() - _FOUND} == recipe


def _is_believed(
    store: Attributes, part: str, measured: str, spec: ModelSpec, code: Mapping[str, str], agreed: Mapping[str, Any]
) -> bool:
    if spec.model.startswith("python:") or not store.get("complete"):
        return False
    made_so = measured in store["depends"][part] and store.get("made_with") == code
    return made_so or agreed.get(store["fingerprint"]) == code


def _settled(stored: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Sketches of today, but those of a store where they agree with them."""
    return {
        layer: stored[layer] if layer in stored and agree(stored[layer], one) else one for layer, one in now.items()
    }
