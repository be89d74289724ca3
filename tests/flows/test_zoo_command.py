"""`rosetta zoo`: every family in a line, one model with its layers, memory and time."""

import json
import sys
import types

import pytest
from refusals import refused as is_refused
from torch import nn

from flows.command import main


def _printed(capsys, *arguments: str) -> str:
    main(["zoo", *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_line_for_each_family(capsys):
    families = json.loads(_printed(capsys, "--json"))
    lines = _printed(capsys).splitlines()
    assert [line.split()[0] for line in lines] == list(families)
    assert all(family["about"] in line for family, line in zip(families.values(), lines, strict=True))
    assert "deep-256" in families["biggan"]["models"]


def test_a_model_in_numbers(capsys):
    found = json.loads(_printed(capsys, "timm/test_vit2", "--device", "cpu", "--json"))
    assert (found["model"], found["role"], found["image_size"]) == ("timm/test_vit2", "discriminative", [160, 160])
    assert found["units"] == sum(layer["channels"] for layer in found["layers"])
    assert [layer["first_unit"] for layer in found["layers"]] == list(
        range(0, found["units"], found["layers"][0]["channels"])
    )
    first = found["layers"][0]
    assert (first["name"], first["grid_y"], first["grid_x"]) == ("blocks.0.mlp.act", 10, 10)
    assert first["bytes_per_image"] == first["channels"] * 10 * 10 * 4
    assert found["bytes_per_image"] == sum(layer["bytes_per_image"] for layer in found["layers"])
    assert 0 < found["forward_seconds"] < 10
    assert found["device"] == "cpu"
    assert found["preprocessing"]["interpolation"] == "bicubic"


def test_a_generator_in_words(capsys):
    said = _printed(capsys, "dcgan/digiface", "--device", "cpu")
    assert "dcgan/digiface: 960 units in 4 layers" in said
    assert "images of 64 × 64 from 100 latents" in said
    (row,) = (line.split() for line in said.splitlines() if "main.5" in line)
    assert row[:6] == ["main.5", "256", "8", "×", "8", "512"]
    assert "s for a forward pass on cpu" in said


def test_a_layer_that_reaches_beyond_the_image(capsys, monkeypatch):
    def make():
        net = nn.Sequential(nn.ZeroPad2d(10), nn.ZeroPad2d(-10))
        net.image_size = 16
        net.map_frames = {"0": (-0.625, -0.625, 1.625, 1.625)}
        net.default_layers = "*"
        return net

    monkeypatch.setitem(sys.modules, "framed", types.SimpleNamespace(make=make))
    said = _printed(capsys, "python:framed:make", "--device", "cpu")
    rows = [line.split() for line in said.splitlines() if line.startswith(("0 ", "1 "))]
    assert rows[0][:8] == ["0", "3", "16", "×", "16", "of", "36", "×"]
    assert rows[1][:6] == ["1", "3", "16", "×", "16", "3"]
    assert "cropped" in said
    assert "cropped" not in _printed(capsys, "timm/test_vit2", "--device", "cpu")


def test_an_entry_can_be_changed(capsys):
    found = json.loads(_printed(capsys, "timm/test_resnet", "--set", 'layers=["layer2"]', "--device", "cpu", "--json"))
    assert [layer["name"] for layer in found["layers"]] == ["layer2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["timm/resnet5o"], ["did you mean"]),
        (["tim/resnet50"], ["did you mean 'timm'"]),
        (["timm/test_resnet", "--set", "condition.classes=[3]"], ["takes no condition.classes", "it takes none"]),
        (["timm/test_resnet", "--set", "condition.trunkation=1"], ["trunkation", "truncation"]),
        (["biggan/deep-128", "--set", "condition.classes=[3, 1000]"], ["has 1000", "0 to 999"]),
        (["biggan/deep-128", "--set", "condition.truncation=0"], ["truncation", "greater than 0"]),
        (["dcgan/digiface", "--device", "cuda:77"], ["no cuda:77 here"]),
    ],
)
def test_bad_input(here, arguments, words):
    is_refused(here("zoo", *arguments), *words)
