"""`rosetta explain`: where a classifier looks, and which concepts lie there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from command import refused
from PIL import Image
from skimage.data import chelsea

from storage import open_run
from storage.filesystem.root import Root
from storage.upkeep.check import check_root

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cat(tmp_path_factory):
    """A photograph that is no image of the run."""
    path = tmp_path_factory.mktemp("photos") / "cat.png"
    Image.fromarray(chelsea()).save(path)
    return path


def test_a_photograph(run, rosetta, cat, tmp_path):
    picture = tmp_path / "cat.png"
    found = rosetta.json("explain", run[0], cat, "--model", "lite0", "--class", 285, "--out", picture)
    assert found["class"]["name"] == "Egyptian cat"
    assert found["store"] is None
    assert found["layer"] == "blocks.6"
    assert np.shape(found["grad_cam"]) == (7, 7)
    assert len(found["concepts"]) == len(open_run(run[0]).clusters)
    alike = [concept["pearson"] for concept in found["concepts"] if concept["pearson"] is not None]
    assert alike == sorted(alike, reverse=True)
    assert all(concept["weight"] >= 0 for concept in found["concepts"])
    assert 0 < found["share"] <= 1
    with Image.open(picture) as figure:
        assert min(figure.size) > 300


def test_images_of_the_run_are_kept_and_their_page_shows_them(run, rosetta, tmp_path):
    root = Path(shutil.copytree(run[0], tmp_path / "run"))
    done = rosetta("explain", root, 3, "--model", "mobilenet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("image 3: mobilenet gives class ")
    assert "All concepts together explain" in done.stdout
    assert "random units of the same layers explain" in done.stdout
    found = rosetta.json("explain", root, "2:4", "--model", "lite0")
    assert [one["image"] for one in found["images"]] == ["image 2", "image 3"]
    assert (root / "explanations" / "lite0.2-4.zarr" / "zarr.json").exists()
    listed = (root / "report" / "data" / "explained.js").read_text()
    assert '{"images":[2,3]}' in listed
    shown = (root / "report" / "data" / "explained" / "3.js").read_text()
    assert shown.count('"probability"') == 2
    assert check_root(Root(str(root))) == []


def test_what_can_be_wrong_is_one_line(run, here, cat, tmp_path):
    root = run[0]
    refused(here("explain", root, 3, "--model", "dcgan"), "dcgan has no part", "--model is one of lite0, mobilenet")
    refused(here("explain", root, 3, "--model", "untrained"), "untrained has no part")
    refused(here("explain", root, 3, "--model", "lite"), "lite")
    refused(here("explain", root, 24, "--model", "lite0"), "24")
    refused(here("explain", root, 3, "--model", "lite0", "--class", 1000), "no class 1000", "0 to 999")
    refused(here("explain", root, 3, "--model", "lite0", "--layer", "blocks.5"), "no layer 'blocks.5'", "blocks.6")
    refused(here("explain", root, tmp_path / "none.png", "--model", "lite0"), "none.png")
    refused(here("explain", root, cat, "--model", "lite0", "--out", tmp_path / "x.gif"), "x.gif", ".png or .pdf")
    refused(here("explain", root, "0:4", "--model", "lite0", "--out", tmp_path / "x.png"), "--out draws one image")
    refused(here("explain", root, "--model", "lite0"), "give an image of the run", "--all")
    refused(here("explain", root, "30:", "--model", "lite0"), "30: names no image")
    refused(here("explain", tmp_path, cat, "--model", "lite0"), "holds no run")
