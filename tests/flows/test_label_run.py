"""`rosetta label` as a user runs it: names, what is left alone, what is checked, and what is one line."""

import json

import coloured_runs
import numpy as np
import open_clip
import pytest
import torch
import toy_clip
from command import refused
from safetensors.torch import save_file

from rosetta.naming.vocabulary import shipped
from storage.artifacts import tables
from storage.artifacts.catalogue import LABELS, MASKS, WORDS
from storage.artifacts.words import WordStore
from storage.filesystem.root import Root
from storage.upkeep.check import check_root
from storage.upkeep.mend import mend
from storage.upkeep.prune import find_leftovers
from storage.upkeep.status import artifacts

pytestmark = pytest.mark.slow

OURS = {LABELS.path(), MASKS.path(), WORDS.path()}
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def root(tmp_path):
    coloured_runs.write(tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def words(tmp_path):
    (tmp_path / "words.txt").write_text("# plain\n" + "\n".join(toy_clip.WORDS))
    return tmp_path / "words.txt"


def damaged(root):
    """What is wrong with the names."""
    return [one for one in check_root(Root(str(root))) if one.part_of in OURS]


def test_names_from_text_and_masks(tiny, root, words):
    asked = ("label", root, "--text", "python:toy_clip:agreeing", "--weights", "random:0", "--words", words)
    found = tiny.json(*asked)
    assert [stage["outcome"] for stage in found["stages"]] == ["done"]
    assert found["summary"]["named"] == 8
    assert [name["label"] for name in found["summary"]["names"]] == list(toy_clip.COLOURS)
    content = (root / LABELS.path()).read_bytes()
    assert [stage["outcome"] for stage in tiny.json(*asked)["stages"]] == ["skipped"]
    refused(tiny(*asked, "--units"), "words.zarr was made from something else (units: false → true)", "--replace")
    refused(tiny(*asked[:5], "random:1", *asked[6:]), "weights_sha256", "--replace")
    assert (root / LABELS.path()).read_bytes() == content
    done = tiny(*asked, "--units", "--replace")
    assert done.returncode == 0, done.stderr
    assert "8 of 10 concepts have a name that fits better than chance." in done.stdout
    assert "units of Rosetta neurons have one." in done.stdout
    done = tiny("label", root, "--masks", "python:toy_clip:segmenter", "--quantile", 0.02)
    assert done.returncode == 0, done.stderr
    assert "16 of 20 units of Rosetta neurons have a label with an IoU above 0.04." in done.stdout
    assert "8 of 10 concepts have one." in done.stdout
    # Sealed, checked and mended as the rest of a run is.
    assert not damaged(root)
    assert {one.artifact: one.state for one in artifacts(Root(str(root))) if one.artifact in OURS} == dict.fromkeys(
        OURS, "complete"
    )
    assert not any(leftover.path in OURS for leftover in find_leftovers(Root(str(root))).leftovers)
    path = root / MASKS.path()
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    assert [one.artifact for one in damaged(root)] == [MASKS.path()]
    assert ("tables/masks.parquet", "rosetta label") in [(one.artifact, one.again) for one in mend(Root(str(root)))]
    assert not path.exists()
    assert not damaged(root)


def test_a_real_model_with_random_weights(tiny, root, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    config = {"model_cfg": TINY, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = open_clip.CLIP(**TINY)
    save_file(module.state_dict(), str(folder / "open_clip_model.safetensors"))
    found = tiny.json("label", root, "--text", f"open_clip/local-dir:{folder}")
    assert found["summary"]["concepts"] == 10
    assert found["summary"]["named"] == 0
    rows = tables.read(Root(str(root)), LABELS.path())
    assert len(rows) == 50
    assert np.isfinite(rows[["score", "score_null"]]).all(axis=None)
    assert WordStore.read(Root(str(root))).score.shape == (10, len(shipped()))


def test_what_can_be_wrong_is_one_line(here, root, words):
    refused(here("label", root), "either --text MODEL or --masks FOLDER")
    refused(here("label", root, "--text", "a/b", "--masks", "x"), "either --text MODEL or --masks FOLDER")
    refused(here("label", root, "--masks", "x", "--words", words), "--words is of no use with --masks")
    refused(here("label", root, "--masks", "x", "--weights", "random:0"), "--weights are of a segmentation model")
    refused(here("label", root, "--masks", "x", "--quantile", 2), "quantile")
    refused(here("label", root, "--text", "timm/resnet18"), "no text tower")
    refused(here("label", root.parent, "--masks", "x"), "holds no run")
    (root / "recipe.toml").unlink()
    refused(here("label", root, "--masks", "x"), "holds no run")
