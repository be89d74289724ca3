"""How long a run would take on other devices than those that are here: `rosetta mine --plan --on h100:8`.

Stages that work side by side take as long as the slowest of them: devices run models, cores encode and decode maps,
and storage takes and gives them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Literal

from flows.plan.forecast import Forecast, forecast, sides_of
from flows.plan.gather import plan_of_recipe
from flows.plan.model_rates import ModelRate, model_rate
from flows.plan.rates import SHARED_MEMORY, Device, Rates, parse_devices
from rosetta import zoo
from rosetta.errors import UserError
from rosetta.mining.plan import Side
from rosetta.recipe import Recipe
from tasks.plan import Plan
from tasks.stream.stage import plan_stream

STAGES = ("generate", "forward", "products", "encode", "write", "read")
_KEPT = 1024
"""Images whose maps are kept where all others are streamed and the recipe keeps all."""
_OF_MEMORY = 0.8
"""The share of a device's memory that is left for sums beside a model and the maps of a batch."""
_HALVES = 2
_FLOAT32, _NEIGHBOUR = 4, 8
"""Bytes of a correlation, and of a neighbour with its correlation."""
_GB, _MB, _HOUR = 10**9, 10**6, 3600
_TFLOP = 10**12


@dataclass(frozen=True)
class Way:
    """One of two ways to mine: with all maps stored, or with most of them multiplied in memory and forgotten."""

    keep: int | None
    """Images whose maps are stored; None for all."""
    passes: int
    """How often every model sees all images."""
    hours: Mapping[str, float]
    """By stage, each by itself."""
    total_hours: float
    """With stages side by side."""
    node_hours: float
    bytes_stored: int
    """On disk at the end: maps, images, peaks and correlations."""
    slowest: str
    """The stage that takes most of the time in which others wait for it."""


@dataclass(frozen=True)
class Simulation:
    """A run on some devices."""

    device: str
    title: str
    count: int
    nodes: int
    images: int
    models: tuple[ModelRate, ...]
    ways: tuple[Way, ...]
    """All maps stored; streamed, unless correlations are of ranks, which need all maps, or all images are kept."""
    estimates: tuple[str, ...]
    """Figures of the device that are neither measured nor from a data sheet."""
    unused: tuple[str, ...]
    """Measured files that say nothing of this run's models on this device."""
    unseen: Mapping[str, str | None]
    """See :attr:`tasks.plan.facts.Facts.unseen`."""

    @property
    def best(self) -> Way:
        """The way that takes least time; of two that take the same, the one that stores less."""
        return min(self.ways, key=lambda way: (way.total_hours, way.bytes_stored))

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "recommended_keep": "all" if self.best.keep is None else self.best.keep}


@dataclass(frozen=True)
class _Machine:
    """All devices together, and what they do in a second."""

    count: int
    nodes: int
    sums: int
    """Bytes for the sums of a pass: of one device, or of a node whose cores share them."""
    one_pool: bool
    """Whether the devices are the cores that encode."""
    flops: float
    encode: float
    decode: float
    write: float
    read: float

    @classmethod
    def of(cls, device: Device, count: int, precision: str, one_pool: bool) -> "_Machine":
        nodes = ceil(count / device.per_node[0])
        sharing = min(count, device.per_node[0]) if one_pool else 1
        peak: float = getattr(device, precision)[0]
        cores = count * device.cores[0] * _MB
        return cls(
            count=count,
            nodes=nodes,
            sums=int(_OF_MEMORY * device.memory_gb[0] * _GB) * sharing,
            one_pool=one_pool,
            flops=count * _TFLOP * peak * device.products[0],
            encode=cores * device.encode[0],
            decode=cores * device.decode[0],
            write=nodes * _MB * device.write[0],
            read=nodes * _MB * device.read[0],
        )


def simulate(recipe: Recipe, on: str, files: Sequence[Path] = ()) -> Simulation:
    """Forecast a run on other devices; nothing is written, and no weights are needed.

    Parameters
    ----------
    on
        Devices and their number, `h100:8`.
    files
        Rates that replace those of the project, see :class:`flows.plan.rates.Rates`.

    Raises
    ------
    UserError
        No such device, a file of rates is none, or of a model neither operations nor a measured rate are known.
    """
    name, count = parse_devices(on)
    rates = Rates(files)
    device = rates.device(name)
    machine = _Machine.of(device, count, recipe.compute.precision, one_pool=name == SHARED_MEMORY)
    plan = _elsewhere(recipe, machine.sums)
    try:
        sides = sides_of(plan)
        planned = forecast(plan, sides=sides)
    except UserError as error:
        raise UserError(f"--on {on}: {str(error).replace('compute.memory', 'the memory there')}") from None
    models = tuple(model_rate(spec, len(sides[spec.name].units), name, device, rates) for spec in plan.models)
    used = {one.file for one in models}
    return Simulation(
        device=name,
        title=device.title,
        count=count,
        nodes=machine.nodes,
        images=plan.image_count,
        models=models,
        ways=_ways(plan, planned, sides, models, machine, recipe.images.keep),
        estimates=tuple(device.figures("estimate")),
        unused=tuple(str(path) for path, _ in rates.measured if str(path) not in used),
        unseen=plan.facts.unseen,
    )


def _elsewhere(recipe: Recipe, memory: int) -> Plan:
    """The plan of a recipe on a worker with so much memory, whatever there is here."""
    here = {"device": "cpu", "cluster": "threads", "workers": None, "memory": str(memory)}
    moved = recipe.model_copy(
        update={
            "compute": recipe.compute.model_copy(update=here),
            # Both ways are looked at, whichever the recipe asks for.
            "images": recipe.images.model_copy(update={"keep": "all"}),
        }
    )
    return plan_of_recipe(moved, any_weights=True).given(threads=1)


def _ways(
    plan: Plan,
    planned: Forecast,
    sides: Mapping[str, Side],
    models: Sequence[ModelRate],
    machine: _Machine,
    asked: int | Literal["all"],
) -> tuple[Way, ...]:
    """All maps stored, and streamed with as many kept as the recipe asks for."""
    images, generator = plan.image_count, plan.facts.generator
    maker = next((one.seconds_per_image for one in models if generator and one.name == generator.name), 0.0)
    others = sum(one.seconds_per_image for one in models) - maker
    maps = sum(one.bytes_stored for one in planned.models)
    products = sum(one.operations for one in planned.pairs) / machine.flops
    # Stored values take half of what they take decoded, unless the recipe keeps all of their bits.
    size = 2 if plan.recipe.compute.dtype == "float16" else _FLOAT32
    read = sum(one.bytes_read for one in planned.pairs) * size / _FLOAT32

    def way(keep: int | None, passes: int) -> Way:
        kept = maps if keep is None else maps * keep // images
        # Those that are kept are seen once more, beforehand.
        passed = images if keep is None else passes * images + keep
        beside = _bytes_beside_maps(plan, planned, sides, images if keep is None else keep)
        gone_through = read if keep is None else 0.0
        seconds = {
            "generate": passed * maker / machine.count,
            "forward": passed * others / machine.count,
            "products": products,
            "encode": kept / machine.encode,
            "write": (kept + beside) / machine.write,
            "read": max(gone_through / machine.read, gone_through / machine.decode),
        }
        total, slowest = _side_by_side(seconds, keep is None, machine.one_pool)
        hours = {stage: seconds[stage] / _HOUR for stage in STAGES}
        return Way(keep, passes, hours, total / _HOUR, machine.nodes * total / _HOUR, kept + beside, slowest)

    stored = way(None, 1)
    keep = _KEPT if asked == "all" else asked
    if plan.recipe.matching.correlation != "pearson" or keep >= images:
        return (stored,)
    units = {name: side.units for name, side in sides.items()}
    kind = "cpu" if machine.one_pool else "cuda"
    return stored, way(keep, len(plan_stream(units, plan.pairs, images, machine.sums, kind).passes))


def _side_by_side(seconds: Mapping[str, float], stored: bool, one_pool: bool) -> tuple[float, str]:
    """Seconds of all stages, and which of them takes most of the time in which others wait for it.

    Parameters
    ----------
    stored
        Whether maps are first written and then read again; otherwise they are multiplied as they come.
    one_pool
        Whether models share cores with encoding, and products with decoding.
    """
    devices, products, encoding, writing = ["generate", "forward"], ["products"], ["encode"], ["write"]
    phases = (
        [[devices, encoding, writing], [products, ["read"]]] if stored else [[devices + products, encoding, writing]]
    )
    if one_pool:
        phases = [[first + second, *rest] for first, second, *rest in phases]
    longest = [max(phase, key=lambda group: sum(seconds[stage] for stage in group)) for phase in phases]
    busy = [stage for group in longest for stage in group]
    return sum(seconds[stage] for stage in busy), max(busy, key=lambda stage: seconds[stage])


def _bytes_beside_maps(plan: Plan, planned: Forecast, sides: Mapping[str, Side], images: int) -> int:
    """Stored images, the peak of each map, and correlations with those of the first half, about."""
    matching, generator = plan.recipe.matching, plan.facts.generator
    outline = zoo.outline(generator) if generator else None
    height, width = (outline and outline.image_size) or (plan.recipe.images.side,) * 2
    peaks = _FLOAT32 * images * sum(len(side.units) for side in sides.values())
    if matching.keep == "matrix":
        correlations = _HALVES * _FLOAT32 * sum(one.units[0] * one.units[1] for one in planned.pairs)
    else:
        correlations = matching.keep_neighbours * _NEIGHBOUR * sum(sum(one.units) for one in planned.pairs)
    return 3 * height * width * images + peaks + correlations
