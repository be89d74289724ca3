"""A simulated run in words and tables."""

from dask.utils import format_bytes

from flows.plan.simulated import STAGES, Simulation, Way
from rosetta.view.numbers import count, counted, operations, significant
from tasks.stage.text_table import print_table

_DIGITS = 2
"""Of times: more would be a promise."""
_LEAST = 0.01
"""Shorter times are not told apart."""
_UNITS = {"Hours": 1.0, "Minutes": 60.0, "Seconds": 3600.0}
"""Units of time, with how many of them make an hour."""


def print_simulation(simulation: Simulation) -> None:
    """Print it on standard output."""
    devices = f"{count(simulation.count)} × {simulation.title}"
    print(f"{devices} in {counted(simulation.nodes, 'node', 'nodes')}, {count(simulation.images)} images")
    print()
    print_table(
        ("model", "", "units", "an image", "images/s a device", "rate"),
        (
            (
                one.name,
                one.model,
                one.units,
                "–" if one.flop_per_image is None else operations(one.flop_per_image),
                significant(1 / one.seconds_per_image) if one.seconds_per_image else "–",
                one.source,
            )
            for one in simulation.models
        ),
        words=("model", "", "rate"),
    )
    print()
    unit = _unit(simulation.best.total_hours)
    print_table(
        ("images.keep", "passes", *STAGES, "in all", "node-hours", "on disk", "limited by"),
        (
            (
                _keep(way),
                way.passes,
                *(_time(way.hours[stage], unit) for stage in STAGES),
                _time(way.total_hours, unit),
                _time(way.node_hours, "Hours"),
                format_bytes(way.bytes_stored),
                way.slowest,
            )
            for way in simulation.ways
        ),
        words=("images.keep", "limited by"),
    )
    print(f"{unit}. Models, encoding and writing go on side by side, and so do products and reading.")
    print()
    print(_recommendation(simulation))
    if simulation.estimates:
        print(f"Estimates, neither measured nor from a data sheet: {', '.join(simulation.estimates)}")
    if estimated := [one.model for one in simulation.models if one.source == "estimate"]:
        print(
            f"Models are estimated from their operations. To measure one on such a device: rosetta zoo {estimated[0]}"
            " --measure FILE, then --rates FILE here"
        )
    for file in simulation.unused:
        print(f"Not used: {file} is of another model or another device")
    print("Not counted: start, tests of trust, tables and page; nothing was written")
    for name, reason in simulation.unseen.items():
        if reason is not None:
            print(f"Before it can run: model {name!r}: {reason}")


def _keep(way: Way) -> str:
    return '"all"' if way.keep is None else str(way.keep)


def _unit(hours: float) -> str:
    """The largest unit of which there is at least one."""
    return next((unit for unit, many in _UNITS.items() if hours * many >= 1), "Seconds")


def _time(hours: float, unit: str) -> str:
    value = hours * _UNITS[unit]
    if not value:
        return "–"
    return significant(value, _DIGITS) if value >= _LEAST else f"< {_LEAST}"


def _recommendation(simulation: Simulation) -> str:
    best = simulation.best
    others = [way for way in simulation.ways if way is not best]
    if not others:
        return 'Recommended: images.keep = "all"; nothing is gained by keeping fewer'
    (other,) = others
    unit = _unit(best.total_hours)
    times = [f"{_time(way.total_hours, unit)} {unit.lower()}" for way in (best, other)]
    stored = [format_bytes(way.bytes_stored) for way in (best, other)]
    return (
        f"Recommended: images.keep = {_keep(best)}, {times[0]} and {stored[0]} on disk;"
        f" images.keep = {_keep(other)} takes {times[1]} and {stored[1]}"
    )
