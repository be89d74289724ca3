"""The runs of a study: one for each generator and each model of a family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Recipe
from rosetta.study import Study
from storage.artifacts.catalogue import STUDY_RECORD
from tasks.roots import root_of_its_own

RUNS = "runs"
"""Folder of the runs under the root of a study."""
ZOO = "_shared"
"""Where the runs of one generator keep what they share; no model can have this name."""


@dataclass(frozen=True)
class Member:
    """One run of a study."""

    anchor: str
    """The model whose units it counts matches of."""
    model: str
    """The one model of a family that takes part."""
    recipe: Recipe

    @property
    def path(self) -> str:
        """Of its root, under that of the study."""
        return f"{RUNS}/{self.anchor}/{self.model}"


@dataclass(frozen=True)
class StudyPlan:
    """A study and its runs."""

    study: Study
    members: tuple[Member, ...]
    """By anchor, then in the order of the recipe."""
    wholes: Mapping[str, Recipe]
    """By anchor: all models that look at the same images, as if they were one run."""
    sizes: Mapping[str, Mapping[str, float]]
    """By family and model, in what the family is measured in."""
    parameters: Mapping[str, int]
    """By model of a family."""


def plan_study(study: Study) -> StudyPlan:
    """The runs of a study; nothing is written.

    Raises
    ------
    UserError
        The root holds something else, the runs have no model in common to compare with, or a model has no size.
    """
    root_of_its_own(study.recipe.root, STUDY_RECORD)
    parameters = {spec.name: zoo.parameters(spec) for spec in study.members}
    sizes = {family.name: _sizes(study, family.name, parameters) for family in study.families}
    generators = [spec for spec in study.shared if zoo.is_generator(spec)]
    for spec in study.members:
        if zoo.is_generator(spec):
            raise UserError(
                f"model {spec.name!r} is a generator, which makes images and looks at none; take it out of its family"
            )
    rest = [spec for spec in study.shared if spec not in generators]
    anchors = generators or [spec for spec in rest if not spec.control][:1]
    if not anchors:
        raise UserError("a study needs a model that its runs share; add a generator, or a model that is in no family")
    members, wholes = [], {}
    for anchor in anchors:
        shared = [anchor, *(spec for spec in rest if spec is not anchor)]
        home = f"{study.recipe.root.rstrip('/')}/{RUNS}/{anchor.name}"
        zoo_root = study.recipe.images.from_ or f"{home}/{ZOO}"
        for spec in study.members:
            recipe = _recipe(study.recipe, f"{study.recipe.name}-{spec.name}", [*shared, spec], zoo_root)
            recipe = recipe.model_copy(update={"root": f"{home}/{spec.name}"})
            members.append(Member(anchor.name, spec.name, recipe))
        whole = _recipe(study.recipe, study.recipe.name, [*shared, *study.members], study.recipe.images.from_)
        wholes[anchor.name] = whole
    return StudyPlan(study, tuple(members), wholes, sizes, parameters)


def _recipe(of: Recipe, name: str, models: Sequence[ModelSpec], home: str | None) -> Recipe:
    images = of.images.model_copy(update={"from_": home})
    return of.model_copy(update={"name": name, "models": tuple(models), "images": images})


def _sizes(study: Study, name: str, parameters: Mapping[str, int]) -> dict[str, float]:
    """By model of a family.

    Raises
    ------
    UserError
        A size is not positive, or all are equal.
    """
    family = next(one for one in study.families if one.name == name)
    specs = {spec.name: spec for spec in study.members}
    found: dict[str, float] = {}
    for place, model in enumerate(family.models):
        if family.size == "parameters":
            found[model] = parameters[model]
        elif family.size == "units":
            found[model] = len(zoo.structure(specs[model]))
        else:
            found[model] = float(family.size[place])
        if found[model] <= 0:
            raise UserError(f"family {name!r}: {model!r} has no {family.size}; give size a number for each model")
    if len(set(found.values())) < 2:
        (size,) = set(found.values())
        raise UserError(f"family {name!r}: all of its models have the size {size:g}; nothing can grow with that")
    return found
