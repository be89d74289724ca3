"""Pictures of the tests that need more than correlations of whole maps: other images, mixtures, positions, classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rosetta.mining.trust.tests import TESTS
from rosetta.view.numbers import count, counted, knob, percent
from rosetta.view.plots import svg
from rosetta.view.trust.contents import Matches, Numbers, TrustStory
from rosetta.view.trust.plots import SIDE, Group, Picture, dots, kinds, label, missing, scatter, spread

_INTERVALS = 160
"""Intervals that are drawn, at most."""
_STEPS = 400
"""Points of a cumulative curve, at most."""
_FEW, _MANY = 0.1, 0.5
"""Shares of a correlation that rest on few positions, where colours change."""
_TOP, _HIGH = 0.155, 0.69
"""Of a picture's height: what the names below take, and the axes."""


def held_out(matches: Matches, level: float) -> Picture:
    """The correlation on images that did not choose the match, against the one on all."""
    left = matches["pearson_held_out"]
    return scatter(
        matches["pearson"], left, kinds(matches["control"]), ("r", "r, held out"), floor=level, note=_above(left, level)
    )


def excess(matches: Matches, level: float) -> Picture:
    """The best correlation of each unit against the best of the mixtures at the same rank."""
    rotated, over = matches["pearson_rotated"], matches["excess"]
    return scatter(
        rotated, rotated + over, kinds(matches["control"]), ("best r of mixtures, same rank", "best r of the unit"),
        below="mixtures do as well", note=f"{count(int((over > level).sum()))} have an excess above {knob(level)}.",
    )  # fmt: skip


def alone(matches: Matches, level: float) -> Picture:
    """How far each unit is alone in what it knows of its best partner."""
    left = matches["alone"]
    return scatter(
        matches["pearson"], left, kinds(matches["control"]), ("r", "alone"), floor=level, note=_above(left, level)
    )


def robust(matches: Matches, level: float) -> Picture:
    """What is left of clipped maps, coloured by the share that few positions carry."""
    share, left = matches["few_positions"], matches["pearson_robust"]
    known = np.isfinite(share)
    groups = [
        Group(f"≤ {percent(_FEW)}", known & (share <= _FEW), svg.QUIET),
        Group(f"≤ {percent(_MANY)}", known & (share > _FEW) & (share <= _MANY), svg.ACCENT),
        Group("more", known & (share > _MANY), svg.CONTROL),
    ]
    note = f"{_above(left, level)} Colours: the share of r that rests on few positions."
    return scatter(matches["pearson"], left, groups, ("r", "r, clipped"), floor=level, note=note)


def within(matches: Matches, level: float) -> Picture:
    """What is left within classes."""
    left = matches["pearson_within"]
    return scatter(
        matches["pearson"], left, kinds(matches["control"]), ("r", "r within classes"), floor=level,
        note=_above(left, level),
    )  # fmt: skip


def _above(left: Numbers, level: float) -> str:
    return f"{count(int((left > level).sum()))} are above the dotted line at {knob(level)}."


def interval(matches: Matches, level: float) -> Picture:
    """The intervals of matches with trained models, sorted by correlation."""
    low, high, r = matches["pearson_low"], matches["pearson_high"], matches["pearson"]
    here = np.isfinite(low) & np.isfinite(high) & np.isfinite(r) & ~matches["control"]
    gone = missing(int((~matches["control"]).sum() - here.sum()), "no interval")
    if not here.any():
        return Picture("", f"There is no interval to draw.{gone}")
    order = np.flatnonzero(here)[np.argsort(r[here], kind="stable")]
    drawn = order[spread(len(order), _INTERVALS)]
    clear = low > level
    with svg.style():
        figure = Figure(figsize=(SIDE, 2.6))
        axes = figure.add_axes((0.12, _TOP, 0.87, _HIGH))
        handles = []
        groups = (clear, svg.ACCENT, f"begin above {knob(level)}"), (~clear, svg.CONTROL, "do not")
        for kept, colour, told in groups:
            places = np.flatnonzero(kept[drawn])
            axes.vlines(places, low[drawn][places], high[drawn][places], color=colour, linewidth=0.9, alpha=0.6)
            dots(axes, places.astype(np.float64), r[drawn][places], colour, width=2.0)
            total = int((kept & here).sum())
            if total:
                handles.append(Line2D([], [], color=colour, label=f"{told} ({count(total)})"))
        axes.axhline(level, color=svg.INK, linewidth=0.8, linestyle=(0, (1, 1.5)))
        axes.set_xlim(-1, len(drawn))
        axes.set_ylim(min(0.0, float(low[drawn].min())) - 0.03, min(1.0, float(high[drawn].max())) + 0.03)
        axes.set_xticks([])
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        label(axes, "matches with trained models, by rising r", "r and its 95 % interval")
        _legend(figure, handles)
        plot = svg.text(figure, "Correlations with their intervals")
    width = float(np.median((high - low)[here]))
    some = f" {count(len(drawn))} of them are drawn, evenly over all." if len(drawn) < len(order) else ""
    return Picture(
        plot,
        f"{counted(len(order), 'match', 'matches')}; half of the intervals are narrower than {width:.2f}.{some}{gone}",
    )


def influence(matches: Matches, level: float) -> Picture:
    """How many matches one image changes by how little."""
    values, control = matches["influence"], matches["control"]
    here = np.isfinite(values)
    gone = missing(len(here) - int(here.sum()), "no influence")
    if not here.any():
        return Picture("", f"There is no influence to draw.{gone}")
    least = max(1e-4, float(np.quantile(values[here], 0.01)))
    with svg.style():
        figure = Figure(figsize=(SIDE, 2.4))
        axes = figure.add_axes((0.12, _TOP, 0.87, _HIGH))
        handles = []
        for group in kinds(control):
            chosen = np.sort(np.maximum(values[here & group.mask], least))
            if not len(chosen):
                continue
            share = np.arange(1, len(chosen) + 1) / len(chosen)
            drawn = spread(len(chosen), _STEPS)
            axes.plot(chosen[drawn], share[drawn], color=group.colour, linewidth=1.6)
            handles.append(Line2D([], [], color=group.colour, label=f"{group.label} ({count(len(chosen))})"))
        axes.axvline(level, color=svg.INK, linewidth=0.8, linestyle=(0, (1, 1.5)))
        axes.set_xscale("log")
        axes.set_xlim(least, max(2 * level, float(values[here].max()) * 1.1))
        axes.set_ylim(0.0, 1.02)
        axes.xaxis.set_major_formatter("{x:g}")
        label(axes, "largest change by one image (log scale)", "share of matches")
        _legend(figure, handles)
        plot = svg.text(figure, "How much one image changes correlations")
    over = int((values[here] > level).sum())
    return Picture(plot, f"{count(over)} of {counted(int(here.sum()), 'match', 'matches')} change by more than "
                         f"{knob(level)}, right of the dotted line.{gone}")  # fmt: skip


def one_to_one(matches: Matches) -> Picture:
    """How many matches with trained models stay when each unit has one partner, by their correlation."""
    r, assigned = matches["pearson"], matches["assigned"]
    here = np.isfinite(assigned) & np.isfinite(r) & ~matches["control"]
    gone = missing(int((~matches["control"]).sum() - here.sum()), "not known")
    if not here.any():
        return Picture("", f"There is no match to draw.{gone}")
    low = float(np.floor(r[here].min() * 20) / 20)
    edges = np.arange(low, max(1.0, low + 0.05) + 0.001, 0.05)
    kept, rest = (np.histogram(r[here & flags], edges)[0] for flags in (assigned > 0.5, assigned <= 0.5))
    with svg.style():
        figure = Figure(figsize=(SIDE, 2.4))
        axes = figure.add_axes((0.12, _TOP, 0.87, _HIGH))
        axes.stairs(kept, edges, fill=True, color=svg.ACCENT, alpha=0.7)
        axes.stairs(kept + rest, edges, baseline=kept, fill=True, color=svg.REST)
        axes.set_xlim(low, edges[-1])
        axes.set_ylim(0.0, 1.08 * max(1, int((kept + rest).max())))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        label(axes, "r", "matches per bin of 0.05")
        handles = [
            Patch(color=svg.ACCENT, alpha=0.7, label=f"a pair one to one ({count(int(kept.sum()))})"),
            Patch(color=svg.REST, label=f"not ({count(int(rest.sum()))})"),
        ]
        _legend(figure, handles)
        plot = svg.text(figure, "Matches that are pairs one to one, by correlation")
    share = percent(float(kept.sum()) / int(here.sum()))
    return Picture(plot, f"{share} of {counted(int(here.sum()), 'match', 'matches')} with trained models.{gone}")


def cause(matches: Matches, level: float) -> Picture:
    """How far each partner follows its unit of the generator, against their correlation."""
    effect, q = matches["causal_effect"], matches["causal_q"]
    here = np.isfinite(q)
    groups = [
        Group(f"causal q ≤ {knob(level)}", here & (q <= level), svg.ACCENT),
        Group("more", here & ~(q <= level), svg.QUIET),
    ]
    note = f"{count(int((q <= level).sum()))} of {counted(int(here.sum()), 'match', 'matches')} follow at this rate."
    return scatter(
        matches["pearson"], effect, groups, ("r", "causal effect"), below="less than they correlate", note=note
    )


def _legend(figure: Figure, handles: Sequence[Artist]) -> None:
    figure.legend(
        handles=handles, loc="upper left", ncols=2, bbox_to_anchor=(0.11, 1.0), borderaxespad=0.1,
        handlelength=1.2, columnspacing=1.6, fontsize=7.5,
    )  # fmt: skip


def of_tests(story: TrustStory) -> dict[str, Picture]:
    """By test, of those in this module; one that could not be made of any match says why."""
    matches, limits = story.matches, {test.name: test.limit_in(story.settings) for test in TESTS}
    drawn = {
        "held_out": lambda: held_out(matches, limits["held_out"]),
        "excess": lambda: excess(matches, limits["excess"]),
        "alone": lambda: alone(matches, limits["alone"]),
        "robust": lambda: robust(matches, limits["robust"]),
        "interval": lambda: interval(matches, limits["interval"]),
        "influence": lambda: influence(matches, limits["influence"]),
        "within": lambda: within(matches, limits["within"]),
        "one_to_one": lambda: one_to_one(matches),
        "cause": lambda: cause(matches, limits["cause"]),
    }
    pictures = {}
    for test in TESTS:
        if test.name in drawn:
            blank = len(matches["pearson"]) and test.unasked(matches).all()
            pictures[test.name] = Picture("", _why_not(story, test.name)) if blank else drawn[test.name]()
    return pictures


def _why_not(story: TrustStory, name: str) -> str:
    (test,) = (test for test in TESTS if test.name == name)
    if name == "within" and np.isfinite(story.matches["pearson_low"]).any():
        return "The classes of this run’s images are not known."
    if test.command:
        return f"This run has no such numbers: {test.command} measures them, and rosetta trust joins them."
    return story.why_not(test.measured)
