"""`rosetta zoo`: every family in a line, one model with its layers and memory, its time where that is asked."""

import json
import sys
import time
import types

import pytest
from command import refused as is_refused
from torch import Tensor, nn

from flows.command import zoo as zoo_command
from flows.command.main import main
from rosetta import zoo


class Undecided(nn.Module):
    """Its path through itself depends on what it sees, so that shapes alone do not tell it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images) if images.sum().item() < 0 else self.body(images) * 2


def undecided() -> nn.Module:
    """Built at once."""
    return Undecided()


def slow() -> nn.Module:
    """Built in a while."""
    time.sleep(0.2)
    return Undecided()


@pytest.fixture
def never_run(monkeypatch):
    """No model computes anything while this lasts."""

    def refuse(*_: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("rosetta.zoo.load", refuse)


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


def test_a_model_in_numbers(capsys, never_run):
    found = json.loads(_printed(capsys, "timm/test_vit2", "--json"))
    assert (found["model"], found["role"], found["image_size"]) == ("timm/test_vit2", "discriminative", [160, 160])
    assert found["units"] == sum(layer["channels"] for layer in found["layers"])
    assert [layer["first_unit"] for layer in found["layers"]] == list(
        range(0, found["units"], found["layers"][0]["channels"])
    )
    first = found["layers"][0]
    assert (first["name"], first["grid_y"], first["grid_x"]) == ("blocks.0.mlp.act", 10, 10)
    assert first["bytes_per_image"] == first["channels"] * 10 * 10 * 4
    assert found["bytes_per_image"] == sum(layer["bytes_per_image"] for layer in found["layers"])
    assert not {"forward_seconds", "device"} & set(found)
    assert found["preprocessing"]["interpolation"] == "bicubic"


def test_time_where_it_is_asked(capsys):
    plain = json.loads(_printed(capsys, "timm/test_vit2", "--json"))
    timed = json.loads(_printed(capsys, "timm/test_vit2", "--time", "--device", "cpu", "--json"))
    assert 0 < timed.pop("forward_seconds") < 10
    assert timed.pop("device") == "cpu"
    assert timed == plain
    said = _printed(capsys, "timm/test_vit2", "--time", "--device", "cpu").splitlines()
    assert said[:-1] == _printed(capsys, "timm/test_vit2").splitlines()
    assert said[-1].startswith("A forward pass of one image takes ")
    assert said[-1].endswith(" s on cpu.")


def test_a_measured_file(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.plan.measured.batch_seconds", lambda model, images: 0.5 * images)
    file = tmp_path / "vit.json"
    said = _printed(capsys, "timm/test_vit2", "--measure", str(file), "--device", "cpu")
    measured = json.loads(file.read_text())
    assert said.startswith("timm/test_vit2 on cpu: 2.00 images/s in batches of 4, ")
    assert said.endswith(f"Written to {file}\n")
    assert (measured["model"], measured["device"], measured["seconds_per_image"]) == ("timm/test_vit2", "cpu", 0.5)
    assert json.loads(_printed(capsys, "timm/test_vit2", "--measure", str(file), "--json")) == measured


def test_the_layers_are_there_before_the_time(capsys, monkeypatch):
    def seconds(_: zoo.Model) -> float:
        assert "dcgan/digiface: 960 units" in capsys.readouterr().out
        return 2.0

    monkeypatch.setattr("rosetta.zoo.timing.forward_seconds", seconds)
    assert _printed(capsys, "dcgan/digiface", "--time", "--device", "cpu") == (
        "A forward pass of one image takes 2 s on cpu.\n"
    )


def test_a_model_that_must_be_run(capsys, monkeypatch):
    whole = json.loads(_printed(capsys, f"python:{__name__}:undecided", "--json"))
    assert [(layer["name"], layer["channels"], layer["grid_y"]) for layer in whole["layers"]] == [("body", 5, 224)]
    timed = json.loads(_printed(capsys, f"python:{__name__}:undecided", "--time", "--device", "cpu", "--json"))
    assert timed["forward_seconds"] > 0
    assert timed["layers"] == whole["layers"]
    monkeypatch.setattr(zoo_command, "_SILENCE", 0.05)
    main(["zoo", f"python:{__name__}:slow", "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out)["layers"] == whole["layers"]
    assert err == f"Building python:{__name__}:slow and running it once on cpu. Large models take a minute.\n"


def test_weights_that_are_named_decide(capsys, monkeypatch):
    """What a model is may be read off its weights; another's outline says nothing of it."""
    outlined = json.loads(_printed(capsys, "dcgan/digiface", "--json"))
    monkeypatch.setattr("rosetta.zoo.outline", lambda _: pytest.fail("an outline was asked for"))
    weights = "package:gan_face_generate/weights.tar"
    named = json.loads(_printed(capsys, "dcgan/digiface", "--set", f'weights="{weights}"', "--json"))
    assert named.pop("tensors") == {"used": 21, "left_over": [], "filled_in": []}
    assert named == outlined


def test_a_generator_in_words(capsys, never_run):
    said = _printed(capsys, "dcgan/digiface")
    assert "dcgan/digiface: 960 units in 4 layers" in said
    assert "images of 64 × 64 from 100 latents" in said
    (row,) = (line.split() for line in said.splitlines() if "main.5" in line)
    assert row[:6] == ["main.5", "256", "8", "×", "8", "512"]
    assert "forward pass" not in said


def test_a_layer_that_reaches_beyond_the_image(capsys, monkeypatch):
    def make():
        net = nn.Sequential(nn.ZeroPad2d(10), nn.ZeroPad2d(-10))
        net.image_size = 16
        net.map_frames = {"0": (-0.625, -0.625, 1.625, 1.625)}
        net.default_layers = "*"
        return net

    monkeypatch.setitem(sys.modules, "framed", types.SimpleNamespace(make=make))
    said = _printed(capsys, "python:framed:make")
    rows = [line.split() for line in said.splitlines() if line.startswith(("0 ", "1 "))]
    assert rows[0][:8] == ["0", "3", "16", "×", "16", "of", "36", "×"]
    assert rows[1][:6] == ["1", "3", "16", "×", "16", "3"]
    assert "cropped" in said
    assert "cropped" not in _printed(capsys, "timm/test_vit2")


def test_an_entry_can_be_changed(capsys):
    found = json.loads(_printed(capsys, "timm/test_resnet", "--set", 'layers=["layer2"]', "--json"))
    assert [layer["name"] for layer in found["layers"]] == ["layer2"]


def test_options_of_an_entry(capsys, never_run):
    told = ("timm/test_vit", "--set", "options.dynamic_img_size=true", "--set", "options.depth=2")
    assert "Built with options dynamic_img_size = true, depth = 2." in _printed(capsys, *told)
    found = json.loads(_printed(capsys, *told, "--json"))
    assert found["options"] == {"dynamic_img_size": True, "depth": 2}
    assert found["published"] == "timm/test_vit.r160_in1k"
    assert len(found["layers"]) == 2


def test_the_places_of_a_module(capsys):
    found = json.loads(
        _printed(capsys, "torchvision/resnet18", "--layers", "layer1.0.relu", "--layers", "fc", "--json")
    )
    assert [(place["name"], place["channels"], place["grid"]) for place in found] == [
        *((f"layer1.0.relu#{run}{part}", 64, [56, 56]) for run in (1, 2) for part in ("@in", "")),
        ("fc@in", None, None),
        ("fc", None, None),
    ]
    assert found[-1]["reason"] == "gives a tensor of shape (1, 1000), which is no map"
    said = _printed(capsys, "torchvision/resnet18", "--layers", "layer1.0.relu#2")
    assert [line.split()[:4] for line in said.splitlines()[1:]] == [["layer1.0.relu#2", "64", "56", "×"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["timm/test_vit", "--layers", "blok.*"], ["no place matches blok.*"]),
        (["timm/test_vit", "--layers", "blocks.0", "--time"], ["give one of them"]),
        (["--layers", "blocks.0"], ["need a model"]),
        (["timm/resnet5o"], ["did you mean"]),
        (["timm/test_vit", "--set", "options.dept=2"], ["takes no option 'dept'", "'depth'"]),
        (["timm/test_vit", "--set", "options.img_size=96"], ["options.img_size cannot be set", "`size`"]),
        (["timm/test_vit", "--set", "size=100"], ["cannot take images of 100 × 100", "[96, 96]"]),
        (["tim/resnet50"], ["did you mean 'timm'"]),
        (["timm/test_resnet", "--set", "condition.classes=[3]"], ["takes no condition.classes", "it takes none"]),
        (["timm/test_resnet", "--set", "condition.trunkation=1"], ["trunkation", "truncation"]),
        (["biggan/deep-128", "--set", "condition.classes=[3, 1000]"], ["has 1000", "0 to 999"]),
        (["biggan/deep-128", "--set", "condition.truncation=0"], ["truncation", "greater than 0"]),
        (["timm/test_resnet", "--set", 'layers=["nope"]'], ["no module matches the layer 'nope'"]),
        (["dcgan/digiface", "--time", "--device", "cuda:77"], ["no cuda:77 here"]),
        (["dcgan/digiface", "--time", "--device", "gpu"], ["compute.device", "'gpu'"]),
        (["dcgan/digiface", "--device", "cpu"], ["--time and --measure", "add one of them"]),
        (["dcgan/digiface", "--time", "--measure", "a.json"], ["give one of them"]),
        (["dcgan/digiface", "--measure", "no/such/folder/a.json"], ["there is no folder no/such/folder"]),
        (["dcgan/digiface", "--measure", "a.json", "--device", "cuda:77"], ["no cuda:77 here"]),
        (["--measure", "a.json"], ["need a model"]),
        (["--time"], ["need a model"]),
        (["--set", "layers=[]"], ["need a model"]),
    ],
)
def test_bad_input(here, arguments, words):
    is_refused(here("zoo", *arguments), *words)
