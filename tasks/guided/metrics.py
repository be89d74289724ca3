"""The metrics of inversions and edits in few numbers, and in words for people."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from rosetta.view.guided.contents import Summary
from tasks.guided.features import PREFIX

_QUALITY = {"psnr": (" dB", 2), "ssim": ("", 3), "lpips": ("", 3)}
"""Measure of an inversion → its unit, and how many decimals are shown."""
_NEAR = ("", 4)
"""The same of a distance in features."""
_JUDGED = ("asked_before", "asked_after", "level_before", "level_after", "outside", "unrelated")
"""What models see of an edit, in the order of the table."""


def summarised(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    """Metrics in few numbers.

    Of an inversion, for each kind of guidance: mean and standard deviation over the images, and where there is a row
    without guidance the mean difference to it, its standard error, on how many images it is above 0, and the p-value of
    Wilcoxon's signed-rank test. Of an edit, for each model: means, and the share of images on which it worked.
    """
    return _edit_rows(metrics) if "worked" in metrics else _inversion_rows(metrics)


def _inversion_rows(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    groups = {str(name): rows.set_index("image") for name, rows in metrics.groupby("guidance", sort=False)}
    entries = []
    measures = _measures(metrics)
    for name, rows in groups.items():
        entry: dict[str, Any] = {"guidance": name, "images": len(rows)}
        for column in (*measures, "act"):
            values = rows[column].to_numpy(np.float64)
            if np.isfinite(values).any():
                entry[column], entry[f"{column}_std"] = float(np.nanmean(values)), float(np.nanstd(values))
            if "none" in groups and name != "none" and column != "act" and np.isfinite(values).all():
                gain = values - groups["none"].loc[rows.index, column].to_numpy(np.float64)
                entry[f"{column}_gain"] = float(gain.mean())
                if len(gain) > 1:
                    entry[f"{column}_gain_error"] = float(gain.std(ddof=1) / np.sqrt(len(gain)))
                    entry[f"{column}_above"] = int((gain > 0).sum())
                    entry[f"{column}_p"] = float(wilcoxon(gain).pvalue) if np.any(gain) else 1.0
        entries.append(entry)
    return entries


def _measures(metrics: pd.DataFrame) -> dict[str, tuple[str, int]]:
    """Measure of an inversion → its unit and decimals, for all that are in a table."""
    return _QUALITY | {name: _NEAR for name in metrics.columns if name.startswith(PREFIX)}


def _edit_rows(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    entries = []
    for name, rows in metrics.groupby("model", sort=False):
        entry: dict[str, Any] = {"model": str(name), "images": len(rows), "worked": float(rows["worked"].mean())}
        entry |= {column: float(rows[column].mean()) for column in _JUDGED if np.isfinite(rows[column]).any()}
        if "forecast" in rows and np.isfinite(rows["forecast"]).any():  # an earlier version made none
            entry["forecast"] = float(rows["forecast"].mean())
        if "outside" in entry:
            entry["outside_above_unrelated"] = float((rows["outside"] > rows["unrelated"]).mean())
        entries.append(entry)
    return entries


def summary_table(metrics: pd.DataFrame, kind: str, images: int, shown: int) -> Summary:
    """The numbers of a search as a table for people."""
    note = f"{shown} of {images} images are shown; the store holds all. " if shown < images else ""
    return (_edit_table if kind == "edit" else _inversion_table)(summarised(metrics), note)


def _edit_table(entries: list[dict[str, Any]], note: str) -> Summary:
    columns = ("judged by", "worked on", "asked: before", "after", "level: before", "after", "outside", "unrelated")
    rows = tuple(
        (
            "all models" if entry["model"] == "all" else entry["model"],
            f"{entry['worked']:.0%} of {entry['images']}",
            *(_number(entry.get(column)) for column in _JUDGED),
        )
        for entry in entries
    )
    note += (
        "Judged from outside: correlation of each model’s own maps with the maps that are asked for; level of added or "
        "removed concepts in their boxes, in standard deviations (removed ones negative); correlation of the maps "
        "before and after where no edit touches them, and the same with an unrelated image."
    )
    if forecasts := {entry["forecast"] for entry in entries if "forecast" in entry}:
        told = next(iter(forecasts))
        note += (
            f" Forecast {_signed(told)}: before the edit, how much nearer the nearest mined image was to what is asked "
            "for than the image as it is, by the generator’s maps."
        )
        if told <= 0:
            note += " It is not above 0: this generator does not seem to make that."
    return Summary(columns, rows, note)


def _inversion_table(entries: list[dict[str, Any]], note: str) -> Summary:
    agreement = {entry["guidance"]: _number(entry.get("act")) for entry in entries}
    if not any("psnr" in entry for entry in entries):
        return Summary(("guidance", "L_act"), tuple(agreement.items()), note)
    features = list(dict.fromkeys(name for entry in entries for name in _features(entry)))
    heads = ("PSNR, dB", "SSIM", "LPIPS", *features)
    columns = ("guidance", *(text for head in heads for text in (head, "gain")), "L_act")
    rows = []
    for entry in entries:
        measures = {**_QUALITY, **dict.fromkeys(features, _NEAR)}
        cells = [text(entry, name, digits) for name, (_, digits) in measures.items() for text in (_spread, _gain)]
        rows.append((entry["guidance"], *cells, agreement[entry["guidance"]]))
    note += (
        "Mean ± standard deviation over the images; gains are paired with the row without guidance, ± standard error."
    )
    if not any("lpips" in entry for entry in entries):
        note += " LPIPS is empty: the weights of its backbone are missing; give --lpips alex:FILE."
    if features:
        note += " Distances in features are smaller where images are more alike. No model judges what it guided."
    if any(not any(name in entry for name in features) for entry in entries):
        note += (
            " A row that all models of the run guided has no distance in features; give --judge MODEL=WEIGHTS, a model "
            "outside of the run."
        )
    return Summary(columns, tuple(rows), note)


def _features(entry: Mapping[str, Any]) -> list[str]:
    """The distances in features that an entry of a summary has the mean and standard deviation of."""
    return [name for name in entry if name.startswith(PREFIX) and f"{name}_std" in entry]


def _spread(entry: Mapping[str, Any], key: str, digits: int) -> str:
    return f"{entry[key]:.{digits}f} ± {entry[f'{key}_std']:.{digits}f}" if key in entry else "–"


def _gain(entry: Mapping[str, Any], key: str, digits: int) -> str:
    if f"{key}_gain_error" not in entry:
        return "–"
    gain = f"{entry[f'{key}_gain']:+.{digits}f} ± {entry[f'{key}_gain_error']:.{digits}f}".replace("-", "−")
    return f"{gain} ({entry[f'{key}_above']}/{entry['images']}, p {entry[f'{key}_p']:.1g})"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _number(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.3f}".replace("-", "−")


def numbers_of(metrics: pd.DataFrame, kind: str, guidance: str, image: int) -> tuple[str, ...]:
    """What is written under one result."""
    if kind == "edit":
        rows = metrics[(metrics["image"] == image) & (metrics["model"] == "all")].iloc[0]
        lines = [f"asked {rows['asked_before']:.2f} → {rows['asked_after']:.2f}"]
        if np.isfinite(rows["level_before"]):
            lines.append(f"level {rows['level_before']:.2f} → {rows['level_after']:.2f}")
        if np.isfinite(told := rows.get("forecast", np.nan)):
            lines.append(f"forecast {told:+.2f}")
        return (*(line.replace("-", "−") for line in lines), "worked" if rows["worked"] else "did not work")
    row = metrics[(metrics["image"] == image) & (metrics["guidance"] == guidance)].iloc[0]
    shown = [(f"PSNR {row['psnr']:.1f} dB", row["psnr"]), (f"SSIM {row['ssim']:.3f}", row["ssim"])]
    shown += [(f"LPIPS {row['lpips']:.3f}", row["lpips"]), (f"L_act {row['act']:.3f}".replace("-", "−"), row["act"])]
    return tuple(text for text, value in shown if np.isfinite(value))


def lines(summary: list[dict[str, Any]]) -> list[str]:
    """A summary for a terminal, a line an entry."""
    texts = []
    for entry in summary:
        if "model" in entry:
            line = f"{entry['model']:12} worked on {entry['worked']:.0%} of {entry['images']}"
            line += f"  asked {_number(entry.get('asked_before'))} → {_number(entry.get('asked_after'))}"
            if "level_before" in entry:
                line += f"  level {_number(entry['level_before'])} → {_number(entry['level_after'])}"
            if "forecast" in entry and entry["model"] == "all":
                line += f"  forecast {_signed(entry['forecast'])}"
        else:
            line = f"{entry['guidance']:12}"
            measures = _QUALITY | dict.fromkeys(_features(entry), _NEAR)
            for key, (unit, digits) in measures.items():
                if key in entry:
                    line += f"  {key if key not in _QUALITY else key.upper()} {_spread(entry, key, digits)}{unit}"
                if f"{key}_gain_error" in entry:
                    line += f" (gain {_gain(entry, key, digits)})"
            if "act" in entry:
                line += f"  L_act {_number(entry['act'])}"
        texts.append(line)
    return texts
