"""Image towers of OpenCLIP, against the library's own."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import QuickGELU
from PIL import Image
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.architecture import Architecture
from rosetta.zoo.families.open_clip import OpenCLIP
from rosetta.zoo.maps.capture import Capture, choose_layers
from rosetta.zoo.maps.layout import Layout
from rosetta.zoo.maps.probe import probe

Spec = Callable[..., ModelSpec]

CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NOTHING = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

TEXT = {"context_length": 5, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
TINY = {
    "tiny-vit": {"image_size": 64, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16},
    "tiny-resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "tiny-timm": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "none"},
}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small models of each kind among those that the library knows."""
    configs = sys.modules["open_clip.factory"]._MODEL_CONFIGS  # the attribute of the package is a function
    for name, vision in TINY.items():
        config = {"embed_dim": 64 if "timm" in name else 24, "vision_cfg": vision, "text_cfg": TEXT}
        monkeypatch.setitem(configs, name, {**config, "custom_text": "timm" in name})


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Architecture]:
    """A tower at full size without memory for its weights."""
    create = open_clip.CLIP

    def on_meta(*given: Any, **options: Any) -> nn.Module:
        with torch.device("meta"):
            whole: nn.Module = create(*given, **options)
        return whole.eval()

    monkeypatch.setattr(open_clip, "CLIP", on_meta)
    return lambda name: OpenCLIP().build(name, None, False, Condition())


def _layouts(architecture: Architecture) -> dict[str, Layout]:
    assert architecture.preprocessing is not None
    size = architecture.preprocessing.size
    seen = probe(architecture.module, (torch.zeros(1, 3, *size, device="meta"),), architecture.traits, size)
    return choose_layers(architecture.module, seen, "clip", architecture.layers, architecture.preferred)


def _images(count: int, side: int) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def _reference(name: str, seed: int = 0) -> nn.Module:
    """The library's whole model with the weights that `random:<seed>` gives its tower."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        whole: nn.Module = open_clip.create_model(name)
    return whole.eval()


@pytest.mark.parametrize(
    ("name", "layer", "blocks", "channels", "side", "prefix", "size"),
    [
        ("ViT-B-16", "transformer.resblocks.{}.mlp.gelu", 12, 3072, 14, 1, 224),
        ("ViT-B-32", "transformer.resblocks.{}.mlp.gelu", 12, 3072, 7, 1, 224),
        ("ViT-L-14", "transformer.resblocks.{}.mlp.gelu", 24, 4096, 16, 1, 224),
        ("coca_ViT-B-32", "transformer.resblocks.{}.mlp.gelu", 12, 3072, 7, 1, 224),
        ("ViT-B-16-SigLIP", "trunk.blocks.{}.mlp.act", 12, 3072, 14, 0, 224),
        ("ViT-B-16-SigLIP2-256", "trunk.blocks.{}.mlp.act", 12, 3072, 16, 0, 256),
        ("ViT-SO400M-14-SigLIP-384", "trunk.blocks.{}.mlp.act", 27, 4304, 27, 0, 384),
        ("PE-Core-B-16", "trunk.blocks.{}.mlp.act", 12, 3072, 14, 1, 224),
    ],
)
def test_units_of_transformers(
    build: Callable[[str], Architecture],
    name: str,
    layer: str,
    blocks: int,
    channels: int,
    side: int,
    prefix: int,
    size: int,
) -> None:
    architecture = build(name)
    layouts = _layouts(architecture)
    assert list(layouts) == [layer.format(block) for block in range(blocks)]
    assert set(layouts.values()) == {Layout("tokens", channels, (side, side), prefix)}
    assert len(Capture(architecture.module, layouts).units) == blocks * channels
    assert architecture.preprocessing is not None
    assert architecture.preprocessing.size == (size, size)


def test_units_of_resnets(build: Callable[[str], Architecture]) -> None:
    layouts = _layouts(build("RN50"))
    assert [(name, layout.channels, layout.grid) for name, layout in layouts.items()] == [
        ("layer1", 256, (56, 56)),
        ("layer2", 512, (28, 28)),
        ("layer3", 1024, (14, 14)),
        ("layer4", 2048, (7, 7)),
    ]
    assert sum(layout.channels for layout in layouts.values()) == 3840


def test_units_of_other_networks_of_timm(build: Callable[[str], Architecture]) -> None:
    assert [(name, layout.channels) for name, layout in _layouts(build("convnext_base")).items()] == [
        (f"trunk.stages.{stage}", 128 << stage) for stage in range(4)
    ]


@pytest.mark.parametrize(
    ("name", "colours", "interpolation"),
    [
        ("ViT-B-16", CLIP, "bicubic"),
        ("RN50.openai", CLIP, "bicubic"),
        ("ViT-B-16-SigLIP", HALF, "bicubic"),
        ("ViT-L-14-CLIPA", IMAGENET, "bilinear"),
        ("MobileCLIP-S1", NOTHING, "bilinear"),
        ("ViT-S-16", CLIP, "bicubic"),  # nothing is published
        ("ViT-L-14", CLIP, "bicubic"),  # the published ones differ
        ("ViT-L-14.laion2b_s32b_b82k", HALF, "bicubic"),
    ],
)
def test_colours_are_those_of_the_weights(
    build: Callable[[str], Architecture], name: str, colours: tuple[tuple[float, ...], ...], interpolation: str
) -> None:
    preprocessing = build(name).preprocessing
    assert preprocessing is not None
    assert (preprocessing.mean, preprocessing.std, preprocessing.interpolation) == (*colours, interpolation)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("ViT-B-32", nn.GELU),
        ("ViT-B-32-quickgelu", QuickGELU),
        ("ViT-B-32.openai", QuickGELU),
        ("ViT-B-32.laion2b_s34b_b79k", nn.GELU),
    ],
)
def test_a_tag_decides_the_activation(
    build: Callable[[str], Architecture], name: str, activation: type[nn.Module]
) -> None:
    assert type(build(name).module.get_submodule("transformer.resblocks.3.mlp.gelu")) is activation


@pytest.mark.parametrize("name", ["ViT-S-32", "tiny-vit", "tiny-timm"])
@pytest.mark.usefixtures("tiny")
def test_maps_are_the_activations_of_the_patches(spec: Spec, name: str) -> None:
    model = zoo.load(spec(f"open_clip/{name}"))
    whole = _reference(name)
    assert isinstance(whole.visual, nn.Module)
    kept: dict[str, Tensor] = {}
    for layer in model.units.layers:
        part = whole.visual.get_submodule(layer.name)
        part.register_forward_hook(lambda _, __, output, name=layer.name: kept.update({name: output}))
    assert model.preprocessing is not None
    images = _images(2, model.preprocessing.size[0])
    maps = model.observe(images)
    mean, std = (torch.tensor(values)[:, None, None] for values in CLIP)
    with torch.inference_mode():
        whole.encode_image((images - mean) / std)  # type: ignore[operator]
    assert list(maps) == list(kept)
    for layer in model.units.layers:
        side = layer.grid[0]
        tokens = kept[layer.name]
        assert tokens.shape == (2, 1 + side * side, layer.channels)
        wanted = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        torch.testing.assert_close(maps[layer.name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["tiny-vit", "tiny-timm"])
def test_a_changed_patch_changes_its_own_position(spec: Spec, name: str) -> None:
    model = zoo.load(spec(f"open_clip/{name}"))
    layer, grid = model.units.layers[0].name, model.units.layers[0].grid
    assert model.preprocessing is not None
    images = _images(2, model.preprocessing.size[0])
    changed = images.clone()
    changed[0, :, :16, :16] = 0
    changed[1, :, -16:, :16] = 0
    change = (model.observe(changed)[layer] - model.observe(images)[layer]).square().sum(1).flatten(1)
    assert change.argmax(1).tolist() == [0, (grid[0] - 1) * grid[1]]


def test_maps_of_a_resnet_are_those_of_the_library(spec: Spec) -> None:
    model = zoo.load(spec("open_clip/RN50"))
    tower = ModifiedResNet([3, 4, 6, 3], output_dim=1024, heads=32, image_size=224, width=64).eval()
    state = model.module.state_dict()
    # An untrained block adds nothing, as its last scale is 0; here every block is to count.
    state |= {name: torch.full_like(scale, 0.5) for name, scale in state.items() if name.endswith("bn3.weight")}
    model.module.load_state_dict(state)
    tower.load_state_dict(state)
    images = _images(1, 224)
    maps = model.observe(images)
    mean, std = (torch.tensor(values)[:, None, None] for values in CLIP)
    with torch.inference_mode():
        x = tower.stem((images - mean) / std)
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = tower.get_submodule(name)(x)
            torch.testing.assert_close(maps[name], x, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


@pytest.mark.usefixtures("tiny")
def test_what_reaches_the_tower_is_what_the_library_prepares(spec: Spec) -> None:
    model = zoo.load(spec("open_clip/tiny-vit"))
    prepare = open_clip.image_transform(64, is_train=False, mean=CLIP[0], std=CLIP[1], interpolation="bicubic")
    pixels = (_images(1, 64)[0] * 255).round().to(torch.uint8).permute(1, 2, 0)
    wanted = prepare(Image.fromarray(np.asarray(pixels)))
    reached: list[Tensor] = []
    model.module.get_submodule("conv1").register_forward_pre_hook(lambda _, given: reached.append(given[0]))
    model.observe(pixels.permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(reached[0][0], wanted, atol=1e-5, rtol=1e-5)
    assert (reached[0][0] - (pixels.permute(2, 0, 1) / 255 - 0.45) / 0.225).abs().max() > 0.1


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["tiny-vit", "tiny-resnet", "tiny-timm"])
@pytest.mark.parametrize("layout", ["whole", "training", "tower", "half"])
def test_published_layouts_load(spec: Spec, tmp_path: Path, name: str, layout: str) -> None:
    whole = _reference(name, seed=5)
    state = whole.state_dict()
    tower = {key.removeprefix("visual."): tensor for key, tensor in state.items() if key.startswith("visual.")}
    content: Any = state
    if layout == "training":
        content = {"epoch": 32, "name": "a-run", "state_dict": {f"module.{key}": state[key] for key in state}}
    elif layout == "tower":
        content = tower
    elif layout == "half":
        content = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    path = tmp_path / "clip.pt"
    torch.save(content, path)
    loaded = zoo.load(spec(f"open_clip/{name}", str(path))).module.state_dict()
    assert loaded.keys() == tower.keys()
    for key, tensor in tower.items():
        torch.testing.assert_close(loaded[key], tensor, atol=2e-3 * (layout == "half"), rtol=2e-3 * (layout == "half"))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("other", ["whole", "tower", "another"])
def test_other_weights_are_refused(spec: Spec, tmp_path: Path, other: str) -> None:
    whole = _reference("tiny-resnet")
    state = whole.state_dict() if other == "whole" else nn.Linear(2, 3).state_dict()
    if other == "tower":
        assert isinstance(whole.visual, nn.Module)
        state = whole.visual.state_dict()
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(UserError, match="do not fit open_clip/tiny-vit: first difference") as caught:
        zoo.load(spec("open_clip/tiny-vit", str(tmp_path / "other.pt")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("open_clip/ViT-B-61", "random:0", r"open_clip has no model 'ViT-B-61'; did you mean 'ViT-B-16'"),
        ("open_clip/ViT-B-16.opnai", "random:0", r"no tag 'opnai'; did you mean 'openai'"),
        ("open_clip/ViT-B-16.x", "random:0", r"no tag 'x'; it has \['commonpool"),
        ("open_clip/ViT-B-16", "pretrained", r"of its own; name it with a tag, for example open_clip/ViT-B-16\."),
        ("open_clip/ViT-S-16", "pretrained", r"has no weights of its own; give a file as weights"),
    ],
)
def test_what_cannot_be_built(spec: Spec, model: str, weights: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        zoo.load(spec(model, weights))


def test_pretrained_weights_come_from_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def give(name: str, pretrained: str, force_quick_gelu: bool, force_image_size: None) -> nn.Module:
        asked.append((name, pretrained, force_quick_gelu))
        vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
        whole: nn.Module = open_clip.CLIP(8, vision, TEXT)
        return whole

    monkeypatch.setattr(open_clip, "create_model", give)
    for tag in ("openai", "laion2b_s34b_b88k"):
        architecture = OpenCLIP().build(f"ViT-B-16.{tag}", None, True, Condition())
        assert architecture.preprocessing == zoo.Preprocessing((32, 32), "bicubic", *CLIP)
    assert asked == [("ViT-B-16", "openai", True), ("ViT-B-16", "laion2b_s34b_b88k", False)]

    def refuse(*_: Any, **__: Any) -> nn.Module:
        raise RuntimeError("no network")

    monkeypatch.setattr(open_clip, "create_model", refuse)
    with pytest.raises(UserError, match=r"open_clip/ViT-B-16.openai: its pretrained weights .*give a local file"):
        OpenCLIP().build("ViT-B-16.openai", None, True, Condition())


def test_without_the_library(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ViT-B-16" in zoo.names("open_clip")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert zoo.names("open_clip") == []
    with pytest.raises(UserError, match=r"pip install 'rosetta-mine\[clip\]'") as caught:
        zoo.load(spec("open_clip/RN50"))
    assert "\n" not in str(caught.value)
