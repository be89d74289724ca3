"""What a run's recipe names: the artifacts that belong under its root, whether or not they are there."""

from dataclasses import dataclass
from typing import Any

from rosetta.errors import UserError
from rosetta.recipe import Recipe
from storage.artifacts.catalogue import (
    ACTIVATIONS,
    CORRELATIONS,
    FEATURES,
    IMAGES,
    PROFILES,
    TRUST_OF_PAIR,
    tables_of_run,
)
from storage.artifacts.layout import stored_attributes
from storage.filesystem.root import Root

TABLES = tuple(table.path() for table in tables_of_run())
PAGE = "report/index.html"


@dataclass(frozen=True)
class Expected:
    """The artifacts of a recipe, by path, in the order in which a run makes them."""

    models: tuple[str, ...]
    """Activation stores."""
    pairs: tuple[str, ...] | None
    """Stores of pairs; None where it is not known yet which they are, as the anchor is known by its store."""
    profiles: tuple[str, ...]
    parts: tuple[str, ...] | None
    """Tables of trust, one a pair; None like the pairs."""

    @property
    def stores(self) -> tuple[str, ...]:
        """All Zarr stores."""
        return IMAGES.path(), *self.models, FEATURES.path(), *(self.pairs or ()), *self.profiles


def expected(root: Root, recipe: Recipe) -> Expected:
    """The artifacts of a run."""
    names = [spec.name for spec in recipe.models]
    anchor = _anchor(root, recipe)
    found = None if anchor is None else recipe.pairs(anchor)
    return Expected(
        tuple(ACTIVATIONS.path(name) for name in names),
        None if found is None else tuple(CORRELATIONS.path(a, b) for a, b in found),
        tuple(PROFILES.path(name) for name in names),
        None if found is None else tuple(TRUST_OF_PAIR.path(a, b) for a, b in found),
    )


def _anchor(root: Root, recipe: Recipe) -> str | None:
    """The generator, else the first model; None where a model that is not there yet may be a generator."""
    stored = {spec.name: _attributes(root, spec.name) for spec in recipe.models}
    generator = next((name for name, attributes in stored.items() if attributes.get("generator")), None)
    if generator is None and {} in stored.values() and recipe.images.source is None:
        return None
    return generator or next(spec.name for spec in recipe.models if not spec.control)


def _attributes(root: Root, model: str) -> dict[str, Any]:
    """What a store says of itself; nothing where it is not there or damaged."""
    try:
        return stored_attributes(root, ACTIVATIONS.path(model)) or {}
    except UserError:
        return {}
