"""Transformers of timm that the paper and its successors look at: what is captured, and from where."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from rosetta import zoo
from rosetta.model_spec import Condition, ModelSpec
from rosetta.units import Units
from rosetta.zoo.architecture import Architecture
from rosetta.zoo.families.timm import Timm
from rosetta.zoo.maps.capture import Capture, choose_layers
from rosetta.zoo.maps.probe import probe
from rosetta.zoo.weights.checkpoint import Entry
from rosetta.zoo.weights.fitting import best_fit

Spec = Callable[..., ModelSpec]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Architecture]:
    """A model at full size without memory for its weights."""
    create = timm.create_model

    def on_meta(name: str, **options: Any) -> nn.Module:
        with torch.device("meta"):
            return create(name, **options).eval()

    monkeypatch.setattr(timm, "create_model", on_meta)
    return lambda name: Timm().build(name, None, False, Condition())


def _units(architecture: Architecture) -> tuple[Units, set[int]]:
    """What is captured by default, and how many tokens are dropped from the head of its sequences."""
    assert architecture.preprocessing is not None
    size = architecture.preprocessing.size
    seen = probe(architecture.module, (torch.zeros(1, 3, *size, device="meta"),), architecture.traits, size)
    layouts = choose_layers(architecture.module, seen, "vit", architecture.layers, architecture.preferred)
    return Capture(architecture.module, layouts).units, {layout.prefix for layout in layouts.values()}


@pytest.mark.parametrize(
    ("name", "width", "side", "prefix", "size", "colours"),
    [
        ("vit_base_patch16_224.dino", 3072, 14, 1, 224, IMAGENET),
        ("vit_base_patch8_224.dino", 3072, 28, 1, 224, IMAGENET),
        ("vit_base_patch16_224.mae", 3072, 14, 1, 224, IMAGENET),
        ("vit_base_patch14_dinov2", 3072, 37, 1, 518, IMAGENET),
        ("vit_base_patch14_reg4_dinov2", 3072, 37, 5, 518, IMAGENET),
        ("vit_base_patch16_dinov3", 3072, 16, 5, 256, IMAGENET),
        ("vit_base_patch16_clip_224.openai", 3072, 14, 1, 224, CLIP),
        ("vit_base_patch16_siglip_224", 3072, 14, 0, 224, HALF),
        ("vit_base_patch16_224.augreg_in21k", 3072, 14, 1, 224, HALF),
        ("vit_small_patch16_dinov3", 1536, 16, 5, 256, IMAGENET),
    ],
)
def test_mlp_activations_are_the_units(
    build: Callable[[str], Architecture],
    name: str,
    width: int,
    side: int,
    prefix: int,
    size: int,
    colours: tuple[tuple[float, ...], ...],
) -> None:
    architecture = build(name)
    units, dropped = _units(architecture)
    assert [(layer.name, layer.channels, layer.grid) for layer in units.layers] == [
        (f"blocks.{block}.mlp.act", width, (side, side)) for block in range(12)
    ]
    assert len(units) == 12 * width
    assert dropped == {prefix}
    assert architecture.preprocessing == zoo.Preprocessing((size, size), "bicubic", *colours)  # type: ignore[arg-type]


def test_a_resnet_has_its_stages(build: Callable[[str], Architecture]) -> None:
    architecture = build("resnet50.tv_in1k")
    units, _ = _units(architecture)
    assert [(layer.name, layer.channels, layer.grid[0]) for layer in units.layers] == [
        ("layer1", 256, 56),
        ("layer2", 512, 28),
        ("layer3", 1024, 14),
        ("layer4", 2048, 7),
    ]
    assert architecture.preprocessing == zoo.Preprocessing((224, 224), "bilinear")


def test_a_tag_decides_the_preprocessing(build: Callable[[str], Architecture]) -> None:
    looks = [build(f"resnet50.{tag}").preprocessing for tag in ("tv_in1k", "a1_in1k")]
    assert looks[0] != looks[1]


@pytest.mark.parametrize(
    ("name", "prefix", "side"),
    [
        ("vit_small_patch16_224.dino", 1, 14),
        ("vit_small_patch14_dinov2", 1, 37),
        ("vit_small_patch14_reg4_dinov2", 5, 37),
        ("vit_small_patch16_dinov3", 5, 16),
    ],
)
def test_maps_are_the_activations_of_the_patches(spec: Spec, name: str, prefix: int, side: int) -> None:
    layer = "blocks.1.mlp.act"
    model = zoo.load(spec(f"timm/{name}", layers=["blocks.0.mlp.act", layer]))
    assert model.preprocessing is not None
    reference = timm.create_model(name, num_classes=0).eval()
    reference.load_state_dict(model.module.state_dict(), strict=False)
    kept: list[Tensor] = []
    reference.get_submodule(layer).register_forward_hook(lambda _, __, output: kept.append(output))

    size = model.preprocessing.size
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    changed = images.clone()
    patch = size[0] // side
    changed[0, :, :patch, :patch] = 0  # the first patch of one image
    changed[1, :, -patch:, :patch] = 0  # the lower left of the other
    before, after = model.observe(images), model.observe(changed)

    mean, std = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    with torch.inference_mode():
        reference((images - mean) / std)
    assert kept[0].shape == (2, prefix + side * side, before[layer].shape[1])
    wanted = kept[0][:, prefix:].transpose(1, 2).unflatten(2, (side, side))
    torch.testing.assert_close(before[layer], wanted, rtol=1e-4, atol=1e-5)

    change = (after["blocks.0.mlp.act"] - before["blocks.0.mlp.act"]).square().sum(1).flatten(1)
    assert change.argmax(1).tolist() == [0, (side - 1) * side]


def _published(tokens: int, patch: int, extra: Mapping[str, tuple[int, ...]], scaled: bool) -> dict[str, Tensor]:
    """A base transformer as its authors save it: names, shapes and no values."""
    width = 768
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, width), **extra}
    if tokens:
        shapes["pos_embed"] = (1, tokens, width)
    shapes |= {"patch_embed.proj.weight": (width, 3, patch, patch), "patch_embed.proj.bias": (width,)}
    linear = {"attn.qkv": 3 * width, "attn.proj": width, "mlp.fc1": 4 * width, "mlp.fc2": width}
    for block in range(12):
        for norm in ("norm1", "norm2"):
            shapes |= {f"blocks.{block}.{norm}.{part}": (width,) for part in ("weight", "bias")}
        for name, outputs in linear.items():
            inputs = 4 * width if name == "mlp.fc2" else width
            shapes |= {f"blocks.{block}.{name}.weight": (outputs, inputs), f"blocks.{block}.{name}.bias": (outputs,)}
        if scaled:
            shapes |= {f"blocks.{block}.{scale}.gamma": (width,) for scale in ("ls1", "ls2")}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


_MASK: dict[str, tuple[int, ...]] = {"mask_token": (1, 768)}
_DINOV3: dict[str, tuple[int, ...]] = {
    **{"mask_token": (1, 768), "storage_tokens": (1, 4, 768), "rope_embed.periods": (16,)},
    **{f"blocks.{block}.attn.qkv.bias_mask": (2304,) for block in range(12)},
}


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("vit_base_patch16_224.dino", _published(197, 16, {}, scaled=False)),
        ("vit_base_patch8_224.dino", _published(785, 8, {}, scaled=False)),
        ("vit_base_patch16_224.mae", _published(197, 16, {}, scaled=False)),
        ("vit_base_patch14_dinov2", _published(1370, 14, _MASK, scaled=True)),
        (
            "vit_base_patch14_reg4_dinov2",
            _published(1370, 14, {**_MASK, "register_tokens": (1, 4, 768)}, scaled=True),
        ),
        ("vit_base_patch16_dinov3", _published(0, 16, _DINOV3, scaled=True)),
    ],
)
def test_published_weights_fit(build: Callable[[str], Architecture], name: str, state: dict[str, Tensor]) -> None:
    module = build(name).module
    assert best_fit(module, [Entry((), state)], Timm().translate, "weights").whole


def test_weights_that_dinov2_publishes_give_the_same_maps(spec: Spec, tmp_path: Path) -> None:
    layers = ["blocks.11.mlp.act"]
    untrained = zoo.load(spec("timm/vit_small_patch14_reg4_dinov2", "random:3", layers=layers))
    state = dict(untrained.module.state_dict())
    # Its authors add a position to the class token too; timm keeps the sum of the two.
    shift = torch.full((1, 1, 384), 0.5)
    published = {
        "cls_token": state.pop("cls_token") - shift,
        "pos_embed": torch.cat([shift, state.pop("pos_embed")], 1),
        "register_tokens": state.pop("reg_token"),
        "mask_token": torch.zeros(1, 384),
        **state,
    }
    torch.save(published, tmp_path / "dinov2.pth")
    loaded = zoo.load(spec("timm/vit_small_patch14_reg4_dinov2", str(tmp_path / "dinov2.pth"), layers=layers))
    images = torch.rand(1, 3, 100, 100, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded.observe(images)[layers[0]], untrained.observe(images)[layers[0]])
