"""`run.plot`: what a run knows, drawn on matplotlib axes by :mod:`rosetta.view`."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from rosetta.errors import UserError
from rosetta.view.pictures.heatmap import resample
from rosetta.view.pictures.sheet import Sheet, draw_sheet
from rosetta.view.plots.correlations import draw_correlations
from rosetta.view.plots.depth import draw_depth
from rosetta.view.plots.layers import draw_layers
from rosetta.view.plots.scatter import draw_scatter
from rosetta.view.plots.sizes import draw_sizes
from storage.run.chosen import Images
from storage.run.members import RunMembers
from storage.run.sheets import concept_sheet, dictionary_sheet


@dataclass(frozen=True, repr=False)
class Plots:
    """Plots of a run. Each draws on `ax`, or on a figure of its own, and returns the axes."""

    run: RunMembers

    def correlations(self, model: str | None = None, ax: Axes | None = None) -> Axes:
        """How well the anchor's units are matched: histograms of each one's best correlation and of the buddies.

        Parameters
        ----------
        model
            One model beside the controls; all models where none is given.

        Raises
        ------
        UserError
            There is no such model, or it is the anchor itself.
        """
        run, names = self.run, self._others(model)
        if model is not None:
            names += [name for name in run.controls if name != model]
        buddies = {name: run.with_anchor(run.buddies, name)["pearson"].to_numpy() for name in names}
        best = {name: self._best(run.anchor, name) for name in names}
        return draw_correlations(_axes(ax, (7.0, 1.0 + 0.9 * len(names))), best, buddies, run.controls, run.anchor)

    def layers(self, model: str, ax: Axes | None = None) -> Axes:
        """Where the matches lie: buddies by the anchor's layer and the model's.

        Raises
        ------
        UserError
            There is no such model, or it is the anchor itself.
        """
        run = self.run
        self._others(model)
        counts = run.buddies_by_layer(model)
        rows, columns = counts.index.tolist(), counts.columns.tolist()
        return draw_layers(_axes(ax), counts.to_numpy(), rows, columns, run.anchor, model)

    def depth(self, model: str | None = None, ax: Axes | None = None) -> Axes:
        """How alike the anchor the layers are: each unit's best correlation with it, over depth.

        Parameters
        ----------
        model
            One model, its layers by name; all models and controls over relative depth where none is given.

        Raises
        ------
        UserError
            There is no such model, or it is the anchor itself.
        """
        run, best = self.run, {}
        for name in self._others(model):
            values = self._best(name, run.anchor)
            best[name] = [values[span] for _, span in run.stores[name].units.spans()]
        layers = () if model is None else run.layers(model)
        size = 7.0, 1.4 + 1.6 * -(-len(best) // 3)
        return draw_depth(_axes(ax, size), best, run.controls, run.anchor, layers)

    def clusters(self, ax: Axes | None = None) -> Axes:
        """How many concepts there are of which size, and how many are trusted."""
        run = self.run
        trusted = run.trusted_by_concept if run.judged else None
        return draw_sizes(_axes(ax), run.clusters["size"].to_numpy(), trusted)

    def concept(self, cluster: int, images: int = 6, ax: Axes | None = None) -> Axes:
        """A concept's images × models, heat from each unit's mean to its maximum.

        Raises
        ------
        UserError
            There is no such concept.
        """
        return self._sheet(concept_sheet(self.run.concept(cluster), images).sheet, ax)

    def dictionary(
        self, image: int, concepts: tuple[int, ...] | None = None, count: int = 8, ax: Axes | None = None
    ) -> Axes:
        """Concepts × models over one image; the `count` strongest there where none are named.

        Raises
        ------
        UserError
            There is no such image or concept.
        """
        return self._sheet(dictionary_sheet(self.run, image, concepts, count).sheet, ax)

    def scatter(self, concept: int, model: str, images: Images | None = None, ax: Axes | None = None) -> Axes:
        """Map values of a concept's two units, the anchor's and a model's, position by position on their common grid.

        Over all images, by default, where the correlation is the one in the tables.

        Raises
        ------
        UserError
            There is no such concept, or the model has no part in it.
        """
        shown = self.run.concept(concept)
        units = shown.unit(self.run.anchor), shown.unit(model)
        maps = [unit.maps(slice(None) if images is None else images).to_numpy() for unit in units]
        grid = tuple(max(sides) for sides in zip(maps[0].shape[1:], maps[1].shape[1:], strict=True))
        x, y = (resample(part, (grid[0], grid[1])) for part in maps)
        first, second = (f"{unit.model} {unit.label}" for unit in units)
        return draw_scatter(_axes(ax), x, y, (first, second))

    def __repr__(self) -> str:
        names = [name for name in vars(type(self)) if not name.startswith("_") and name != "run"]
        return f"<Plots of {self.run.name!r}: {', '.join(names)}>"

    def _best(self, a: str, b: str) -> npt.NDArray[np.float32]:
        """(unit_a,) the highest correlation of each unit of A with any unit of B."""
        pair = self.run.correlation(a, b)
        # Chunk by chunk: the matrix need not fit in memory.
        return np.asarray(pair["pearson"].max("unit_b") if "pearson" in pair else pair["pearson_ab"].isel(neighbour=0))

    def _others(self, model: str | None) -> list[str]:
        """All models but the anchor, or the one that is named, which must be one of them."""
        anchor, *others = self.run.models
        if model is None:
            return others
        self.run.require_model(model)
        if model == anchor:
            raise UserError(
                f"{model} is the anchor, with which the others are compared; name one of {', '.join(others)}"
            )
        return [model]

    def _sheet(self, sheet: Sheet, ax: Axes | None) -> Axes:
        rows, columns = sheet.tiles.shape[:2]
        return draw_sheet(_axes(ax, (1.2 * columns + 0.6, 1.15 * rows + 1.0)), sheet)


def _axes(ax: Axes | None, size: tuple[float, float] = (7.0, 4.2)) -> Axes:
    """The axes to draw on; where none are given, of a figure that pyplot knows, so that a notebook shows it."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=size, layout="constrained")[1]
