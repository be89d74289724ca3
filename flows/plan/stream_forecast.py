"""What streaming the images of a run will take, of which the maps of only some are stored."""

from collections.abc import Mapping
from dataclasses import dataclass

from dask.utils import format_bytes

from rosetta.mining.grid import product_grid
from rosetta.mining.plan import Side, operations
from rosetta.mining.streamed.passes import passing_bytes
from rosetta.units import Units
from rosetta.view.numbers import counted
from rosetta.view.numbers import operations as shown_operations
from tasks.plan import Plan
from tasks.stage.text_table import print_table
from tasks.stream.stage import plan_stream


@dataclass(frozen=True)
class PassForecast:
    """One pass of all images by the models."""

    profiled: tuple[str, ...]
    """Models of whose layers the sums that trust needs are taken."""
    pairs: tuple[str, ...]
    """Pairs of models that are correlated, or a part of whose units is."""
    sums_bytes: int
    peak_bytes: int
    """Of one worker, beside the models."""
    operations: int
    """Floating-point operations of the products."""


@dataclass(frozen=True)
class StreamForecast:
    """How the images of a run pass by."""

    images: int
    """Of the run."""
    kept: int
    """Those whose maps are stored."""
    block: int
    """Images of a block."""
    passes: tuple[PassForecast, ...]

    def print(self) -> None:
        """Print a table on standard output, and what it means."""
        print_table(
            ("pass", "profiles", "pairs", "sums", "peak", "operations"),
            (
                (
                    number,
                    ", ".join(one.profiled) or "–",
                    ", ".join(one.pairs) or "–",
                    format_bytes(one.sums_bytes),
                    format_bytes(one.peak_bytes),
                    shown_operations(one.operations),
                )
                for number, one in enumerate(self.passes, 1)
            ),
            words=("profiles", "pairs"),
        )
        print()
        print(
            f"{self.images:,} images pass by all models {counted(len(self.passes), 'time', 'times')},"
            f" {self.block} at once; the maps of {self.kept:,} are stored, those of the others forgotten"
        )


def stream_forecast(plan: Plan, sides: Mapping[str, Side], memory: int) -> StreamForecast | None:
    """How the images of a run pass by; None where all maps are stored.

    Raises
    ------
    UserError
        The memory of a worker is too small.
    """
    if plan.streamed is None:
        return None
    units = {name: side.units for name, side in sides.items()}
    planned = plan_stream(units, plan.pairs, plan.streamed, memory, plan.facts.device.partition(":")[0])
    beside = passing_bytes(units, plan.pairs, planned.block)
    passes = []
    for one in planned.passes:
        names = tuple(dict.fromkeys("~".join(pair) for pair, _ in one.tiles))
        count = sum(
            _operations(units[pair[0]].cut(rows), units[pair[1]].cut(columns), plan.streamed)
            for pair, (rows, columns) in one.tiles
        )
        passes.append(PassForecast(one.profiled, names, one.sums_bytes, one.sums_bytes + beside, count))
    return StreamForecast(plan.streamed, plan.image_count, planned.block, tuple(passes))


def _operations(a: Units, b: Units, images: int) -> int:
    return operations(Side(a, images, 1), Side(b, images, 1), product_grid)
