"""Stage `classes` over a zoo whose units are known to be selective, or not."""

from typing import get_args

import numpy as np
import planted
import pytest
from plans import make, plan_over

from rosetta.recipe import Measurement, Trust
from storage.artifacts import catalogue, tables
from storage.filesystem.root import Root
from tasks.correlate.pair import CORRELATE
from tasks.dump.features import WRITE_FEATURES
from tasks.match.buddies import MATCH
from tasks.match.dictionary import WRITE_DICTIONARY
from tasks.names.classes import TOP, WRITE_CLASSES
from tasks.trust.pair import JUDGE_PAIRS
from tasks.trust.profile import PROFILE
from tasks.trust.table import JOIN_TRUST

IMAGES, CLASSES, UNITS = 120, 4, 6
QUIET = Trust(tests=("chance",), leave_out=get_args(Measurement))


def mined(root, classes, confused=0.0, neighbours=5):
    """Two models; unit u of either likes class u, and the last two like none.

    Where `confused` is more than 0, the class after its own has so much of that, at the same place; others have
    nothing there.
    """
    random = np.random.default_rng(0)
    planted.write_images(root, planted.pictures(random, IMAGES), classes)
    of_image = np.arange(IMAGES) % CLASSES if classes is None else classes
    likes = (of_image[:, None] == np.arange(UNITS)).astype(float)
    shared = random.normal(size=(IMAGES, UNITS, 1, 1))
    for model, grid in (("g", (4, 4)), ("d", (5, 3))):
        rows = np.arange(grid[0])[:, None]
        place = rows == 0 if confused else rows >= 0
        strength = likes + confused * (((of_image[:, None] - 1) % CLASSES) == np.arange(UNITS))
        maps = 5 * strength[:, :, None, None] * place + shared + 0.3 * random.normal(size=(IMAGES, UNITS, *grid))
        planted.write_maps(root, model, {"first": maps[:, :2], "second": maps[:, 2:]})
    plan = plan_over(root, ("g", "d"), neighbours=neighbours, trust=QUIET)
    make(plan, CORRELATE, MATCH, WRITE_FEATURES, PROFILE, JUDGE_PAIRS, JOIN_TRUST, WRITE_DICTIONARY, WRITE_CLASSES)
    return (tables.read(root, one.path()) for one in (catalogue.CLASSES_OF_UNITS, catalogue.CLASSES_OF_CONCEPTS))


def test_units_and_concepts_name_their_class(tmp_path):
    root = Root(str(tmp_path))
    classes = np.random.default_rng(1).permutation(np.arange(IMAGES) % CLASSES)
    units, concepts = mined(root, classes)
    assert units.groupby(["model", "unit"]).size().eq(TOP).all()
    best = units[units["rank"] == 1].set_index(["model", "unit"])
    for model in ("g", "d"):
        for unit in range(UNITS):
            row = best.loc[model, unit]
            assert (row["layer"], row["channel"]) == (("first", unit) if unit < 2 else ("second", unit - 2))
            if unit < CLASSES:
                assert row["label"] == str(unit)
                assert row["auroc"] > 0.95
                assert row["deviation"] > 5
                assert row["images"] == IMAGES // CLASSES
            else:
                assert row["deviation"] < 4
    assert units["auroc"].is_monotonic_decreasing is False
    assert (units.groupby(["model", "unit"])["auroc"].diff().dropna() <= 0).all()
    neurons = tables.read(root, catalogue.ROSETTA.path())
    strongest = neurons[neurons["model"] == "g"].sort_values("rosetta").drop_duplicates("cluster")
    top = concepts[concepts["rank"] == 1].set_index("cluster")
    assert set(top.index) == set(strongest["cluster"])
    for cluster, unit in zip(strongest["cluster"], strongest["unit"], strict=True):
        if unit < CLASSES:
            assert top.loc[cluster, "label"] == str(unit)
            assert top.loc[cluster, "auroc"] > 0.95


def test_what_is_confused_is_found_with_its_maps(tmp_path):
    classes = np.random.default_rng(1).permutation(np.arange(IMAGES) % CLASSES)
    root = Root(str(tmp_path))
    units, concepts = mined(root, classes, confused=0.6, neighbours=1)  # with more, all units are one concept
    best = units[(units["rank"] == 1) & (units["unit"] < CLASSES)]
    assert (best["confused"] == ((best["unit"] + 1) % CLASSES).astype(str)).mean() >= 0.95
    assert best["confusion"].between(0.0, 0.4).all()
    neurons = tables.read(root, catalogue.ROSETTA.path())
    of_g = neurons[neurons["model"] == "g"].sort_values("rosetta").drop_duplicates("cluster").set_index("cluster")
    selective = of_g[of_g["unit"] < CLASSES]
    top = concepts[concepts["rank"] == 1].set_index("cluster").loc[selective.index]
    assert len(top) >= 2
    assert top["label"].tolist() == selective["unit"].astype(str).tolist()
    assert (top["map_pearson"] > 0.9).all()  # both light the same row of the map


def test_without_classes_there_are_no_rows(tmp_path):
    for table in mined(Root(str(tmp_path)), None):
        assert len(table) == 0


@pytest.mark.parametrize("count", [IMAGES, 1])
def test_a_class_of_all_images_or_of_one_says_nothing_but_a_line(tmp_path, count, caplog):
    classes = np.where(np.arange(IMAGES) < count, 0, 1)
    for table in mined(Root(str(tmp_path)), classes):
        assert len(table) == 0
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line == "classes: no class has 2 images and 2 outside of it, so units are selective for none"
