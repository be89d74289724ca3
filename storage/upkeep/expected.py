"""The artifacts of a run: those that its recipe names, and those that lie under its root."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rosetta.errors import UserError
from rosetta.recipe import Recipe
from storage.artifacts.artifact import COMPARE, JOIN, STUDYING, Artifact
from storage.artifacts.catalogue import (
    ACTIVATIONS,
    CATALOGUE,
    COMPARISON_RECORD,
    JOIN_RECORD,
    REPORT,
    STUDY_RECORD,
    Instance,
    instance_at,
    instances,
)
from storage.artifacts.layout import stored_attributes
from storage.artifacts.shared import shared_places
from storage.filesystem.root import Root


@dataclass(frozen=True)
class Named:
    """The artifacts that a recipe names, in the order of the catalogue."""

    instances: tuple[Instance, ...]
    models: tuple[str, ...]
    pairs_known: bool
    """Whether they include the pairs. These depend on the anchor, which is known by its store."""

    @property
    def expected(self) -> list[Instance]:
        """Those without which the run is unfinished."""
        return [instance for instance in self.instances if instance.artifact.expected]


def named_by(root: Root, recipe: Recipe) -> Named:
    """The artifacts of a run, whether or not they are there."""
    models = tuple(spec.name for spec in recipe.models)
    anchor = _anchor(root, recipe)
    pairs = () if anchor is None else recipe.pairs(anchor)
    names: dict[str, Any] = {
        "run": [()],
        "model": [(model,) for model in models],
        "pair": pairs,
        "distinct pair": [(a, b) for a, b in pairs if a != b],
    }
    made = [artifact for artifact in CATALOGUE if artifact.measured not in recipe.trust.leave_out]
    found = (Instance(artifact, of) for artifact in made for of in names.get(artifact.per, ()))
    return Named(tuple(found), models, anchor is not None)


def begun(root: Root, which: Callable[[Artifact], bool] = lambda _: True) -> list[Instance]:
    """The artifacts of a run that have been begun, those that lie under another root included.

    Parameters
    ----------
    which
        Which artifacts to look for.
    """
    found = instances(root, which)
    for path, place in shared_places(root).items():
        instance = instance_at(path)
        if instance and which(instance.artifact) and instance not in found and place.root.exists(place.path):
            found.append(instance)
    return sorted(found, key=lambda instance: CATALOGUE.index(instance.artifact))


_OF_RUNS = {JOIN: JOIN_RECORD, COMPARE: COMPARISON_RECORD, STUDYING: STUDY_RECORD}
"""By command whose result is of several runs: the record that makes a root one of these."""


def of_runs(root: Root) -> list[Instance]:
    """The artifacts without which a join, comparison or study is unfinished; none where a root holds none of these.

    The strengths of a join and the runs of a study are left out.
    """
    command = _command_of_runs(root)
    if command is None:
        return []
    return [Instance(row) for row in CATALOGUE if (row.command == command and row.per == "run") or row is REPORT]


def command_of(root: Root, artifact: Artifact) -> str:
    """The command that makes an artifact: the page of a join is a join's, that of a run a run's."""
    return (_command_of_runs(root) if artifact is REPORT else None) or artifact.command


def _command_of_runs(root: Root) -> str | None:
    return next((command for command, record in _OF_RUNS.items() if root.exists(record.path())), None)


def searches(root: Root) -> Iterator[tuple[str, list[Instance]]]:
    """The inversions and edits that have been begun: the folder of each, and the artifacts that it consists of."""
    found = begun(root, lambda artifact: artifact.per == "search")
    for folder in found:
        if folder.artifact.kind == "folder":
            yield folder.path, [*(one for one in folder.inner if one in found), folder]


def _anchor(root: Root, recipe: Recipe) -> str | None:
    """The generator, else the first model; None where a model that is not there yet may be a generator."""
    stored = {spec.name: _attributes(root, spec.name) for spec in recipe.models}
    generator = next((name for name, attributes in stored.items() if attributes.get("generator")), None)
    if generator is None and {} in stored.values() and recipe.images.source is None:
        return None
    return generator or next(spec.name for spec in recipe.models if not spec.control)


def _attributes(root: Root, model: str) -> dict[str, Any]:
    """The attributes of a store; none where it is missing or damaged."""
    try:
        return stored_attributes(root, ACTIVATIONS.path(model)) or {}
    except UserError:
        return {}
