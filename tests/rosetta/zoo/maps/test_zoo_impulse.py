"""A bright patch in a grey image lights its place in every layer: of sixty kinds of networks, untrained.

What a default takes for maps is in its right place, or it would answer elsewhere. Where an untrained network mixes
places so much that its deep answers peak anywhere, it is given what training gives: kernels that are strongest in
their middle, attention that falls with distance, or additions that are small beside what they are added to.
"""

import re
from collections.abc import Callable
from math import isqrt

import pytest
import timm
import torch
from probes import misses, patches
from timm.models.mlp_mixer import MlpMixer
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]
Prepare = Callable[[nn.Module], None]


def small(pattern: str) -> Prepare:
    """What these weights add is a tenth."""

    def prepare(module: nn.Module) -> None:
        found = [weight for name, weight in module.named_parameters() if re.search(pattern, name)]
        assert found
        for weight in found:
            weight.mul_(0.1)

    return prepare


def centred(module: nn.Module) -> None:
    """Kernels are strongest in their middle."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            rows, columns = part.kernel_size
            part.weight[:, :, rows // 2, columns // 2] *= rows * columns


def near(module: nn.Module) -> None:
    """Attention falls with distance: LeViT's biases are by the distance of query and key, in y and in x."""
    for part in module.modules():
        if isinstance(biases := getattr(part, "attention_biases", None), Tensor):
            side = isqrt(biases.shape[1])
            distances = torch.arange(biases.shape[1])
            biases.copy_(-((distances // side) ** 2 + (distances % side) ** 2).expand_as(biases))
            part.attention_bias_cache = {}  # type: ignore[assignment]


NETWORKS: dict[str, Prepare | None] = dict.fromkeys(
    [
        # transformers
        "timm/vit_tiny_patch16_224",
        "timm/vit_betwixt_patch16_reg4_gap_256",
        "timm/vit_relpos_small_patch16_224",
        "timm/vit_tiny_r_s16_p8_224",
        "timm/vitamin_small_224",
        "timm/deit_tiny_distilled_patch16_224",
        "timm/deit3_small_patch16_224",
        "timm/beit_base_patch16_224",
        "timm/eva02_tiny_patch14_224",
        "timm/samvit_base_patch16_224",
        "timm/cait_xxs24_224",
        "timm/convit_tiny",
        "timm/xcit_nano_12_p16_224",
        "timm/tnt_s_patch16_224",
        "timm/volo_d1_224",
        "timm/pit_ti_224",
        "timm/pit_ti_distilled_224",
        "timm/mvitv2_tiny",
        "timm/mvitv2_base_cls",
        "timm/swin_tiny_patch4_window7_224",
        "timm/swinv2_tiny_window8_256",
        "timm/swinv2_cr_tiny_ns_224",
        "timm/twins_svt_small",
        "timm/pvt_v2_b0",
        "timm/nest_tiny",
        "timm/davit_tiny",
        "timm/gcvit_xxtiny",
        "timm/focalnet_tiny_srf",
        "timm/coat_lite_tiny",
        "torchvision/vit_b_16",
        "torchvision/swin_t",
        "torchvision/swin_v2_t",
        # between transformers and convolutions, and others
        "timm/coatnet_0_224",
        "timm/fastvit_t8",
        "timm/edgenext_xx_small",
        "timm/efficientformer_l1",
        "timm/efficientformerv2_s0",
        "timm/efficientvit_b0",
        "timm/efficientvit_m0",
        "timm/efficientvim_m1",
        "timm/mobilevit_xxs",
        "timm/mobilevitv2_050",
        "timm/visformer_tiny",
        "timm/nextvit_small",
        "timm/repvit_m0_9",
        "timm/poolformer_s12",
        "timm/caformer_s18",
        "timm/sequencer2d_s",
        "timm/mambaout_femto",
        "timm/gmlp_ti16_224",
        "timm/resmlp_12_224",
        # convolutions
        "timm/convnext_atto",
        "timm/inception_v4",
        "timm/inception_resnet_v2",
        "timm/inception_next_atto",
        "timm/legacy_xception",
        "timm/densenet121",
        "timm/vgg11",
        "timm/resnetv2_18",
        "timm/resnest14d",
        "timm/dla34",
        "timm/dpn48b",
        "timm/hgnetv2_b0",
        "timm/mobilenetv3_small_050",
        "timm/efficientnet_b0",
        "timm/nf_regnet_b0",
        "timm/botnet26t_256",
        "timm/test_efficientnet",
        "torchvision/alexnet",
        "torchvision/convnext_tiny",
        "torchvision/densenet121",
        "torchvision/googlenet",
        "torchvision/mnasnet0_5",
        "torchvision/mobilenet_v2",
        "torchvision/regnet_y_400mf",
        "torchvision/resnet18",
        "torchvision/shufflenet_v2_x0_5",
        "torchvision/squeezenet1_0",
        # other families
        "dino/resnet50",
        "open_clip/ViT-S-32",
        "open_clip/RN50",
        "open_clip/convnext_base",
        "pixels/32",
    ]
) | {
    "timm/mixer_s32_224": small(r"mlp_tokens\.fc2"),
    "timm/gmixer_12_224": small(r"mlp_tokens\.fc2"),
    "timm/maxvit_rmlp_pico_rw_256": small(r"attn_\w+\.(attn\.proj|mlp\.fc2)"),
    "torchvision/maxvit_t": small(r"attention\.attn_layer"),
    "timm/levit_128s": near,
    "timm/tiny_vit_5m_224": centred,
    "timm/coat_tiny": small(r"cpe|factoratt|mlp"),
    "timm/convmixer_768_32": centred,
    "timm/inception_v3": centred,
    "timm/ghostnet_050": centred,
    "timm/hrnet_w18_small": centred,
    "torchvision/inception_v3": centred,
    "timm/vit_small_patch14_reg4_dinov2": None,
}
LONG = {
    "timm/vit_small_patch14_reg4_dinov2",
    "timm/convmixer_768_32",
    "timm/inception_resnet_v2",
    "timm/beit_base_patch16_224",
    "timm/samvit_base_patch16_224",
    "open_clip/convnext_base",
    "timm/mvitv2_base_cls",
    "timm/vit_betwixt_patch16_reg4_gap_256",
    "timm/vgg11",
    "torchvision/vit_b_16",
    "torchvision/maxvit_t",
}
"""Those that take a second or more."""


def _each(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.slow) if name in LONG else name


@pytest.mark.parametrize("name", [_each(name) for name in NETWORKS])
def test_a_patch_lights_its_place(spec: Spec, name: str) -> None:
    model = zoo.load(spec(name))
    assert model.preprocessing is not None
    if prepare := NETWORKS[name]:
        prepare(model.module)
    size = model.preprocessing.size
    images, boxes = patches(size, 32 if size[0] > 64 else 4)
    found = misses(model.units, model.observe(images), boxes)
    assert {layer: miss for layer, miss in found.items() if miss > 1} == {}


def test_so_many_kinds() -> None:
    assert len({name for name in NETWORKS if name.startswith(("timm/", "torchvision/"))}) >= 60


# Sizes that are no square, and those that are no multiple of a patch


def _timm(name: str, size: tuple[int, int], **options: object) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net: nn.Module = timm.create_model(name, **options)
        net.image_size = size  # type: ignore[assignment]
        net.default_layers = ("blocks.*.mlp.act",) if hasattr(net, "blocks") else None  # type: ignore[assignment]
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
    ("name", "message"),
    [
        ("timm/hiera_tiny_224", "hiera_tiny_224: its tokens are in no row order"),
        ("timm/hieradet_small", "hieradet_small: its tokens are in no row order"),
        ("timm/crossvit_9_240", r"no default layers cover its depth; name layers in the recipe, such as 'blocks\."),
    ],
)
def test_without_default_maps(spec: Spec, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        zoo.load(spec(name))


@pytest.mark.parametrize(
    ("name", "layer", "problem"),
    [
        ("timm/vit_tiny_patch16_224", "blocks.3.attn.q_norm", "no two axes fit an image of 224 × 224"),
        ("timm/resmlp_12_224", "blocks.0.linear_tokens", "gives 384 tokens "),
        ("timm/xcit_nano_12_p16_224", "blocks.0.attn.attn_drop", "heads, not places"),
        ("timm/cait_xxs24_224", "blocks.0.attn.proj_l", "heads, not places"),
        ("timm/swin_tiny_patch4_window7_224", "layers.3.blocks.0.attn.softmax", "heads, not places"),
        ("timm/cait_xxs24_224", "blocks_token_only.0", "class and register tokens, which have no place"),
        ("timm/efficientvim_m1", "norm.0", "not one of places"),
        ("timm/nest_tiny", "levels.0.transformer_encoder", "no two axes fit"),
        ("timm/crossvit_9_240", "blocks.0", "gives a list, not a tensor"),
    ],
)
def test_tensors_that_are_no_maps(spec: Spec, name: str, layer: str, problem: str) -> None:
    with pytest.raises(UserError, match=f"{re.escape(layer)}' .*{problem}.*choose another module"):
        zoo.load(spec(name, layers=[layer]))


def test_hidden_units_are_no_places(spec: Spec, factory: Factory) -> None:
    """Those of a Mixer, which mixes tokens in an MLP of its channels: 1024 are 32 × 32 of the 7 × 7 that there are."""

    def make() -> nn.Module:
        return MlpMixer(patch_size=32, embed_dim=1024, num_blocks=1)

    with pytest.raises(UserError, match=r"mlp_tokens\.act' gives 1024 tokens "):
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
