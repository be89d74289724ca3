"""A finished run: recipe, stores and tables, and what follows from them; read when first asked for, never written.

Whatever reads a finished run reads this: the notebook, the page, guidance, figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from rosetta.errors import UserError, nearest
from rosetta.model_spec import ModelSpec
from rosetta.recipe import Recipe
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.artifact import Artifact
from storage.artifacts.blocks import by_block
from storage.artifacts.catalogue import (
    BUDDIES,
    CLUSTERS,
    CORRELATIONS,
    IMAGES,
    NULL,
    ROSETTA,
    TRUST,
    UNITS,
    columns_at,
    tables_after_mining,
    tables_of_run,
)
from storage.artifacts.images import ImageStore
from storage.artifacts.labels import labels
from storage.artifacts.layout import open_complete
from storage.artifacts.neurons import neuron_rows, trusted_neurons
from storage.artifacts.notes import notes
from storage.artifacts.provenance import require_run, stored_recipe
from storage.filesystem.root import Root
from storage.run.chosen import Images, indices, positions
from storage.upkeep.formats import require_no_upgrade

if TYPE_CHECKING:
    import xarray as xr

    from rosetta.mining.trust.null_dictionary import NullCount

TABLES = (UNITS, BUDDIES, TRUST, ROSETTA, CLUSTERS)


@dataclass(frozen=True, repr=False, eq=False)
class RunData:
    """A finished run. Tables are read once and kept; stores are read as far as they are asked for."""

    root: Root
    """Where it lies."""
    recipe: Recipe
    """As run."""
    stores: Mapping[str, ActivationStore]
    """By model, in the order of the recipe."""
    pictures: ImageStore
    """What all models look at."""
    _tables: dict[str, pd.DataFrame] = field(default_factory=dict, init=False)
    """By path: those that have been read."""

    @classmethod
    def of(cls, root: Root, recipe: Recipe) -> Self:
        """A run of a recipe.

        Raises
        ------
        FileNotFoundError
            A store is not there or not finished.
        """
        pictures = ImageStore.read(root)
        return cls(root, recipe, {spec.name: ActivationStore.read(root, spec.name) for spec in recipe.models}, pictures)

    @classmethod
    def open(cls, url: str | PathLike[str], needs: Sequence[Artifact] = TABLES) -> Self:
        """A run by its root.

        Parameters
        ----------
        url
            A path or any fsspec URL.
        needs
            Tables without which the run counts as unfinished.

        Raises
        ------
        UserError
            There is no run, or it is not finished, damaged, or half upgraded.
        """
        root = Root(fspath(url))
        require_run(root)
        recipe = stored_recipe(root)
        assert recipe is not None
        try:
            run = cls.of(root, recipe)
        except FileNotFoundError as error:
            require_no_upgrade(root)
            raise UserError(f"{error}; end the run with rosetta mine first") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{root.shown} is damaged ({error}); rosetta check {root.shown} names what") from None
        for table in needs:
            if not root.exists(table.path()):
                raise UserError(f"{table.path()} under {root.shown} is missing; end the run with rosetta mine first")
        return run

    @property
    def name(self) -> str:
        """What the recipe calls it."""
        return self.recipe.name

    @cached_property
    def generator(self) -> str | None:
        """The model that made the images, or None."""
        return next((name for name, store in self.stores.items() if store.attributes.get("generator")), None)

    @cached_property
    def anchor(self) -> str:
        """The model whose units name the dictionary: the generator where there is one, else the first."""
        return self.generator or next(spec.name for spec in self.recipe.models if not spec.control)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """All models by name, the anchor first."""
        return tuple(sorted(self.stores, key=lambda name: name != self.anchor))

    @cached_property
    def controls(self) -> tuple[str, ...]:
        """The models that are controls."""
        return tuple(name for name in self.models if self.spec(name).control)

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The models in which the dictionary looks for buddies of the anchor's units: neither anchor nor control."""
        return tuple(name for name in self.models if name != self.anchor and name not in self.controls)

    def spec(self, model: str) -> ModelSpec:
        """The entry of a model in the recipe."""
        self.require_model(model)
        return next(spec for spec in self.recipe.models if spec.name == model)

    def layers(self, model: str) -> list[str]:
        """Names of a model's layers, in forward order."""
        return [layer.name for layer in self.stores[model].units.layers]

    def table(self, table: Artifact) -> pd.DataFrame:
        """A table of the run, with models and layers as plain text.

        Numbers that the version which wrote it did not know yet are NaN: that was not measured.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        path = table.path()
        if path not in self._tables:
            frame = tables.read(self.root, path)
            missing = [one.name for one in columns_at(path) if one.name not in frame and one.dtype == "float64"]
            self._tables[path] = frame.assign(**dict.fromkeys(missing, np.nan))
        return self._tables[path]

    def optional(self, table: Artifact) -> pd.DataFrame | None:
        """The same, or None where there is none: a measurement may have been left out."""
        return self.table(table) if self.root.exists(table.path()) else None

    @cached_property
    def tables(self) -> tuple[Artifact, ...]:
        """The tables that the run has one of, those of mining first."""
        every = (*tables_of_run(), *tables_after_mining())
        return tuple(table for table in every if self.root.exists(table.path()))

    @property
    def unit_table(self) -> pd.DataFrame:
        """One row a unit: where it is, its statistics, how selective it is."""
        return self.table(UNITS)

    @property
    def buddies(self) -> pd.DataFrame:
        """One row a pair of mutual nearest neighbours."""
        return self.table(BUDDIES)

    @property
    def trust(self) -> pd.DataFrame:
        """One row a pair of buddies: what chance, position, pixels and controls explain of it."""
        return self.table(TRUST)

    @property
    def rosetta(self) -> pd.DataFrame:
        """One row for each Rosetta neuron and model."""
        return self.table(ROSETTA)

    @property
    def clusters(self) -> pd.DataFrame:
        """One row a concept."""
        return self.table(CLUSTERS)

    @property
    def labels(self) -> pd.DataFrame:
        """The words that fit each concept best, and the labels of masks; see :mod:`storage.artifacts.labels`."""
        return labels(self.root)

    @property
    def notes(self) -> pd.DataFrame:
        """What people call concepts, by concept and author; see :mod:`storage.artifacts.notes`."""
        return notes(self.root)

    @cached_property
    def judging_notes(self) -> tuple[str, ...]:
        """What a reader must know of how matches were judged."""
        return tuple(tables.attributes(self.root, TRUST.path()).get("notes", ()))

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """One row a Rosetta neuron, that of its anchor unit: the weakest value of its matches, and `trusted`."""
        return neuron_rows(self.rosetta, self.anchor)

    @cached_property
    def judged(self) -> bool:
        """Whether any match was put to the tests of trust."""
        return bool(self.trust["p_value"].notna().any())

    @cached_property
    def null_counts(self) -> "list[NullCount]":
        """What the dictionary counts beside what it counts with images exchanged; empty where that was left out."""
        from rosetta.mining.trust.null_dictionary import null_counts

        null = self.optional(NULL)
        return [] if null is None else null_counts(null)

    @property
    def trusted(self) -> int:
        """How many Rosetta neurons are trusted."""
        return int(self.neurons["trusted"].sum())

    @cached_property
    def trusted_by_concept(self) -> npt.NDArray[np.int32]:
        """(concept,) how many of its neurons are trusted, in the order of :attr:`clusters`."""
        return trusted_neurons(self.neurons, self.clusters["cluster"])

    def with_anchor(self, pairs: pd.DataFrame, model: str) -> pd.DataFrame:
        """The rows of a table of pairs between the anchor and a model; of the anchor those with all targets."""
        others = self.targets if model == self.anchor else (model,)
        return pairs[(pairs["model_a"] == self.anchor) & pairs["model_b"].isin(others)]

    def buddies_by_layer(self, model: str) -> pd.DataFrame:
        """(anchor layer, model layer) how many buddies lie there, layers in forward order."""
        pairs = self.with_anchor(self.buddies, model)
        counts = pd.crosstab(pairs["layer_a"], pairs["layer_b"])
        return counts.reindex(index=self.layers(self.anchor), columns=self.layers(model), fill_value=0)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a model: what it is, its layers and units, and how many of these have buddies.

        Buddies are those with the anchor; the anchor's own are those with all models that are no controls.
        """
        return pd.DataFrame([self._summary_of(name) for name in self.models]).set_index("model")

    @property
    def seen(self) -> int:
        """Images that correlations, statistics and tables are over; those whose maps are stored may be fewer."""
        return int(self.pictures.attributes["depends"].get("streamed", self.pictures.count))

    @property
    def keeps_some(self) -> bool:
        """Whether the maps of only some images are stored."""
        return self.seen != self.pictures.count

    @property
    def kept(self) -> str:
        """What a reader must know where the maps of only some images are stored; else nothing."""
        if not self.keeps_some:
            return ""
        return (
            f"correlations, statistics and tests are over {self.seen:,} images; pictures and maps are those of the"
            f" {self.pictures.count:,} that were kept"
        )

    @cached_property
    def images(self) -> "xr.Dataset":
        """`pixels` (image, y, x, rgb) uint8 and, of a generator's images, `latent` (image, z); read when computed."""
        return self._dataset(IMAGES.path())

    def correlated(self, a: str, b: str) -> str | None:
        """Path of the store that correlates two models, whichever way round; None where they were not correlated."""
        paths = (CORRELATIONS.path(*pair) for pair in ((a, b), (b, a)))
        return next((path for path in paths if self.root.exists(f"{path}/zarr.json")), None)

    def correlation(self, a: str, b: str) -> "xr.Dataset":
        """How the units of one model correlate with those of another; read when computed.

        Whichever way round the pair was correlated, `unit_a` is of the first model named here and `unit_b` of the
        second. Where the run keeps matrices, `pearson` is (unit_a, unit_b); where it keeps neighbours alone,
        `neighbours_ab` and `pearson_ab` are (unit_a, neighbour), and `_ba` the same for the other direction.

        Raises
        ------
        UserError
            There is no such model, or the two were not correlated.
        """
        for model in (a, b):
            self.require_model(model)
        path = self.correlated(a, b)
        if path is None:
            raise UserError(
                f"{a} and {b} were not correlated in {self.root.shown} (matching.pairs is "
                f"{self.recipe.matching.pairs!r}); ask for a pair with the anchor, or mine with "
                '--set matching.pairs="all"'
            )
        pair = self._dataset(path)
        return pair if pair.attrs["model_a"] == a else _turned(pair)

    def require_model(self, model: str) -> None:
        """
        Raises
        ------
        UserError
            There is no such model.
        """
        if model not in self.stores:
            raise UserError(
                f"model {model!r} is not in {self.root.shown}{nearest(str(model), self.stores)}; "
                f"there are {', '.join(self.models)}"
            )

    def require_concept(self, cluster: int) -> None:
        """
        Raises
        ------
        UserError
            There is no such concept.
        """
        known = self.clusters["cluster"]
        if not (known == cluster).any():
            there = f"its concepts are 0 to {known.max()}" if len(known) else "it has none"
            raise UserError(f"concept {cluster} is not in the dictionary of {self.root.shown}; {there}")

    @cached_property
    def image_indices(self) -> npt.NDArray[np.intp]:
        """(stored image,) the index of each image that is stored among all of the run, rising."""
        return self.pictures.indices(slice(None)).astype(np.intp)

    def chosen(self, chosen: Images) -> npt.NDArray[np.intp]:
        """(image,) positions in the stores of some images.

        Parameters
        ----------
        chosen
            By their index among all images of the run. A slice gives those of its images that were kept.

        Raises
        ------
        UserError
            One of them is not in the run, or was not kept.
        """
        asked = indices(chosen, self.seen, "image", self.root.shown)
        if not self.keeps_some:
            return asked
        return positions(asked, self.image_indices, self.seen, self.root.shown, skip=isinstance(chosen, slice))

    def pixels(self, chosen: Images) -> npt.NDArray[np.uint8]:
        """(image, y, x, rgb) of some images by their index, in the order asked for; each chunk is read once."""
        shown, store = self.chosen(chosen), self.pictures
        pixels = np.empty((len(shown), *store.size, 3), dtype=np.uint8)
        for span, inside in by_block(shown, store.block, store.count):
            pixels[inside] = store.pixels(span)[shown[inside] - span.start]
        return pixels

    def _dataset(self, path: str) -> "xr.Dataset":
        import xarray as xr  # stages that read runs need none of it

        # In format 2 the markers stand beside the data.
        dataset = xr.open_zarr(open_complete(self.root, path).store, chunks={}).drop_vars("written", errors="ignore")
        return dataset.assign_coords({name: labels.compute() for name, labels in dataset.coords.items()})

    def _summary_of(self, model: str) -> dict[str, Any]:
        spec, units = self.spec(model), self.stores[model].units
        pairs = self.with_anchor(self.buddies, model)
        return {
            "model": model,
            "zoo": spec.model,
            "kind": "generator" if model == self.generator else "control" if spec.control else "discriminative",
            "layers": len(units.layers),
            "units": len(units),
            "matched": pairs["unit_a" if model == self.anchor else "unit_b"].nunique(),
            "buddies": len(pairs),
            "median_pearson": pairs["pearson"].median(),
            "rosetta": self.rosetta.loc[self.rosetta["model"] == model, "unit"].nunique(),
        }


def _turned(pair: "xr.Dataset") -> "xr.Dataset":
    """The same correlations with A and B in each other's place."""
    swap = {"a": "b", "b": "a", "ab": "ba", "ba": "ab"}
    names: dict[Any, str] = {}
    for name in (*pair.variables, *pair.sizes):
        stem, _, side = str(name).rpartition("_")
        if stem and side in swap:
            names[name] = f"{stem}_{swap[side]}"
    turned = pair.rename(names)
    turned.attrs |= {"model_a": pair.attrs["model_b"], "model_b": pair.attrs["model_a"],
                     "units_a": pair.attrs["units_b"], "units_b": pair.attrs["units_a"]}  # fmt: skip
    return turned.transpose("unit_a", "unit_b", ...) if "pearson" in turned else turned
