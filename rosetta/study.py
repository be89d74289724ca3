"""A study: one recipe whose models come in families, to see how counts grow with their size.

The models that families name are looked at one by one. All others are shared: they take part in every run.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BeforeValidator, Field, model_validator

from rosetta.errors import UserError, nearest
from rosetta.fields import Name
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Recipe, recipe_data, recipe_from, recipe_text
from rosetta.strict import Strict, validated

COUNTED = ("parameters", "units")
"""Sizes that follow from a model."""


def _size(size: Any) -> Any:
    if isinstance(size, str) and size not in COUNTED:
        raise ValueError(f"{size!r} is no size; write 'parameters', 'units', or a list with a number for each model")
    for number in size if isinstance(size, list | tuple) else ():
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
            raise ValueError(f"{number!r} is no size; sizes are numbers above 0")
    return size


class Family(Strict):
    """Models that differ in size."""

    name: Name = Field(description="Short name, unique in the study.")
    models: tuple[str, ...] = Field(description="Names of models of the recipe, two or more.")
    size: Annotated[str | tuple[float, ...], BeforeValidator(_size)] = Field(
        "parameters", description="`parameters` or `units`, counted from each model, or a number for each."
    )

    @model_validator(mode="after")
    def _is_a_family(self) -> "Family":
        if len(self.models) < 2:
            raise ValueError(f"family {self.name!r} has {len(self.models)} of the two models that it takes to grow")
        if twice := [model for model, count in Counter(self.models).items() if count > 1]:
            raise ValueError(f"family {self.name!r} names {twice[0]!r} twice; name each model once")
        if not isinstance(self.size, str) and len(self.size) != len(self.models):
            raise ValueError(
                f"family {self.name!r} has {len(self.models)} models and {len(self.size)} sizes; give one for each"
            )
        return self


class Families(Strict):
    """The table `[study]` of a recipe."""

    family: tuple[Family, ...] = Field(min_length=1, description="Families of models.")


@dataclass(frozen=True)
class Study:
    """A recipe with families."""

    recipe: Recipe
    """With all models. Its root is that of the study."""
    families: tuple[Family, ...]

    @property
    def members(self) -> tuple[ModelSpec, ...]:
        """The models of all families, in the order of the recipe."""
        named = {name for family in self.families for name in family.models}
        return tuple(spec for spec in self.recipe.models if spec.name in named)

    @property
    def shared(self) -> tuple[ModelSpec, ...]:
        """The models that are in no family."""
        members = self.members
        return tuple(spec for spec in self.recipe.models if spec not in members)

    def to_toml(self) -> str:
        """The recipe with its defaults filled in, and the families."""
        families = [family.model_dump(mode="json") for family in self.families]
        return f"{self.recipe.to_toml()}\n{tomli_w.dumps({'study': {'family': families}})}"


def read_study(path: str | Path, root: str | None = None, changes: Sequence[str] = ()) -> Study:
    """Read the recipe of a study, see :func:`rosetta.recipe.read_recipe`.

    Raises
    ------
    UserError
        It is no recipe, has no families, or a family names what is not there.
    """
    return parse_study(recipe_text(path), str(path), root, changes)


def parse_study(text: str, origin: str, root: str | None = None, changes: Sequence[str] = ()) -> Study:
    """The same from TOML text; `origin` is what an error calls it."""
    data = recipe_data(text, origin, root, changes)
    if "study" not in data:
        raise UserError(f"recipe {origin} has no families; add a [[study.family]] with a name and models")
    table = data.pop("study")
    if not isinstance(table, dict):
        raise UserError(f"recipe {origin}: study is no table; write [[study.family]]")
    families = validated(Families, table, f"recipe {origin}: study").family
    study = Study(recipe_from(data, origin), families)
    if problem := _problem(study):
        raise UserError(f"recipe {origin}: {problem}")
    return study


def _problem(study: Study) -> str:
    """What families and models do not agree on; empty where they do."""
    recipe, known = study.recipe, {spec.name: spec for spec in study.recipe.models}
    names = [family.name for family in study.families]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        return f"two families are called {twice[0]!r}; give each its own name"
    for family in study.families:
        for model in family.models:
            if model not in known:
                return f"family {family.name!r}: no model is called {model!r}{nearest(model, known)}"
            if known[model].control:
                return f"family {family.name!r}: {model!r} is a control, which has no buddies; remove control = true"
    if recipe.images.keep != "all":
        return f"images.keep = {recipe.images.keep}, but the runs of a study share all maps; leave it out"
    return ""
