"""What a run will need, known before anything is written: its anchor, its pairs, every fingerprint."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dask.system import cpu_count

from flows.plan import identity
from flows.plan.identity import Identity
from rosetta.recipe import ModelSpec, Recipe
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts import agreed
from storage.artifacts.catalogue import (
    ACTIVATIONS,
    BUDDIES,
    CLUSTERS,
    CORRELATIONS,
    IMAGES,
    ROSETTA,
    TRUST,
    TRUST_OF_PAIR,
    UNITS,
)
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import attributes_at, open_at
from storage.artifacts.shared import Place, store_attributes
from storage.filesystem.root import Root
from tasks.correlate.setting import Setting
from tasks.dump.features import SIDE
from tasks.dump.images import DEFAULT_COUNT
from tasks.source.files import ImageFile
from tasks.source.recognition import Recognised, settings
from tasks.trust.profile import partner_grids

Pair = tuple[str, str]


@dataclass(frozen=True)
class Survey:
    """A recipe with all that follows from it and from the files that it names."""

    recipe: Recipe
    root: Root
    device: str
    generator: ModelSpec | None
    files: tuple[ImageFile, ...]
    """All image files of a source, in the order in which they are mined."""
    weights: Mapping[str, str]
    """SHA-256 of the weights of each model."""
    unseen: Mapping[str, str | None] = field(default_factory=dict)
    """Models whose weights were not looked at, as a plan needs none: with the reason why they are not to be had, or
    None where their library fetches them."""
    stored_images: Fingerprint | None = None
    """Of images that are there, as far as they are those that are wanted."""
    recognised: Recognised = field(default_factory=Recognised)
    """What they are to the files of a source."""
    stored_models: Mapping[str, Identity] = field(default_factory=dict)
    """Of models of stores that are there, where nothing else is known of the models."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """By path: the images, activations and features that lie, or will lie, under the root that `images.from` names."""

    @property
    def anchor(self) -> str:
        """The model whose units name the dictionary."""
        if self.generator is not None:
            return self.generator.name
        return next(spec.name for spec in self.recipe.models if not spec.control)

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """All models, the anchor first: its dump makes the images."""
        return tuple(sorted(self.recipe.models, key=lambda spec: spec.name != self.anchor))

    @property
    def asked(self) -> tuple[str, ...]:
        """The models that the dictionary asks for a buddy."""
        return tuple(spec.name for spec in self.models if spec.name != self.anchor and not spec.control)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs to correlate, the anchor with itself first."""
        return self.recipe.pairs(self.anchor)

    @cached_property
    def image_count(self) -> int:
        """Images of the run; the most that it can have as long as its files have not been read."""
        if self.stored_images is not None:
            with suppress(FileNotFoundError):  # one that is mended
                return ImageStore(open_at(self.place(IMAGES.path()))).count
        return self.recipe.images.count or len(self.files) or DEFAULT_COUNT

    @property
    def images_place(self) -> Place:
        """Where images lie: under the root that the recipe names for them, unless they are under the run's own."""
        own, home = Place(self.root, IMAGES.path()), self.recipe.images.from_
        return (
            own if home is None or own.root.exists(f"{IMAGES.path()}/zarr.json") else Place(Root(home), IMAGES.path())
        )

    def place(self, path: str) -> Place:
        """Where a store lies or will lie."""
        return self.places.get(path, Place(self.root, path))

    def stored(self, path: str) -> dict[str, Any] | None:
        """What a store says of itself, or None where it has not been laid out.

        Raises
        ------
        UserError
            Its metadata is damaged.
        """
        return attributes_at(self.place(path))

    @property
    def threads(self) -> int:
        """Threads that correlate."""
        return cpu_count()

    def setting(self, cluster: str) -> Setting:
        """How pairs are correlated on `threads` or on the scheduler at an address."""
        compute, matching = self.recipe.compute, self.recipe.matching
        # Elsewhere there may be other devices than here.
        device = compute.device if "://" in compute.cluster else self.device
        return Setting.of(compute, matching, cluster=cluster, device=device, threads=self.threads)

    @cached_property
    def images(self) -> Fingerprint:
        """Of `images.zarr`. Of a source it is whole only once the files have been read, see :attr:`knows_images`."""
        if self.stored_images is not None:
            return self.stored_images
        images = self.recipe.images
        if self.generator is None:
            return settings(images)
        made_by = self._identity(self.generator, identity.of_images, IMAGES.path(), IMAGES.path())
        return fingerprint(
            "images",
            made_by.made_with,
            count=self.image_count,
            seed=images.seed,
            generator=made_by.depends,
            **self._layout(),
        )

    @property
    def knows_images(self) -> bool:
        """Whether the images are known, and so the fingerprints of all that follows from them."""
        return not self.files or self.stored_images is not None

    def activations(self, spec: ModelSpec) -> Fingerprint:
        """Of a model's activation store."""
        images, model = self.images.digest, self._model(spec)
        return fingerprint("activations", model.made_with, images=images, model=model.depends, **self._layout())

    def correlations(self, pair: Pair) -> Fingerprint:
        """Of a pair's correlations."""
        a, b = (self.activations(self._spec(name)).digest for name in pair)
        matching = self.recipe.matching
        kept = {"neighbours": matching.keep_neighbours} if matching.keep == "neighbours" else "matrix"
        return fingerprint(
            "correlations",
            a=a,
            b=b,
            correlation=matching.correlation,
            precision=self.recipe.compute.precision,
            keep=kept,
        )

    @property
    def controls(self) -> tuple[str, ...]:
        """The models that are controls."""
        return tuple(spec.name for spec in self.models if spec.control)

    @cached_property
    def features(self) -> Fingerprint:
        """Of the pixel features."""
        return fingerprint("features", images=self.images.digest, side=SIDE, names=list(INDEPENDENT))

    def partners(self, model: str) -> tuple[str, ...]:
        """The models that a model is correlated with."""
        return tuple(b if a == model else a for a, b in self.pairs if model in (a, b))

    def profile(self, spec: ModelSpec) -> Fingerprint:
        """Of a model's profile; the activations of all models must be there."""
        grids = partner_grids(self.root, self.partners(spec.name))
        return fingerprint(
            "profile",
            activations=self.activations(spec).digest,
            features=self.features.digest,
            grids=[list(grid) for grid in grids],
        )

    def trust_part(self, pair: Pair) -> Fingerprint:
        """Of what is said of one pair's buddies."""
        return fingerprint(
            "trust part",
            correlations=self.correlations(pair).digest,
            features=self.features.digest,
            neighbours=self.recipe.matching.neighbours,
        )

    @cached_property
    def trust(self) -> Fingerprint:
        """Of the table of trust."""
        return fingerprint(
            "trust",
            parts={"~".join(pair): self.trust_part(pair).digest for pair in self.pairs},
            controls=list(self.controls),
            knobs=self.recipe.trust.model_dump(),
        )

    @cached_property
    def units(self) -> Fingerprint:
        """Of the table of units."""
        of_models = {spec.name: self.activations(spec).digest for spec in self.models}
        return fingerprint("units", activations=of_models, features=self.features.digest)

    @cached_property
    def buddies(self) -> Fingerprint:
        """Of the table of buddies."""
        pairs = {"~".join(pair): self.correlations(pair).digest for pair in self.pairs}
        return fingerprint("buddies", correlations=pairs, neighbours=self.recipe.matching.neighbours)

    @cached_property
    def dictionary(self) -> Fingerprint:
        """Of the tables of Rosetta neurons and clusters."""
        return fingerprint(
            "dictionary",
            buddies=self.buddies.digest,
            trust=self.trust.digest,
            anchor=self.anchor,
            models=list(self.asked),
        )

    @cached_property
    def report(self) -> Fingerprint:
        """Of the page."""
        return fingerprint(
            "report", dictionary=self.dictionary.digest, units=self.units.digest, name=self.recipe.name, page=4
        )

    def stores(self) -> list[tuple[str, Fingerprint]]:
        """Path and fingerprint of every store; tables and page follow from them and cost next to nothing."""
        return [
            (IMAGES.path(), self.images),
            *((ACTIVATIONS.path(spec.name), self.activations(spec)) for spec in self.models),
            *((CORRELATIONS.path(*pair), self.correlations(pair)) for pair in self.pairs),
        ]

    def known_stores(self) -> list[tuple[str, Fingerprint]]:
        """Those of which the fingerprint is known: none as long as it takes reading a source's files to tell."""
        return self.stores() if self.knows_images else []

    def derived(self) -> list[tuple[str, Fingerprint]]:
        """Path and fingerprint of every table."""
        return [
            (UNITS.path(), self.units),
            (BUDDIES.path(), self.buddies),
            *((TRUST_OF_PAIR.path(*pair), self.trust_part(pair)) for pair in self.pairs),
            (TRUST.path(), self.trust),
            (ROSETTA.path(), self.dictionary),
            (CLUSTERS.path(), self.dictionary),
        ]

    def artifacts(self) -> dict[str, str]:
        """Every artifact's path with its fingerprint."""
        return {
            **{path: wanted.digest for path, wanted in self.stores()},
            **{path: wanted.digest for path, wanted in self.derived()},
            "report/index.html": self.report.digest,
        }

    def _spec(self, name: str) -> ModelSpec:
        return next(spec for spec in self.recipe.models if spec.name == name)

    def _model(self, spec: ModelSpec) -> Identity:
        if spec.name in self.stored_models:
            return self.stored_models[spec.name]
        return self._identity(spec, identity.of_maps, ACTIVATIONS.path(spec.name), "activations/")

    @cached_property
    def _identities(self) -> dict[str, Identity]:
        """By path of a store, those asked for so far: to know one may take loading its model."""
        return {}

    def _identity(self, spec: ModelSpec, find: identity.Finder, path: str, others: str) -> Identity:
        """From a store of the run's own, and those of the root it shares whose paths begin with `others`."""
        if spec.name in self.unseen:
            return Identity(identity.of_recipe(spec, ""))
        if path not in self._identities:
            own = attributes_at(Place(self.root, path))
            shared = [store for there, store in self._shared_stores.items() if there.startswith(others)]
            stores = [own, *shared] if own else shared
            self._identities[path] = find(spec, self.weights[spec.name], stores, self.agreed)
        return self._identities[path]

    @cached_property
    def agreed(self) -> dict[str, Any]:
        """What stores agreed with when it was last compared, see :mod:`storage.artifacts.agreed`."""
        return agreed.known(*self._agreed_at)

    def keep_agreed(self) -> None:
        """Write down what was compared since."""
        compared: dict[str, Any] = dict(self.recognised.agreed)
        for one in self._identities.values():
            compared |= one.agreed
        agreed.keep(compared, *self._agreed_at)

    @cached_property
    def _agreed_at(self) -> tuple[Root, ...]:
        """Beside the images or, of a shared root that can only be read, under the run's own."""
        return tuple(dict.fromkeys([self.images_place.root, self.root]))

    @cached_property
    def _shared_stores(self) -> dict[str, dict[str, Any]]:
        return {} if (home := self.recipe.images.from_) is None else store_attributes(Root(home))

    def _layout(self) -> dict[str, object]:
        return {"dtype": self.recipe.compute.dtype, "chunk_mib": self.recipe.compute.chunk_mib}
