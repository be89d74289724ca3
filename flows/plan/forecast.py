"""What a recipe's stores and pairs will take, found out before any work: `rosetta mine --plan`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from dask.utils import format_bytes
from rich.console import Console
from rich.table import Table

from flows.plan.identity import examined
from rosetta import zoo
from rosetta.mining.plan import Side
from rosetta.recipe import ModelSpec
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import model_block
from storage.artifacts.catalogue import ACTIVATIONS
from storage.artifacts.finished import is_finished
from storage.artifacts.layout import open_at
from tasks.cluster.engine import capacity
from tasks.correlate.setting import Setting, plan_for, plan_side
from tasks.plan.plan import Plan
from tasks.trust.profile import in_groups, pieces_of

_ITEMSIZE = {"float16": 2, "float32": 4}


_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


@dataclass(frozen=True)
class ModelForecast:
    """One model's activation store."""

    name: str
    model: str
    layers: int
    units: int
    images: int
    block: int
    """Images in a chunk."""
    bytes_stored: int
    """Of its maps before compression."""


@dataclass(frozen=True)
class PairForecast:
    """One pair."""

    pair: str
    units: tuple[int, int]
    images: int
    tiles: int
    passes: tuple[int, int]
    """How many times each of the two stores is read."""
    bytes_read: int
    operations: int
    peak_bytes: int
    """Of one worker, beyond what it holds when idle."""
    way: str
    """How correlations are computed: `pearson`, `spearman, exact` or `spearman, sketched`."""


@dataclass(frozen=True)
class Forecast:
    """All of a recipe."""

    workers: int
    threads: int
    """Tasks that each worker may run at once."""
    memory_bytes: int
    """What each may hold."""
    models: tuple[ModelForecast, ...]
    pairs: tuple[PairForecast, ...]
    unseen: Mapping[str, str | None]
    """See :attr:`tasks.plan.facts.Facts.unseen`."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def print(self) -> None:
        """Print two tables on standard output."""
        console = Console(width=None if Console().is_terminal else 140)
        stores = _table("model", "", right=("layers", "units", "images", "to a chunk", "stored"))
        for model in self.models:
            counts = (model.layers, model.units, model.images, model.block)
            stores.add_row(
                model.name, model.model, *(f"{count:,}" for count in counts), format_bytes(model.bytes_stored)
            )
        console.print(stores)
        print()
        table = _table("pair", right=("units", "images", "tiles", "passes", "read", "operations", "peak"))
        table.add_column("correlation")
        for entry in self.pairs:
            table.add_row(
                entry.pair,
                f"{entry.units[0]:,} × {entry.units[1]:,}",
                f"{entry.images:,}",
                f"{entry.tiles:,}",
                f"{entry.passes[0]:,} / {entry.passes[1]:,}",
                format_bytes(entry.bytes_read),
                _operations(entry.operations),
                format_bytes(entry.peak_bytes),
                entry.way,
            )
        console.print(table)
        print()
        stored = sum(model.bytes_stored for model in self.models)
        read = sum(entry.bytes_read for entry in self.pairs)
        operations = sum(entry.operations for entry in self.pairs)
        print(
            f"In all {format_bytes(stored)} of maps before compression,"
            f" {format_bytes(read)} read and {_operations(operations)} to correlate them"
        )
        print(
            f"{self.workers} worker{'s' * (self.workers != 1)}, up to {self.threads} tasks at once and"
            f" {format_bytes(self.memory_bytes)} each; nothing was written"
        )
        if fetched := [name for name, reason in self.unseen.items() if reason is None]:
            print(f"Weights that libraries fetch when it runs: {', '.join(fetched)}")
        for name, reason in self.unseen.items():
            if reason is not None:
                print(f"Before it can run: model {name!r}: {reason}")


def forecast(plan: Plan) -> Forecast:
    """Forecast every pair of a run; nothing is written.

    Raises
    ------
    UserError
        The memory is too small for a pair, or for judging it.
    """
    compute = plan.recipe.compute
    where = capacity(compute.cluster, plan.facts.threads, compute.workers)
    sides = {spec.name: _side(plan, spec) for spec in plan.models}
    setting = Setting.of(plan)

    def pair_forecast(a: str, b: str) -> PairForecast:
        cut = plan_for(setting, f"{a}~{b}", sides[a], sides[b], where)
        return PairForecast(
            f"{a}~{b}",
            cut.units,
            cut.images,
            len(cut.tiles),
            cut.passes,
            cut.bytes_read,
            cut.operations,
            cut.peak_bytes,
            cut.way,
        )

    pairs = tuple(pair_forecast(a, b) for a, b in plan.pairs)
    layers = [
        piece
        for name, side in sides.items()
        for piece in pieces_of(name, side, [sides[partner].units for partner in plan.partners(name)])
    ]
    in_groups(layers, sides[plan.anchor].images, compute.memory_bytes, where)
    stores = tuple(_store(spec, sides[spec.name]) for spec in plan.models)
    return Forecast(where.workers, where.threads, compute.memory_bytes, stores, pairs, plan.facts.unseen)


def _store(spec: ModelSpec, side: Side) -> ModelForecast:
    values = sum(layer.values * side.itemsizes[layer.name] for layer in side.units.layers)
    return ModelForecast(
        spec.name, spec.model, len(side.units.layers), len(side.units), side.images, side.block, side.images * values
    )


def _side(plan: Plan, spec: ModelSpec) -> Side:
    """A model's store, or what it will be."""
    place = plan.place(ACTIVATIONS.path(spec.name))
    if is_finished(place, ACTIVATIONS, plan.fingerprint(ACTIVATIONS, spec.name).digest):
        return plan_side(ActivationStore(spec.name, open_at(place)))
    compute, count, facts = plan.recipe.compute, plan.image_count, plan.facts
    units = zoo.structure(spec) if spec.name in facts.unseen else examined(spec, facts.weights[spec.name]).units
    block = model_block(units, count, compute.dtype, compute.chunk_mib)
    return Side(units, count, block, {layer.name: _ITEMSIZE[compute.dtype] for layer in units.layers})


def _table(*left: str, right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in left:
        table.add_column(column)
    for column in right:
        table.add_column(column, justify="right")
    return table


def _operations(count: int) -> str:
    step = min((len(str(count)) - 1) // 3, len(_PREFIXES) - 1)
    return f"{count / 1000**step:.3g} {_PREFIXES[step]}FLOP"
