"""A finished run to look at: recipe, tables, stores, concepts and units; read when first asked for, never written."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from rosetta.errors import UserError, nearest
from rosetta.recipe import ModelSpec, Recipe
from storage.artifacts import tables
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import block_slice
from storage.artifacts.catalogue import ACTIVATIONS, BUDDIES, CLUSTERS, IMAGES, ROSETTA, TRUST, UNITS, tables_of_run
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import open_complete, store_of
from storage.artifacts.neurons import neuron_rows
from storage.artifacts.provenance import require_run, stored_recipe
from storage.filesystem.root import Root
from storage.run.concept import Concept
from storage.run.unit import Unit

if TYPE_CHECKING:
    from storage.run.plots import Plots

Images = int | slice | Sequence[int] | npt.NDArray[np.integer]
"""Some images of a run: one, a range, or a list."""


@dataclass(frozen=True, repr=False, eq=False)
class Run:
    """A finished run; :func:`storage.open_run` opens one.

    Tables are read once and kept; stores are read as far as they are asked for.
    """

    root: Root
    """Where it lies."""
    recipe: Recipe
    """As run."""
    stores: dict[str, ActivationStore]
    """By model, in the order of the recipe."""
    pictures: ImageStore
    """What all models look at."""

    @classmethod
    def open(cls, url: str | PathLike[str]) -> "Run":
        """See :func:`storage.open_run`."""
        root = Root(fspath(url))
        require_run(root)
        recipe = stored_recipe(root)
        assert recipe is not None
        try:
            pictures = ImageStore(open_complete(root, IMAGES.path()))
            stores = {spec.name: ActivationStore.read(root, spec.name) for spec in recipe.models}
        except FileNotFoundError as error:
            raise UserError(f"{error}; end the run with rosetta mine first") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{root.shown} is damaged ({error}); rosetta check {root.shown} names what") from None
        for table in (one.path() for one in tables_of_run()):
            if not root.exists(table):
                raise UserError(f"{table} under {root.shown} is not there; end the run with rosetta mine first")
        return cls(root, recipe, stores, pictures)

    @property
    def name(self) -> str:
        """What the recipe calls it."""
        return self.recipe.name

    @cached_property
    def generator(self) -> str | None:
        """The model that made the images, or None."""
        return next((name for name, store in self.stores.items() if store.group.attrs["generator"]), None)

    @cached_property
    def anchor(self) -> str:
        """The model whose units name the dictionary: the generator where there is one, else the first."""
        return self.generator or next(spec.name for spec in self.recipe.models if not spec.control)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """All models by name, the anchor first."""
        return tuple(sorted(self.stores, key=lambda name: name != self.anchor))

    @property
    def controls(self) -> tuple[str, ...]:
        """The models that are controls."""
        return tuple(name for name in self.models if self.spec(name).control)

    @property
    def asked(self) -> tuple[str, ...]:
        """The models that the dictionary asks for a buddy of the anchor's units."""
        return tuple(name for name in self.models if name != self.anchor and name not in self.controls)

    def spec(self, model: str) -> ModelSpec:
        """What the recipe says of a model."""
        self.require_model(model)
        return next(spec for spec in self.recipe.models if spec.name == model)

    @cached_property
    def units(self) -> pd.DataFrame:
        """One row a unit: where it is, its statistics, how selective it is."""
        return tables.read(self.root, UNITS.path())

    @cached_property
    def buddies(self) -> pd.DataFrame:
        """One row a pair of mutual nearest neighbours."""
        return tables.read(self.root, BUDDIES.path())

    @cached_property
    def trust(self) -> pd.DataFrame:
        """One row a pair of buddies: what chance, position, pixels and controls explain of it."""
        return tables.read(self.root, TRUST.path())

    @cached_property
    def rosetta(self) -> pd.DataFrame:
        """One row for each Rosetta neuron and model."""
        return tables.read(self.root, ROSETTA.path())

    @cached_property
    def clusters(self) -> pd.DataFrame:
        """One row a concept."""
        return tables.read(self.root, CLUSTERS.path())

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """One row a Rosetta neuron, that of its anchor unit: the weakest value of its matches, and `trusted`."""
        return neuron_rows(self.rosetta, self.anchor)

    @cached_property
    def judged(self) -> bool:
        """Whether any match was put to the tests of trust."""
        return bool(self.trust["p_value"].notna().any())

    @property
    def trusted(self) -> int:
        """How many Rosetta neurons are trusted."""
        return int(self.neurons["trusted"].sum())

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a model: what it is, its layers and units, and how many of these have buddies.

        Buddies are those with the anchor; the anchor's own are those with all models that are no controls.
        """
        return pd.DataFrame([self._summed(name) for name in self.models]).set_index("model")

    @cached_property
    def images(self) -> xr.Dataset:
        """`pixels` (image, y, x, rgb) uint8 and, of a generator's images, `latent` (image, z); read when computed."""
        return self._dataset(IMAGES.path())

    def activations(self, model: str) -> xr.DataTree:
        """The activation maps of a model, a group each layer; read when computed.

        Raises
        ------
        UserError
            There is no such model.
        """
        self.require_model(model)
        store = store_of(self.root, ACTIVATIONS.path(model), read_only=True)
        tree = xr.open_datatree(store, engine="zarr", chunks={})  # type: ignore[arg-type]
        # What a run that was cut short goes on from says nothing to a reader.
        tree.dataset = tree.to_dataset(inherit=False).drop_vars(["written", "moments"])
        return tree

    def correlation(self, a: str, b: str) -> xr.Dataset:
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
        for left, right in ((a, b), (b, a)):
            where = f"correlations/{left}~{right}.zarr"
            if self.root.exists(f"{where}/zarr.json"):
                found = self._dataset(where)
                return found if left == a else _turned(found)
        raise UserError(
            f"{a} and {b} were not correlated in {self.root.shown} (matching.pairs is {self.recipe.matching.pairs!r}); "
            'ask for a pair with the anchor, or mine with --set matching.pairs="all"'
        )

    def concept(self, cluster: int) -> Concept:
        """One concept of the dictionary.

        Raises
        ------
        UserError
            There is no such concept.
        """
        known = self.clusters["cluster"]
        if not (known == cluster).any():
            held = f"its concepts are 0 to {known.max()}" if len(known) else "it has none"
            raise UserError(f"concept {cluster} is not in the dictionary of {self.root.shown}; {held}")
        return Concept(self, int(cluster))

    def unit(self, model: str, unit: int) -> Unit:
        """One unit of a model, matched or not, by its index in the model.

        Raises
        ------
        UserError
            There is no such model, or it has no such unit.
        """
        self.require_model(model)
        count = len(self.stores[model].units)
        if not 0 <= unit < count:
            raise UserError(f"{model} has no unit {unit}; its units are 0 to {count - 1}")
        return Unit(self, model, int(unit))

    @property
    def plot(self) -> "Plots":
        """Plots of this run, as matplotlib axes."""
        from storage.run.plots import Plots

        return Plots(self)

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

    def chosen(self, chosen: Images) -> npt.NDArray[np.intp]:
        """(image,) indices of some images.

        Raises
        ------
        UserError
            One of them is not in the run.
        """
        count = self.pictures.count
        if isinstance(chosen, slice):
            return np.arange(count)[chosen]
        found = np.atleast_1d(np.asarray(chosen, dtype=np.intp))
        for image in found:
            if not 0 <= image < count:
                raise UserError(f"image {image} is not in {self.root.shown}; its images are 0 to {count - 1}")
        return found

    def pixels(self, chosen: Images) -> npt.NDArray[np.uint8]:
        """(image, y, x, rgb) of some images, in the order asked for; each chunk is read once."""
        wanted = self.chosen(chosen)
        found = np.empty((len(wanted), *self.pictures.size, 3), dtype=np.uint8)
        for block in np.unique(wanted // self.pictures.block):
            span = block_slice(int(block), self.pictures.block, self.pictures.count)
            inside = (wanted >= span.start) & (wanted < span.stop)
            found[inside] = self.pictures.pixels(span)[wanted[inside] - span.start]
        return found

    def __repr__(self) -> str:
        counts = f"{self.pictures.count:,} images, {len(self.models)} models, {len(self.units):,} units"
        found = f"{len(self.neurons):,} Rosetta neurons in {len(self.clusters):,} concepts"
        trusted = f", {self.trusted:,} of the neurons trusted" if self.judged else ""
        return f"<Run {self.name!r} at {self.root.shown}: {counts}, {found}{trusted}>"

    def _repr_html_(self) -> str:
        from storage.run.notebook import run_cell

        return run_cell(self)

    def _dataset(self, path: str) -> xr.Dataset:
        open_complete(self.root, path)
        found = xr.open_zarr(store_of(self.root, path, read_only=True), chunks={}).drop_vars("written")
        return found.assign_coords({name: labels.compute() for name, labels in found.coords.items()})

    def _summed(self, model: str) -> dict[str, Any]:
        spec, store, anchor = self.spec(model), self.stores[model], self.anchor
        pairs = self.buddies[self.buddies["model_a"] == anchor]
        if model == anchor:
            pairs, side = pairs[pairs["model_b"].isin(self.asked)], "unit_a"
        else:
            pairs, side = pairs[pairs["model_b"] == model], "unit_b"
        return {
            "model": model,
            "zoo": spec.model,
            "kind": "generator" if model == self.generator else "control" if spec.control else "discriminative",
            "layers": len(store.units.layers),
            "units": len(store.units),
            "matched": pairs[side].nunique(),
            "buddies": len(pairs),
            "median_pearson": pairs["pearson"].median(),
            "rosetta": self.rosetta.loc[self.rosetta["model"] == model, "unit"].nunique(),
        }


def _turned(pair: xr.Dataset) -> xr.Dataset:
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
