"""Metrics in few numbers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.guided.metrics import lines, summarised, summary_table


def inversion(images: int = 12, lpips: bool = False) -> pd.DataFrame:
    random = np.random.default_rng(0)
    frames = []
    for guidance in ("none", "lite0", "all"):
        frame = pd.DataFrame({"guidance": guidance, "image": np.arange(images), "source": "x"})
        frame["psnr"], frame["ssim"] = random.normal(30, 3, images), random.uniform(0.5, 1, images)
        frame["lpips"] = random.uniform(0, 1, images) if lpips else np.nan
        frame["rec"], frame["reg"], frame["act"] = 0.1, 0.2, np.nan if guidance == "none" else 0.3
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def edit() -> pd.DataFrame:
    columns = {"asked_before": 0.1, "asked_after": 0.3, "level_before": np.nan, "level_after": np.nan}
    rows = [
        {"model": model, "image": image, **columns, "outside": 0.5 + 0.1 * image, "unrelated": 0.6, "worked": image > 0}
        for model in ("lite0", "all")
        for image in range(4)
    ]
    return pd.DataFrame(rows)


def test_gains_are_paired_with_the_row_without_guidance():
    metrics = inversion()
    # The order of the rows must not matter: images are paired by their index.
    shuffled = metrics.sample(frac=1, random_state=1).sort_values("guidance", kind="stable", key=lambda g: g != "none")
    entries = {entry["guidance"]: entry for entry in summarised(shuffled)}
    wide = metrics.pivot(index="image", columns="guidance", values="psnr")
    gain = wide["all"] - wide["none"]
    found = entries["all"]
    assert found["psnr_gain"] == pytest.approx(gain.mean())
    assert found["psnr_gain_error"] == pytest.approx(stats.sem(gain))
    assert found["psnr_above"] == (gain > 0).sum()
    assert found["psnr_p"] == pytest.approx(stats.wilcoxon(gain).pvalue)
    assert "psnr_gain" not in entries["none"]
    assert entries["none"]["psnr"] == pytest.approx(wide["none"].mean())


def test_lpips_that_was_not_measured_is_empty_and_says_why():
    table = summary_table(inversion(), "inversion", 12, 12)
    place = table.columns.index("LPIPS")
    assert {row[place] for row in table.rows} == {"–"}
    assert "--lpips" in table.note
    measured = summary_table(inversion(lpips=True), "inversion", 12, 12)
    assert "–" not in {row[place] for row in measured.rows}
    assert "--lpips" not in measured.note


def test_of_an_edit_the_shares_of_the_images():
    first, together = summarised(edit())
    assert (first["model"], together["model"]) == ("lite0", "all")
    assert first["worked"] == 0.75
    assert first["outside_above_unrelated"] == pytest.approx(0.5)
    assert "level_before" not in first


def test_one_image_has_no_spread_to_test():
    metrics = inversion(1)
    found = summarised(metrics)[2]
    assert "psnr_p" not in found
    assert all("nan" not in line for line in lines(summarised(metrics)))


def test_tables_are_as_wide_as_their_heads():
    without = inversion()
    without[["psnr", "ssim"]] = np.nan
    for metrics, kind in ((inversion(), "inversion"), (without, "inversion"), (edit(), "edit")):
        table = summary_table(metrics, kind, 12, 4)
        assert {len(row) for row in table.rows} == {len(table.columns)}
        assert "4 of 12 images are shown" in table.note
