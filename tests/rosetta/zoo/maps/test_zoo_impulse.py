"""A bright patch lights its place on images that are no squares, and what is no map is refused with the reason."""

import re
from collections.abc import Callable, Mapping

import pytest
import timm
import torch
from probes import misses, patches
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.maps.layout import Layout
from rosetta.zoo.structure import places

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]

# Sizes that are no square, and those that are no multiple of a patch


def _timm(name: str, size: tuple[int, int], **options: object) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net: nn.Module = timm.create_model(name, **options)
        net.image_size = size  # type: ignore[assignment]
        net.default_layers = ("blocks.*.mlp",) if hasattr(net, "blocks") else None  # type: ignore[assignment]
        return net

    return make


def _torchvision(name: str, size: tuple[int, int]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models

        net: nn.Module = models.get_model(name, weights=None)
        net.image_size = size  # type: ignore[assignment]
        return net

    return make


@pytest.mark.parametrize(
    ("make", "grid"),
    [
        (_timm("vit_tiny_patch16_224", (256, 128), img_size=(256, 128)), (16, 8)),
        (_timm("vit_tiny_patch16_224", (256, 128), dynamic_img_size=True), (16, 8)),
        (_timm("vit_tiny_patch16_224", (128, 384), dynamic_img_size=True), (8, 24)),
        (_timm("vit_small_patch14_reg4_dinov2", (112, 252), img_size=(112, 252), depth=3), (8, 18)),
        (_timm("deit_tiny_distilled_patch16_224", (160, 96), img_size=(160, 96)), (10, 6)),
        (_timm("cait_xxs24_224", (128, 256), img_size=(128, 256)), (8, 16)),
        (_timm("eva02_tiny_patch14_224", (224, 112), img_size=(224, 112)), (16, 8)),
        (_timm("pit_ti_224", (128, 224), img_size=(128, 224)), (4, 7)),
        (_timm("naflexvit_base_patch16_gap", (128, 64), depth=2, embed_dim=48, num_heads=3), (8, 4)),
        (_timm("hiera_tiny_224", (256, 128), img_size=(256, 128)), (8, 4)),
        (_timm("samvit_base_patch16_224", (128, 256), img_size=(128, 256), depth=2, embed_dim=96), (8, 16)),
        (_timm("vit_7b_patch16_dinov3", (128, 64), img_size=(128, 64), depth=2, embed_dim=64, num_heads=4), (8, 4)),
        (_torchvision("swin_t", (128, 256)), (4, 8)),
        (_timm("swinv2_tiny_window8_256", (128, 256), img_size=(128, 256)), (4, 8)),
        (_torchvision("resnet18", (96, 320)), (3, 10)),
        (_torchvision("convnext_tiny", (257, 129)), (8, 4)),
        (_torchvision("squeezenet1_0", (203, 311)), (12, 19)),
    ],
)
def test_oblong_and_odd_images(
    spec: Spec, factory: Factory, make: Callable[[], nn.Module], grid: tuple[int, int]
) -> None:
    model = zoo.load(spec(factory(make)))
    assert model.preprocessing is not None
    assert model.units.layers[-1].grid == grid
    images, boxes = patches(model.preprocessing.size)
    found = misses(model.units, model.observe(images), boxes)
    assert {layer: miss for layer, miss in found.items() if miss > 1} == {}


# What is refused, by name


@pytest.mark.parametrize(
    ("name", "layer", "problem"),
    [
        ("timm/vit_tiny_patch16_224", "blocks.3.attn.q_norm", "no two axes fit an image of 224 × 224"),
        ("timm/vit_tiny_patch16_224", "blocks.3.attn.k_norm@in", "no two axes fit an image of 224 × 224"),
        ("timm/resmlp_12_224", "blocks.0.linear_tokens", "in an order of its own"),
        ("timm/mixer_s32_224", "blocks.0.mlp_tokens.act", "in an order of its own"),
        ("timm/gmlp_ti16_224", "blocks.0.mlp_channels.gate.proj", "in an order of its own"),
        ("timm/xcit_nano_12_p16_224", "blocks.0.attn.attn_drop", "heads, not places"),
        ("timm/cait_xxs24_224", "blocks.0.attn.proj_l", "while the model has 14 × 14 patches"),
        ("timm/swin_tiny_patch4_window7_224", "layers.3.blocks.0.attn.softmax", "heads, not places"),
        ("timm/cait_xxs24_224", "blocks_token_only.0", "class and register tokens, which have no place"),
        ("timm/efficientvim_m1", "norm.0", "not one of places"),
        ("timm/nest_tiny", "levels.0.transformer_encoder.0", "in an order of its own"),
        ("timm/mobilevitv2_050", "stages.3.1.transformer.0", "in an order of its own"),
        ("timm/visformer_tiny", "stage2.0.attn.attn_drop", "beside 196 positions: heads, not places"),
        ("timm/efficientformerv2_s0", "stages.2.blocks.4.token_mixer.talking_head1", "49 positions: heads, not places"),
        ("timm/swinv2_tiny_window8_256", "layers.0.blocks.0.attn.cpb_mlp@in", "it is not of each image"),
        ("timm/xcit_nano_12_p16_224", "pos_embed.token_projection@in", "it is not of each image"),
        ("timm/samvit_base_patch16", "blocks.0.attn.qkv", "gives 25 rows for a single image"),
        ("timm/hieradet_small", "blocks.0.attn.qkv", "rows for a single image"),
        ("timm/hiera_tiny_224", "unroll", "where tokens change their order"),
        ("torchvision/maxvit_t", "blocks.0.layers.0.layers.grid_attention.partition_op", "in an order of its own"),
        ("open_clip/coca_ViT-L-14", "ln_post", "in an order of its own"),  # 256 queries beside 16 × 16 patches
        ("open_clip/coca_ViT-L-14", "attn_pool.attn@pattern", "in an order of its own"),
        ("timm/maxvit_nano_rw_256", "stages.0.blocks.0", "channels in the second axis or in the last"),
        ("timm/crossvit_9_240", "blocks.0", "gives a list, not a tensor"),
    ],
)
def test_tensors_that_are_no_maps(spec: Spec, name: str, layer: str, problem: str) -> None:
    with pytest.raises(UserError, match=f"{re.escape(layer)}' .*{problem}.*choose another module") as error:
        zoo.structure(spec(name, layers=[layer]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "size", "layers"),
    [
        # Sixteen windows of sixteen tokens, and four pixels of four patches, are squares.
        ("nest_tiny", 64, {"levels.0": 96, "levels.0.transformer_encoder": "in an order of its own"}),
        ("mobilevitv2_050", 128, {"stages.4.1": 256, "stages.4.1.transformer.0": "in an order of its own"}),
        # One window of 14 × 14 for 13 × 13 patches.
        (
            "samvit_base_patch16_224",
            208,
            {"blocks.0": 768, "blocks.0.attn.qkv": "not those of the model's 13 × 13 patches"},
        ),
    ],
)
def test_windows_that_look_like_maps(
    spec: Spec, factory: Factory, name: str, size: int, layers: Mapping[str, int | str]
) -> None:
    options = {} if name.startswith("mobilevit") else {"img_size": size}
    if name.startswith("samvit"):
        options["depth"] = 1
    found = places(spec(factory(_timm(name, (size, size), **options))))
    for layer, expected in layers.items():
        reading = found[layer]
        if isinstance(expected, str):
            assert isinstance(reading, str)
            assert expected in reading
        else:
            assert isinstance(reading, Layout)
            assert reading.channels == expected


def test_what_comes_before_mask_units_and_before_the_last_tokens(spec: Spec) -> None:
    for name, layer, channels, grid in (
        ("timm/hiera_tiny_224", "patch_embed", 96, (56, 56)),
        ("transformers/hiera", "embeddings", 96, (56, 56)),
        ("transformers/yolos", "embeddings.patch_embeddings", 768, (32, 54)),
        ("transformers/yolos", "encoder.layer.0", 768, (32, 54)),
    ):
        reading = places(spec(name))[layer]
        assert isinstance(reading, Layout), reading
        assert (reading.channels, reading.grid, reading.order) == (channels, grid, None)


def test_cubes_are_read_as_the_modules_around_them_work(spec: Spec) -> None:
    """64 channels on 64 × 64: convolutions have them first, attention on windows last; a block of both says neither."""
    found = places(spec("timm/maxvit_nano_rw_256"))
    kinds = {
        "stages.0": "channels first",  # as timm says of what it offers as maps
        "stages.0.blocks.0.conv": "channels first",
        "stages.0.blocks.0.conv.conv3_1x1": "channels first",
        "stages.0.blocks.0.attn_block": "channels last",
        "stages.0.blocks.0.attn_block.norm1": "channels last",
        "stages.0.blocks.0.attn_block.mlp.fc2": "channels last",
        "stages.0.blocks.0.attn_block.mlp.drop2": "channels last",
    }
    for layer, kind in kinds.items():
        reading = found[layer]
        assert isinstance(reading, Layout)
        assert (reading.kind, reading.channels, reading.grid) == (kind, 64, (64, 64)), layer


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("timm/crossvit_9_240", {"blocks.2@0": (128, (20, 20)), "blocks.2@1": (256, (14, 14))}),
        ("timm/hrnet_w18_small", {f"stage4@{level}": (16 << level, (56 >> level, 56 >> level)) for level in range(4)}),
        ("timm/selecsls42", {"features.3@0": (288, (28, 28)), "features.3@1": (144, (28, 28))}),
    ],
)
def test_each_map_of_a_list(spec: Spec, name: str, parts: dict[str, tuple[int, tuple[int, int]]]) -> None:
    model = zoo.load(spec(name, layers=list(parts)))
    assert {layer.name: (layer.channels, layer.grid) for layer in model.units.layers} == parts
    assert model.preprocessing is not None
    seen: list[list[Tensor]] = []
    model.module.get_submodule(next(iter(parts)).partition("@")[0]).register_forward_hook(
        lambda _, __, output: seen.append([tensor.clone() for tensor in output])
    )
    images, boxes = patches(model.preprocessing.size)
    maps = model.observe(images)
    for name, (channels, (rows, columns)) in parts.items():
        raw = seen[0][int(name.partition("@")[2])]
        if raw.ndim == 3:
            raw = raw[:, 1:].transpose(1, 2).reshape(len(images), channels, rows, columns)
        assert torch.equal(maps[name], raw)
    assert {layer: miss for layer, miss in misses(model.units, maps, boxes).items() if miss > 1.5} == {}


def test_hidden_units_are_no_places(spec: Spec, factory: Factory) -> None:
    """Those of a Mixer, which mixes tokens in an MLP of its channels: 1024 look like 32 × 32, and are of 7 × 7."""

    def make() -> nn.Module:
        return MlpMixer(patch_size=32, embed_dim=1024, num_blocks=1)

    with pytest.raises(UserError, match=r"mlp_tokens\.act' works on tokens in an order of its own"):
        zoo.load(spec(factory(make), layers=["blocks.0.mlp_tokens.act"]))
    assert zoo.load(spec(factory(make), layers=["blocks.0"])).units.grids() == ((7, 7),)


def _attention(heads: int, width: int) -> nn.Module:
    """A transformer of its own, which declares nothing, for 128 × 128 images in 8 × 8 patches."""

    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.queries, self.weights = nn.Linear(width, 3 * width), nn.Identity(), nn.Identity()

        def forward(self, tokens: Tensor) -> Tensor:
            q, k, v = self.qkv(tokens).unflatten(2, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
            q = self.queries(q)
            mixed = self.weights((q @ k.transpose(2, 3)).softmax(3)) @ v
            return mixed.transpose(1, 2).flatten(2)

    class Net(nn.Module):
        image_size = 128

        def __init__(self) -> None:
            super().__init__()
            self.patches, self.attention = nn.Conv2d(3, width, 16, 16), Split()

        def forward(self, images: Tensor) -> Tensor:
            result: Tensor = self.attention(self.patches(images).flatten(2).transpose(1, 2))
            return result

    return Net()


@pytest.mark.parametrize("layer", ["attention.queries", "attention.weights"])
@pytest.mark.parametrize(("heads", "width"), [(1, 64), (2, 128), (4, 32)])
def test_queries_and_weights_are_no_maps(spec: Spec, factory: Factory, layer: str, heads: int, width: int) -> None:
    """64 queries of 64 channels, and 64 × 64 weights, would else be maps of 64 × 64 places."""
    with pytest.raises(UserError, match=f"'{layer}' .*choose another module"):
        zoo.load(spec(factory(lambda: _attention(heads, width)), layers=[layer]))
    assert zoo.load(spec(factory(lambda: _attention(heads, width)), layers=["attention.qkv"])).units.grids() == (
        (8, 8),
    )
