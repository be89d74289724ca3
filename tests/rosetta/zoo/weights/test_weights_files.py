"""The files of a model's weights: copied elsewhere under their names, they are the same weights."""

import json
import shutil
import subprocess
import sys

import pytest
import tinyzoo
import torch
from diffusion_folders import save_unet
from safetensors.torch import save_file

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec


def one_file(folder):
    """A checkpoint as torch saves it, with an ending that people use."""
    torch.save(tinyzoo.small().state_dict(), folder / "ada.PTH")
    return ModelSpec(name="a", model="python:tinyzoo:small", weights=str(folder / "ada.PTH")), "ada.PTH"


def two_shards(folder):
    """A checkpoint in two files with an index."""
    state = tinyzoo.small().state_dict()
    parts = {"1.safetensors": [*state][:2], "2.safetensors": [*state][2:]}
    for file, names in parts.items():
        save_file({name: state[name] for name in names}, folder / file)
    index = {"weight_map": {name: file for file, names in parts.items() for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    weights = str(folder / "model.safetensors.index.json")
    return ModelSpec(name="a", model="python:tinyzoo:small", weights=weights), "model.safetensors.index.json"


def a_folder(folder):
    """A family that takes a folder."""
    weights = str(save_unet(folder / "unet", sample_size=16))
    return ModelSpec(name="a", model="diffusers/custom", weights=weights, condition=Condition(timestep=3)), ""


KINDS = [one_file, two_shards, a_folder]


@pytest.mark.parametrize("kind", KINDS)
def test_copied_files_are_the_same_weights(tmp_path, kind):
    (tmp_path / "there").mkdir()
    spec, entry = kind(tmp_path / "there")
    for name, file in zoo.weights_files(spec):
        target = tmp_path / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open() as stream:
            target.write_bytes(stream.read())
    copied = spec.model_copy(update={"weights": str(tmp_path / "copy" / entry)})
    before = zoo.load(spec)
    shutil.rmtree(tmp_path / "there")
    after = zoo.load(copied)
    assert before.weights_sha256 == after.weights_sha256 == zoo.weights_sha256(copied)
    for one, other in zip(before.module.state_dict().values(), after.module.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_gone(tmp_path, kind):
    spec, _ = kind(tmp_path)
    for path in [*tmp_path.rglob("*.PTH"), *tmp_path.rglob("*.safetensors")]:
        path.unlink()
    with pytest.raises(UserError, match="weights"):
        zoo.weights_files(spec)


@pytest.mark.parametrize("weights", ["random:3", "pretrained"])
def test_weights_without_files(weights):
    assert zoo.weights_files(ModelSpec(name="a", model="python:tinyzoo:small", weights=weights)) == ()


def test_the_hub_says_nothing_of_its_retries() -> None:
    """In a process of its own: the hub's client sets a level once it is imported."""
    program = (
        "import logging\n"
        "from rosetta.zoo.weights.source import quiet_hub\n"
        "with quiet_hub():\n"
        "    import huggingface_hub\n"
        "    print(logging.getLogger('huggingface_hub').getEffectiveLevel() >= logging.ERROR)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
