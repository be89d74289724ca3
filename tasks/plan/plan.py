"""The plan of a run: a pure function of its recipe, of facts, and of what each stage says that its artifacts depend on.

It reads no store and loads no model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rosetta.model_spec import ModelSpec
from rosetta.recipe import Images, Recipe
from storage.artifacts.artifact import Artifact, Per
from storage.artifacts.fingerprint import FORMAT, Fingerprint
from storage.artifacts.shared import Place
from storage.filesystem.root import Root
from tasks.plan.facts import Facts

DEFAULT_COUNT = 512
"""Images of a generator where the recipe does not say."""


@dataclass(frozen=True)
class Plan:
    """A recipe with all that follows from it and from the facts."""

    recipe: Recipe
    facts: Facts
    fingerprints: Mapping[str, Callable[..., Fingerprint]]
    """By pattern of an artifact: how the stage that writes it takes its fingerprint from the plan and its names."""

    def given(self, **facts: Any) -> "Plan":
        """The same with some of the facts changed."""
        return replace(self, facts=replace(self.facts, **facts))

    @cached_property
    def root(self) -> Root:
        """Where the run lies."""
        return Root(self.recipe.root)

    @property
    def anchor(self) -> str:
        """The model whose units name the dictionary."""
        if self.facts.generator is not None:
            return self.facts.generator.name
        return next(spec.name for spec in self.recipe.models if not spec.control)

    @property
    def is_spread(self) -> bool:
        """Whether worker processes do the work: of a cluster, or one for each of several GPUs of this machine."""
        return self.recipe.compute.cluster != "threads" or self.facts.gpus > 1

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """All models, the anchor first: its dump makes the images."""
        return tuple(sorted(self.recipe.models, key=lambda spec: spec.name != self.anchor))

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(spec.name for spec in self.models)

    def spec(self, name: str) -> ModelSpec:
        """What the recipe says of a model."""
        return next(spec for spec in self.recipe.models if spec.name == name)

    @property
    def controls(self) -> tuple[str, ...]:
        """The models that are controls."""
        return tuple(spec.name for spec in self.models if spec.control)

    @property
    def targets(self) -> tuple[str, ...]:
        """The models in which a Rosetta neuron needs a buddy: all but the anchor and the controls."""
        return tuple(name for name in self.names if name != self.anchor and name not in self.controls)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs to correlate, the anchor with itself first."""
        return self.recipe.pairs(self.anchor)

    def partners(self, model: str) -> tuple[str, ...]:
        """The models that a model is correlated with."""
        return tuple(b if a == model else a for a, b in self.pairs if model in (a, b))

    def instances(self, per: Per) -> Sequence[tuple[str, ...]]:
        """The names of everything that there is one of per run, per model or per pair."""
        if per == "run":
            return [()]
        if per == "model":
            return [(name,) for name in self.names]
        return [(a, b) for a, b in self.pairs if a != b or per == "pair"]

    @property
    def image_count(self) -> int:
        """Images whose maps are stored; the most that there can be as long as their files have not been read."""
        return self.facts.stored_count or self.stored_images.count or len(self.facts.files) or DEFAULT_COUNT

    @property
    def streamed(self) -> int | None:
        """Images of the run where the maps of only some are stored, else None."""
        return None if self.facts.streamed is None else self.facts.streamed.images

    @property
    def stored_images(self) -> Images:
        """What the recipe says of the images, as if those that are stored were all."""
        return self.recipe.images.stored(None if self.facts.streamed is None else self.facts.streamed.images)

    @property
    def knows_images(self) -> bool:
        """Whether the images are known, and so the fingerprints of all that follows from them."""
        return not self.facts.files or self.facts.images is not None

    def place(self, path: str) -> Place:
        """Where an artifact lies or will lie."""
        return self.facts.places.get(path, Place(self.root, path))

    def fingerprint(self, artifact: Artifact, *names: str) -> Fingerprint:
        """What an artifact depends on, as the stage says that writes it."""
        key = (artifact.pattern, *names)
        if key not in self._known:
            found = self.fingerprints[artifact.pattern](self, *names)
            self._known[key] = found if self.facts.format == FORMAT else found.in_format(self.facts.format)
        return self._known[key]

    def digest(self, artifact: Artifact, *names: str) -> str:
        """The same as its SHA-256."""
        return self.fingerprint(artifact, *names).digest

    def digests(self, artifact: Artifact) -> dict[str, str]:
        """Those of all that there are of an artifact, by model or by pair."""
        return {"~".join(names): self.digest(artifact, *names) for names in self.instances(artifact.per)}

    @cached_property
    def _known(self) -> dict[tuple[str, ...], Fingerprint]:
        return {}
