"""`rosetta zoo MODEL --weights … --check IMAGE` as a user calls it."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from command import refused as is_refused
from PIL import Image

from flows.command.main import main

SIZE = (40, 60)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Weights without a classifier, an image, and what is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.command.zoo._SILENCE", 60)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = timm.create_model("test_vit").state_dict()
    torch.save(state, "whole.pth")
    headless = {name: tensor for name, tensor in state.items() if "head." not in name}
    torch.save(headless | {"more": torch.zeros(1)}, "no.pth")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)).save("photo.png")
    Path("text.png").write_text("not an image")
    Path("empty.png").touch()
    Path("7").mkdir()
    return tmp_path


def test_a_picture_and_what_was_used(folder, capsys):
    main(["zoo", "timm/test_vit", "--weights", "no.pth", "--check", "photo.png"])
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "Used: 78 of the model's 80 tensors are from no.pth.",
        "Left over: 1 (more); the model has no place for them.",
        "Filled in: 2 (head.weight, head.bias); the weights lack them and no captured layer needs them.",
        "Classes: none, as the weights hold no classifier.",
        "Picture: timm-test_vit-check.png",
    ]
    with Image.open("timm-test_vit-check.png") as picture:
        assert picture.width > 2000


def test_a_picture_that_is_there_is_replaced_only_by_name(folder, capfd, here):
    Path("timm-test_vit-check.png").write_text("mine")
    arguments = ["zoo", "timm/test_vit", "--weights", "whole.pth", "--check", "photo.png"]
    is_refused(here(*arguments), "timm-test_vit-check.png is there already", "--out")
    assert Path("timm-test_vit-check.png").read_text() == "mine"
    main([*arguments, "--out", "timm-test_vit-check.png", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert Path("timm-test_vit-check.png").read_bytes().startswith(b"\x89PNG")
    assert found["picture"] == "timm-test_vit-check.png"
    assert found["tensors"] == {"used": 80, "left_over": [], "filled_in": []}
    assert len(found["classes"]) == 5
    assert sum(one["probability"] for one in found["classes"]) < 1
    assert {unit["layer"] for unit in found["units"]} == {f"blocks.{at}.mlp.act" for at in range(6)}


def test_weights_alone_show_layers_and_tensors(folder, capsys):
    main(["zoo", "timm/test_vit", "--weights", "no.pth"])
    said = capsys.readouterr().out
    assert "blocks.5.mlp.act" in said
    assert "Left over: 1 (more)" in said
    main(["zoo", "timm/test_vit", "--weights", "no.pth", "--json"])
    assert json.loads(capsys.readouterr().out)["tensors"]["filled_in"] == ["head.weight", "head.bias"]


def test_a_generator_makes_the_image_of_a_seed(folder, capsys):
    main(["zoo", "dcgan/digiface", "--weights", "random:0", "--check", "3"])
    assert capsys.readouterr().out.splitlines() == [
        "Tensors: none read, the model is untrained.",
        "Picture: dcgan-digiface-check.png",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["timm/test_vit", "--check", "photo.png"], ["--check needs weights", "--weights PATH"]),
        (["timm/test_vit", "--weights", "gone.pth", "--check", "photo.png"], ["'gone.pth'", "no such file"]),
        (["timm/test_vit", "--weights", "no.pth", "--check", "gone.png"], ["--check gone.png: no such file"]),
        (["timm/test_vit", "--weights", "no.pth", "--check", "12"], ["--check 12: no such file", "path of an image"]),
        (["timm/test_vit", "--weights", "no.pth", "--check", "text.png"], ["text.png is not an image that Pillow"]),
        (["timm/test_vit", "--weights", "no.pth", "--check", "empty.png"], ["empty.png is empty"]),
        (["timm/test_vit", "--weights", "no.pth", "--check", "7"], ["--check 7 is a folder"]),
        (["timm/test_vit", "--weights", "no.pth", "--check", "photo.png", "--out", "x/y.png"], ["no folder x"]),
        (["timm/test_vit", "--weights", "no.pth", "--check", "photo.png", "--out", "7"], ["--out 7 is a folder"]),
        (["timm/test_vit", "--weights", "no.pth", "--check", "photo.png", "--time"], ["leave --time"]),
        (["timm/test_vit", "--weights", "no.pth", "--out", "a.png"], ["--out is the picture of --check"]),
        (["timm/test_vit", "--weights", "photo.png", "--check", "photo.png"], ["photo.png"]),
        (["timm/test_resnet", "--weights", "no.pth", "--check", "photo.png"], ["do not fit timm/test_resnet"]),
        (["dcgan/digiface", "--weights", "random:0", "--check", "photo.png"], ["--check photo.png", "seed"]),
        (["--check", "photo.png"], ["need a model"]),
        (["--weights", "no.pth"], ["need a model"]),
    ],
)  # fmt: skip
def test_bad_input(folder, here, arguments, words):
    is_refused(here("zoo", *arguments), *words)
    assert not Path("timm-test_vit-check.png").exists()
