"""Whether a worker can load the models of a dump: their libraries, and their weights from the recipe or the root."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from dask.system import cpu_count

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.architecture import FolderFamily
from rosetta.zoo.registry import find
from storage.artifacts.catalogue import RECIPE
from storage.artifacts.offered_weights import OfferedWeights
from storage.filesystem.root import Root


@dataclass(frozen=True)
class Lack:
    """Why a worker cannot load a model."""

    model: str
    what: Literal["root", "library", "weights"]
    reason: str


@dataclass(frozen=True)
class Ability:
    """What a worker answers."""

    cores: int
    """Of its machine, as far as it may use them."""
    lacks: tuple[Lack, ...]


def ability(root: Root, models: Sequence[tuple[ModelSpec, str]]) -> Ability:
    """Look at the worker that this runs on.

    Parameters
    ----------
    models
        With the SHA-256 of their weights.
    """
    if not root.exists(RECIPE.path()):
        return Ability(cpu_count(), (Lack("", "root", "does not see the run's root"),))
    lacks = (_lack(root, spec, sha256) for spec, sha256 in models)
    return Ability(cpu_count(), tuple(lack for lack in lacks if lack is not None))


def _lack(root: Root, spec: ModelSpec, sha256: str) -> Lack | None:
    if (library := _missing_library(spec)) is not None:
        return Lack(spec.name, "library", library)
    try:
        readable(root, spec, sha256)
        if zoo.is_fetched(spec):
            zoo.weights_sha256(spec)  # only to fetch them shows whether they can be
    except UserError as error:
        return Lack(spec.name, "weights", str(error))
    return None


def _missing_library(spec: ModelSpec) -> str | None:
    family, name = find(spec.model)
    for library in family.libraries:
        try:
            version(library)
        except PackageNotFoundError:
            return library
    if spec.model.startswith("python:"):
        module = name.partition(":")[0]
        try:
            return None if importlib.util.find_spec(module) else module
        except (ImportError, ValueError):
            return module.partition(".")[0]
    return None


def readable(root: Root, spec: ModelSpec, sha256: str) -> ModelSpec:
    """What to load a model from here: the recipe's weights or, where they are not to be seen, their copy in the root.

    Either way it asks for the SHA-256, so that whatever lies there is compared before it is read.

    Raises
    ------
    UserError
        Neither is here.
    """
    if spec.sae:  # the digest is of several files, of which only the model's own may lie in the root
        if zoo.weights_sha256(spec) != sha256:
            raise UserError(f"weights of {spec.name!r} are others than where the run was started; copy them again")
        return spec
    asked = spec.model_copy(update={"sha256": sha256})
    try:
        zoo.weights_files(asked)
    except UserError:
        copy = OfferedWeights(root, sha256).url(isinstance(find(spec.model)[0], FolderFamily))
        if copy is None:
            raise
        return asked.model_copy(update={"weights": copy})
    return asked
