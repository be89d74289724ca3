"""Files of the atlas about units: an index of each layer, and a file for every few units with all that is shown."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from rosetta.mining.plan import ranges
from rosetta.view.atlas.histogram import bars
from rosetta.view.atlas.script import number, numbers, put
from rosetta.view.atlas.unit_rows import places
from tasks.report.atlas.rankings import Rankings
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.unit_maps import UnitMaps
from tasks.report.atlas.unit_tables import UnitTables, unit_tables
from tasks.report.atlas.units import Known

FILE = 16_000
"""Bytes of a file of units, about; one unit where that is more."""
_REST = 1_500
"""Bytes of a unit beside its maps, about."""
STATISTICS = ("mean", "std", "maximum", "kurtosis", "half_share")
"""Columns of the table of units that the page shows."""

Index = npt.NDArray[np.int32]
PerFile = dict[str, list[int]]
"""By model and layer: how many units share a file."""


def units_per_file(run: AtlasRun, maps: UnitMaps) -> PerFile:
    """How many units of each layer share a file."""
    found = {}
    for model in run.models:
        size = 4 / 3 * maps.bytes_of(run, model) + _REST
        found[model] = [max(1, int(FILE // size[span].mean())) for _, span in run.stores[model].units.spans()]
    return found


def count_unit_files(run: AtlasRun, per_file: PerFile) -> int:
    """How many files there will be."""
    layers = [layer for model in run.models for layer in run.stores[model].units.layers]
    together = [count for model in run.models for count in per_file[model]]
    return sum(1 + -(-layer.channels // count) for layer, count in zip(layers, together, strict=True))


def unit_files(
    run: AtlasRun, rankings: Rankings, known: Known, maps: UnitMaps, per_file: PerFile
) -> Iterator[tuple[str, bytes]]:
    """`data/unit/<m>.<l>.js` and `data/unit/<m>.<l>.<n>.js` of every layer of every model."""
    rows = [[row.start, row.stop] for row in places(run.pictures.count)]
    for model in run.models:
        tables, concepts = unit_tables(run, model), _concepts(run, model)
        statistics = {name: run.units_of[model][name].to_numpy() for name in STATISTICS}
        for layer, (_, span) in enumerate(run.stores[model].units.spans()):
            key = f"unit/{run.index[model]}.{layer}"
            yield f"data/{key}.js", put(key, _index(span, statistics, concepts, tables))
            of_units = _Units(run, model, rankings, known, maps, tables, concepts)
            for part in ranges(span.stop - span.start, per_file[model][layer]):
                units = range(span.start + part.start, span.start + part.stop)
                value = {"first": part.start, "rows": rows, "units": [of_units.value(unit) for unit in units]}
                name = f"{key}.{part.start // per_file[model][layer]}"
                yield f"data/{name}.js", put(name, value)


def _index(span: slice, statistics: dict[str, npt.NDArray[Any]], concepts: Index, tables: UnitTables) -> dict[str, Any]:
    """What the units of a layer are sorted by."""
    measured = {name: values[span] for name, values in tables.columns.items()}
    names = [tables.names.get(unit, "") for unit in range(span.start, span.stop)]
    return {
        "first": span.start,
        **{name: numbers(values[span]) for name, values in statistics.items()},
        **{name: numbers(values) for name, values in measured.items() if np.isfinite(values).any()},
        "concept": concepts[span].tolist(),
        **({"name": names} if any(names) else {}),
    }


class _Units:
    """All that is known of the units of a model, to be put together unit by unit."""

    def __init__(
        self,
        run: AtlasRun,
        model: str,
        rankings: Rankings,
        known: Known,
        maps: UnitMaps,
        tables: UnitTables,
        concepts: Index,
    ) -> None:
        self._tables, self._concepts = tables, concepts
        self._images, self._peaks = rankings.units[model], rankings.peaks[model]
        self._own, self._census = maps.own[model], maps.census[model]
        self._near = [
            (index, known[model][other], maps.near[model, other], run.scale(other, known[model][other].first))
            for other, index in run.index.items()
            if other in known[model]
        ]
        facts = run.units_of[model]
        self._facts = {name: numbers(facts[name].to_numpy()) for name in STATISTICS}

    def value(self, unit: int) -> dict[str, Any]:
        """What the page shows of a unit."""
        histogram = bars(self._census.counts[unit], self._census.low[unit], self._census.high[unit])
        if histogram:
            histogram |= {name: number(histogram[name]) for name in ("low", "high")}
            histogram["images"] = self._census.images
        near, near_maps = {}, {}
        for index, found, strips, (low, high) in self._near:
            near[str(index)] = found.listed(slice(unit, unit + 1))[0]
            if strips.count[unit]:
                shown = {"grid": strips.grid(unit), "low": number(low[unit]), "high": number(high[unit])}
                near_maps[str(index)] = {**shown, "maps": strips.listed(unit)}
        return {
            **{name: values[unit] for name, values in self._facts.items()},
            "concept": int(self._concepts[unit]),
            "images": self._images[unit].tolist(),
            "peaks": numbers(self._peaks[unit]),
            "grid": self._own.grid(unit),
            "maps": self._own.listed(unit),
            "histogram": histogram,
            "near": near,
            "near_maps": near_maps,
            **{name: listed[unit] for name, listed in self._tables.lists.items() if unit in listed},
        }


def _concepts(run: AtlasRun, model: str) -> Index:
    """(unit,) the first concept that each unit of a model belongs to, −1 where there is none."""
    of = np.full(len(run.stores[model].units), -1, dtype=np.int32)
    rows = run.members[run.members["model"] == model].drop_duplicates("unit")
    of[rows["unit"]] = rows["cluster"]
    return of
