"""What a recipe passes to a library's constructor reaches it, and what the constructor does not know is named."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import parse_recipe

Spec = Callable[..., ModelSpec]
DECIDED = "cannot be set"


def make(width: int = 4, *, depth: int = 1, names: tuple[str, ...] = ()) -> nn.Module:
    """A net of a user's own."""
    net = nn.Sequential(*[nn.Conv2d(3 if at == 0 else width, width, 3, padding=1) for at in range(depth)])
    net.image_size = 16  # type: ignore[assignment]
    net.default_layers = "*"  # type: ignore[assignment]
    return net


def needy(width: int) -> nn.Module:
    """Cannot do without being told."""
    return make(width)


def open_to_all(**anything: Any) -> nn.Module:
    """Takes whatever there is."""
    return make(len(anything))


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("optional")
    module.__dict__.update(make=make, needy=needy, open_to_all=open_to_all)
    monkeypatch.setitem(sys.modules, "optional", module)


@pytest.mark.parametrize(
    ("model", "options", "layers", "channels"),
    [
        ("timm/test_vit", {"depth": 2, "mlp_ratio": 2}, 2, 128),
        ("timm/test_byobnet", {"act_layer": "gelu", "drop_rate": 0.1}, 5, 24),
        ("timm/deit_tiny_distilled_patch16_224", {"depth": 2}, 2, 768),  # its own class takes keywords of any name
        ("torchvision/vit_b_16", {"dropout": 0.1}, 12, 3072),
        ("python:optional:make", {"depth": 3, "width": 5}, 3, 5),
        ("python:optional:needy", {"width": 6}, 1, 6),
        ("python:optional:open_to_all", {"a": 1, "b": [2]}, 1, 2),
        ("open_clip/ViT-B-32", {"vision_cfg": {"layers": 2, "mlp_ratio": 2.0}}, 2, 1536),
        ("transformers/dinov2", {"num_hidden_layers": 2, "mlp_ratio": 2}, 2, 1536),
        ("transformers/clip_vision_model", {"num_hidden_layers": 2, "intermediate_size": 64}, 2, 64),
    ],
)
def test_options_reach_the_constructor(
    spec: Spec, model: str, options: dict[str, Any], layers: int, channels: int
) -> None:
    outline = zoo.outline(
        spec(model, options=options, **({"layers": ("blocks.*.mlp.act",)} if "deit" in model else {}))
    )
    assert outline is not None
    assert (len(outline.units.layers), outline.units.layers[0].channels) == (layers, channels)


def test_quick_gelu_of_a_tower(spec: Spec) -> None:
    few = {"vision_cfg": {"layers": 1}}
    kinds = [
        type(zoo.outline(spec("open_clip/ViT-B-32", options=few | more)).module.transformer.resblocks[0].mlp.gelu)  # type: ignore[union-attr]
        for more in ({}, {"force_quick_gelu": True}, {"quick_gelu": True})
    ]
    assert [kind.__name__ for kind in kinds] == ["GELU", "QuickGELU", "QuickGELU"]


def test_values_are_those_of_the_librarys_own_network(spec: Spec, tmp_path: Path) -> None:
    options = {"depth": 2, "global_pool": "avg", "dynamic_img_size": True}
    own = timm.create_model("test_vit", **options).eval()
    torch.save(own.state_dict(), tmp_path / "net.pth")
    model = zoo.load(spec("timm/test_vit", str(tmp_path / "net.pth"), options=options, layers=["blocks.1"]))
    seen: list[torch.Tensor] = []
    own.blocks[1].register_forward_hook(lambda _, __, output: seen.append(output))
    images = torch.rand(1, 3, 160, 160)
    assert model.preprocessing is not None
    with torch.inference_mode():
        own(model.preprocessing(images))
    maps = seen[0][:, own.num_prefix_tokens :].transpose(1, 2).unflatten(2, (10, 10))
    torch.testing.assert_close(model.observe(images)["blocks.1"], maps)


def test_fields_of_a_folders_configuration(spec: Spec, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)
    module = transformers.ViTModel(config).eval()
    module.save_pretrained(tmp_path)
    images = torch.rand(1, 3, 224, 224)
    maps = []
    for options in (None, {"hidden_act": "relu"}):
        model = zoo.load(spec(f"transformers/{tmp_path}", "pretrained", options=options))
        maps.append(next(iter(model.observe(images).values())))
    assert maps[0].min() < 0 == maps[1].min()  # what the last projection takes has gone through a GELU or a ReLU


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("timm/test_vit", {"dynamik_img_size": True}, ["no option 'dynamik_img_size'", "'dynamic_img_size'"]),
        ("timm/test_byobnet", {"act_leyer": "gelu"}, ["did you mean 'act_layer'"]),
        ("timm/test_vit", {"depth": "many"}, ["timm cannot build 'test_vit' with options depth: "]),
        ("timm/test_efficientnet", {"stem_size": 8}, ["with options stem_size: ", "multiple values"]),
        ("timm/test_vit", {"pretrained": True}, [DECIDED, "`weights`"]),
        ("timm/test_vit", {"checkpoint_path": "x"}, [DECIDED, "`weights`"]),
        ("timm/test_vit", {"features_only": True}, [DECIDED, "`layers`"]),
        ("timm/test_vit", {"img_size": 64}, [DECIDED, "`size`"]),
        ("timm/test_vit", {"in_chans": 1}, [DECIDED, "RGB"]),
        ("timm/test_vit", {"device": "cpu"}, [DECIDED, "`compute.device`"]),
        ("torchvision/resnet18", {"layers": [1, 1]}, ["no option 'layers'", "'norm_layer'"]),
        ("torchvision/googlenet", {"transform_input": True}, [DECIDED, "`mean`"]),
        ("open_clip/ViT-B-32", {"quik_gelu": True}, ["'quick_gelu'"]),
        ("open_clip/ViT-B-32", {"vision_cfg": {"layer": 3}}, ["(vision_cfg)", "did you mean 'layers'"]),
        ("open_clip/ViT-B-32", {"vision_cfg": 3}, ["must be a table"]),
        ("open_clip/ViT-B-32", {"force_image_size": 64}, [DECIDED, "`size`"]),
        ("transformers/vit", {"num_hiden_layers": 2}, ["'num_hidden_layers'"]),
        ("transformers/vit", {"num_channels": 1}, [DECIDED, "RGB"]),
        ("transformers/vit", {"trust_remote_code": True}, [DECIDED, "never runs"]),
        ("transformers/vit", {"hidden_size": "wide"}, ["with options hidden_size: "]),
        ("python:optional:make", {"dept": 3}, ["no option 'dept'", "'depth'"]),
        ("python:optional:make", {"x": 3}, ["it takes width, depth, names"]),
        ("python:optional:make", {"depth": "x"}, ["failed with options depth: TypeError"]),
        ("python:optional:needy", None, ["needs 'width'", "options = { width = … }"]),
        ("dcgan/digiface", {"depth": 3}, ["takes no options; remove options.depth"]),
        ("dino/resnet50", {"depth": 3}, ["takes no options; remove options.depth"]),
        ("pixels/32", {"depth": 3}, ["takes no options"]),
    ],
)
def test_what_is_refused(spec: Spec, model: str, options: dict[str, Any] | None, words: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        zoo.load(spec(model, options=options))
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_the_weights_tell_the_number_of_classes(spec: Spec, tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "net.pth")
    assert (
        zoo.load(spec("torchvision/squeezenet1_1", options={"num_classes": 5})).module.classifier[1].out_channels == 5
    )  # type: ignore[index,union-attr]
    with pytest.raises(UserError, match="the weights tell the number of classes"):
        zoo.load(spec("torchvision/squeezenet1_1", str(tmp_path / "net.pth"), options={"num_classes": 5}))


RECIPE = """
name = "n"
root = "r"
[[models]]
name = "a"
model = "timm/test_vit"
{}
[[models]]
name = "b"
model = "timm/test_vit"
"""


def test_a_recipe_keeps_them() -> None:
    text = RECIPE.format("options = { depth = 2, norm = { eps = 1e-6 }, sizes = [1, 2], on = true }")
    recipe = parse_recipe(text, "n")
    assert parse_recipe(recipe.to_toml(), "again") == recipe
    assert len({recipe.models[0], parse_recipe(text, "n").models[0]}) == 1
    changed = parse_recipe(text, "n", changes=["models.a.options.depth=3"])
    assert changed.models[0].options == {"depth": 3, "norm": {"eps": 1e-6}, "sizes": [1, 2], "on": True}
    assert changed.models[0] != recipe.models[0]
    none = parse_recipe(RECIPE.format("options = {}"), "n")
    assert none.models[0].options is None
    assert "options" not in none.to_toml()


@pytest.mark.parametrize("value", ["nan", "{ a = [1, inf] }", "1979-05-27", "3"])
def test_what_options_cannot_hold(value: str) -> None:
    options = value if value == "3" else f"{{ depth = {value} }}"
    with pytest.raises(UserError, match=r"models\.a\.options"):
        parse_recipe(RECIPE.format(f"options = {options}"), "n")
