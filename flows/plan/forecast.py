"""What a recipe's stores and pairs will take, found out before any work: `rosetta mine --plan`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

import torch
from dask.utils import format_bytes

from flows.plan.identity import examined
from flows.plan.image_size import image_size
from flows.plan.stream_forecast import StreamForecast, stream_forecast
from rosetta import zoo
from rosetta.mining.factors import PANEL
from rosetta.mining.plan import PairPlan, Side
from rosetta.model_spec import ModelSpec
from rosetta.units import Grid
from rosetta.view.numbers import operations
from storage.artifacts.activations import ActivationStore, file_count
from storage.artifacts.blocks import model_blocks, stored_values
from storage.artifacts.catalogue import ACTIVATIONS
from storage.artifacts.finished import is_finished
from storage.artifacts.layout import open_at
from tasks.cluster.engine import capacity
from tasks.correlate.setting import Setting, plan_for, plan_side
from tasks.dump.forward import batch_size
from tasks.dump.memory import PROCESS_BYTES, fitted, holding
from tasks.plan import Plan
from tasks.stage.text_table import print_table
from tasks.trust.observation import observed_bytes
from tasks.trust.profile import in_groups, pieces_of


@dataclass(frozen=True)
class ModelForecast:
    """One model's activation store."""

    name: str
    model: str
    image_size: Grid | None
    """Height and width of the images that it takes; None for a generator."""
    layers: int
    units: int
    images: int
    block: int
    """Images in a file of a layer."""
    files: int
    """Of its store."""
    bytes_stored: int
    """Of its maps, about: rounded ones take half their size."""
    dump_bytes: int
    """What dumping holds at most beside the model: buffers, encoded chunks, what writers work on, sums of a profile."""
    peak_bytes: int | None
    """All that the process holds at most for it, its model on a CPU included; None where the model has no outline."""


@dataclass(frozen=True)
class PairForecast:
    """One pair."""

    pair: str
    units: tuple[int, int]
    images: int
    tiles: int
    passes: tuple[int, int]
    """How many times each of the two stores is read."""
    group: int
    """Pairs of one group read together, each model's store once; from 1."""
    bytes_read: int
    """What it adds to what the pairs of its group above it read."""
    operations: int
    peak_bytes: int
    """Of one worker on the whole group, beyond what it holds when idle."""
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
    """None where images are streamed."""
    stream: StreamForecast | None
    """Where the maps of only some images are stored: how all of them pass by."""
    unseen: Mapping[str, str | None]
    """See :attr:`tasks.plan.facts.Facts.unseen`."""
    image_side: int | None
    """Of the squares that a source's images are cropped to; None where a generator makes them, or another run."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def print(self) -> None:
        """Print tables on standard output."""
        print_table(
            ("model", "", "takes", "layers", "units", "images", "to a file", "files", "stored", "dump holds"),
            (
                (
                    one.name,
                    one.model,
                    "" if one.image_size is None else "{} × {}".format(*one.image_size),
                    one.layers,
                    one.units,
                    one.images,
                    one.block,
                    one.files,
                    format_bytes(one.bytes_stored),
                    f"{format_bytes(one.dump_bytes)} + model"
                    if one.peak_bytes is None
                    else format_bytes(one.peak_bytes),
                )
                for one in self.models
            ),
            words=("model", ""),
        )
        if self.image_side is not None:
            print(f"The images are squares of {self.image_side} pixels a side")
        print()
        if self.stream is not None:
            self.stream.print()
        else:
            self._print_pairs()
        print(
            f"{self.workers} worker{'s' * (self.workers != 1)}, up to {self.threads} tasks at once and"
            f" {format_bytes(self.memory_bytes)} each; nothing was written"
        )
        if fetched := [name for name, reason in self.unseen.items() if reason is None]:
            print(f"Weights that libraries fetch when it runs: {', '.join(fetched)}")
        for name, reason in self.unseen.items():
            if reason is not None:
                print(f"Before it can run: model {name!r}: {reason}")

    def _print_pairs(self) -> None:
        print_table(
            ("pair", "units", "images", "tiles", "passes", "group", "read", "operations", "peak", "correlation"),
            (
                (
                    one.pair,
                    f"{one.units[0]:,} × {one.units[1]:,}",
                    one.images,
                    one.tiles,
                    f"{one.passes[0]:,} / {one.passes[1]:,}",
                    one.group,
                    format_bytes(one.bytes_read),
                    operations(one.operations),
                    format_bytes(one.peak_bytes),
                    one.way,
                )
                for one in self.pairs
            ),
            words=("pair", "correlation"),
        )
        print()
        print(
            f"In all {format_bytes(sum(one.bytes_stored for one in self.models))} of maps,"
            f" {format_bytes(sum(one.bytes_read for one in self.pairs))} read and"
            f" {operations(sum(one.operations for one in self.pairs))} to correlate them"
        )


def forecast(plan: Plan, footprints: bool = False, sides: Mapping[str, Side] | None = None) -> Forecast:
    """Forecast every pair of a run; nothing is written.

    Parameters
    ----------
    footprints
        Whether to find out what models themselves hold, which takes a second each.
    sides
        As :func:`sides_of` gives them, where that was asked before.

    Raises
    ------
    UserError
        The memory is too small for a dump, for a pair, or for judging it.
    """
    compute = plan.recipe.compute
    where = capacity(compute.cluster, plan.facts.threads, compute.workers)
    sides = sides_of(plan) if sides is None else sides
    setting = Setting.of(plan)

    stores = tuple(_store(plan, spec, sides[spec.name], footprints) for spec in plan.models)
    side = None if plan.recipe.images.source is None else plan.recipe.images.side
    found = partial(Forecast, where.workers, where.threads, compute.memory_bytes, stores, image_side=side)
    if plan.streamed is not None:
        return found(pairs=(), stream=stream_forecast(plan, sides, setting.memory), unseen=plan.facts.unseen)
    groups = plan_for(setting, sides, plan.pairs, where)
    cuts = {
        pair: (cut, number)
        for number, group in enumerate(groups, 1)
        for pair, cut in zip(group.pairs, group.plans, strict=True)
    }
    pairs = tuple(_pair(*pair, *cuts[pair]) for pair in plan.pairs)
    in_groups(pieces_of(plan, sides, sides), sides[plan.anchor].images, compute.memory_bytes, where)
    return found(pairs=pairs, stream=None, unseen=plan.facts.unseen)


def sides_of(plan: Plan) -> dict[str, Side]:
    """By model: its store, or what it will be.

    Raises
    ------
    UserError
        A model cannot be built, or the memory is too small for its dump.
    """
    return {spec.name: _side(plan, spec) for spec in plan.models}


def _pair(a: str, b: str, cut: PairPlan, group: int) -> PairForecast:
    # Of a model with itself, panels below the diagonal are mirrors of those above.
    panels = -(-cut.units[0] // PANEL)
    count = cut.operations * (panels + 1) // (2 * panels) if a == b else cut.operations
    return PairForecast(
        f"{a}~{b}",
        cut.units,
        cut.images,
        len(cut.tiles),
        cut.passes,
        group,
        cut.bytes_read,
        count,
        cut.peak_bytes,
        cut.method,
    )


def _store(plan: Plan, spec: ModelSpec, side: Side, footprints: bool) -> ModelForecast:
    compute, units, images = plan.recipe.compute, side.units, side.images
    if _is_dumped(plan, spec):
        held = holding(units, model_blocks(units, images, compute.chunk_mib), compute)
    else:
        held = fitted(spec.name, units, images, compute)
    shard = held.blocks.shard
    itemsize = 2 if compute.dtype == "float16" else 4
    size = itemsize * images * sum(map(stored_values, units.layers))
    labels = 2 if plan.facts.generator is None else 1  # source, and the label of a file
    files = file_count(units, images, shard, labels)
    model = zoo.footprint(spec, batch_size(torch.device("cpu"))) if footprints else None
    dump_bytes = held.peak
    if plan.facts.generator is None or plan.facts.generator.name != spec.name:
        left = compute.memory_bytes - held.peak
        dump_bytes += observed_bytes(plan, spec.name, units, images, held.blocks.chunk, left)
    peak = None if model is None else model + dump_bytes + PROCESS_BYTES
    return ModelForecast(
        name=spec.name,
        model=spec.model,
        image_size=image_size_of(plan, spec),
        layers=len(units.layers),
        units=len(units),
        images=images,
        block=shard,
        files=files,
        bytes_stored=size,
        dump_bytes=dump_bytes,
        peak_bytes=peak,
    )


def _side(plan: Plan, spec: ModelSpec) -> Side:
    """A model's store, or what it will be."""
    setting = Setting.of(plan)
    if _is_dumped(plan, spec):
        return plan_side(ActivationStore(open_at(plan.place(ACTIVATIONS.path(spec.name)))), setting)
    compute, count, facts = plan.recipe.compute, plan.image_count, plan.facts
    units = zoo.structure(spec) if spec.name in facts.unseen else examined(spec, facts.weights[spec.name]).units
    sparse = (layer.name for layer in units.layers if layer.sparse and setting.skips_zeros)
    return Side(units, count, fitted(spec.name, units, count, compute).blocks.chunk, frozenset(sparse))


def image_size_of(plan: Plan, spec: ModelSpec) -> Grid | None:
    """Height and width of the images that a model takes; None for a generator."""
    known = plan.facts.models[spec.name].image_size
    if known is None and spec.name in plan.facts.unseen:
        return image_size(spec, "", unseen=True)
    return known


def _is_dumped(plan: Plan, spec: ModelSpec) -> bool:
    place = plan.place(ACTIVATIONS.path(spec.name))
    return is_finished(place, ACTIVATIONS, plan.digest(ACTIVATIONS, spec.name))
