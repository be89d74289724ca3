"""More than a hundred networks, untrained, against a table, plain hooks, the libraries' own maps and a bright patch.

The table says which layers are looked at, with how many channels on which grid. Hooks of the test's own say which
numbers these are. A bright patch in a grey image must light its place in every layer: what is read in a wrong order
answers elsewhere. Where an untrained network mixes places so much that its deep answers peak anywhere, it is given
what training gives: kernels that are strongest in their middle, attention that falls with distance, or additions that
are small beside what they are added to.
"""

import re
from collections.abc import Callable
from math import isqrt
from typing import Any

import pytest
import timm
import torch
from networks import build_as, networks, watch
from probes import misses, patches
from torch import Tensor, nn

from rosetta import zoo
from rosetta.model_spec import ModelSpec

Spec = Callable[..., ModelSpec]
Prepare = Callable[[nn.Module], None]

TABLE = networks()


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


PREPARED: dict[str, Prepare] = {
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
}
SLOW = {
    "timm/inception_resnet_v2",
    "timm/legacy_xception",
    "timm/inception_v4",
    "timm/sequencer2d_s",
    "timm/convmixer_768_32",
    "timm/mvitv2_base_cls",
    "timm/vgg11",
    "torchvision/vit_b_32",
    "torchvision/maxvit_t",
}
"""Those that take more than a second and are of a kind that others are of, too."""


def _each(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name


@pytest.mark.parametrize("name", [_each(name) for name in TABLE])
def test_the_right_maps_in_the_right_order(spec: Spec, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    network = TABLE[name]
    build_as(network, monkeypatch)
    model = zoo.load(spec(name))
    found = [(layer.name, layer.channels, layer.grid) for layer in model.units.layers]
    assert found == [(row.layer, row.channels, row.grid) for row in network.rows]
    assert len(model.units) == sum(row.channels for row in network.rows)

    assert model.preprocessing is not None
    if prepare := PREPARED.get(name):
        prepare(model.module)
    size = model.preprocessing.size
    images, boxes = patches(size, 32 if size[0] > 64 else 4)
    seen = watch(model.module, network.rows)
    maps = model.observe(images)
    for row in network.rows:
        if row.in_rows:
            torch.testing.assert_close(maps[row.layer], row.read(seen[row.layer]), rtol=0, atol=0)
    assert {layer: miss for layer, miss in misses(model.units, maps, boxes).items() if miss > 1} == {}

    for layer, (channels, reduction) in _published(model.module).items():
        if layer in maps:
            assert maps[layer].shape[1] == channels
            rows, columns = maps[layer].shape[2:]
            # Unpadded convolutions lose some of the image.
            assert abs(rows * reduction / size[0] - 1) < 0.2
            assert abs(columns * reduction / size[1] - 1) < 0.2


def _published(module: nn.Module) -> dict[str, tuple[int, int]]:
    """Channels and stride of the modules that timm offers as maps."""
    info: Any = getattr(module, "feature_info", None) or ()
    return {one["module"]: (one["num_chs"], one["reduction"]) for one in info if one.get("module")}


def test_so_many_networks() -> None:
    families = [name.partition("/")[0] for name in TABLE if name not in SLOW]
    kinds = {timm.model_entrypoint(name[5:]).__module__ for name in TABLE if name.startswith("timm/")}
    assert families.count("timm") >= 100
    assert len(kinds) >= 80
    assert families.count("open_clip") >= 10
    assert families.count("torchvision") >= 12


# The library's own maps of what its blocks and stages put out


@pytest.mark.parametrize(
    "name",
    [
        "timm/test_vit3",
        "timm/deit_tiny_distilled_patch16_224",
        "timm/vit_small_patch14_reg4_dinov2",
        "timm/vit_7b_patch16_dinov3",
        "timm/vit_pe_core_tiny_patch16_384",
        "timm/aimv2_large_patch14_224",
        "timm/naflexvit_base_patch16_gap",
        "timm/qwen3_vit_88m",
        "timm/deepseek_vit_412m",
        "timm/samvit_base_patch16_224",
        "timm/cait_xxs24_224",
        "timm/convit_tiny",
        "timm/xcit_nano_12_p16_224",
        "timm/hiera_tiny_224",
        "timm/hieradet_small",
        "timm/pit_ti_224",
        "timm/pvt_v2_b0",
        "timm/levit_128s",
        "timm/efficientvim_m1",
        "timm/mobilevit_xxs",
        "timm/swin_tiny_patch4_window7_224",
        "timm/maxvit_rmlp_pico_rw_256",
        "timm/gmixer_12_224",
        "timm/test_efficientnet",
    ],
)
def test_maps_are_those_that_the_library_gives(spec: Spec, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    build_as(TABLE[name], monkeypatch)
    with torch.device("meta"):
        outline = timm.create_model(name.removeprefix("timm/"))
    stages = list(_published(outline))
    model = zoo.load(spec(name, layers=stages))
    assert model.preprocessing is not None
    images = torch.rand(2, 3, *model.preprocessing.size, generator=torch.Generator().manual_seed(0))
    maps = model.observe(images)
    module: Any = model.module
    with torch.inference_mode():
        published = module.forward_intermediates(model.preprocessing(images), intermediates_only=True)
    assert len(published) == len(stages) > 1
    for stage, expected in zip(stages, published, strict=True):
        torch.testing.assert_close(maps[stage], expected, rtol=0, atol=1e-6)


# Networks that have no small sibling: on a device where tensors have shapes only


@pytest.mark.parametrize(
    ("name", "first", "last", "units"),
    [
        ("timm/aimv2_3b_patch14_448", ("blocks.0.mlp.fc2@in", 8192, (32, 32)), None, 24 * 8192),
        ("timm/vit_giant_patch14_reg4_dinov2", ("blocks.0.mlp.fc2@in", 4096, (37, 37)), None, 40 * 4096),
        ("timm/vit_7b_patch16_dinov3", ("blocks.0.mlp.fc2@in", 8192, (16, 16)), None, 40 * 8192),
        ("timm/naflexvit_so400m_patch16_siglip", ("blocks.0.mlp.act", 4304, (24, 24)), None, 27 * 4304),
        ("timm/samvit_huge_patch16", ("blocks.0.mlp.act", 5120, (64, 64)), None, 32 * 5120),
        ("timm/sam2_hiera_tiny", ("blocks.0.mlp.act", 384, (224, 224)), ("blocks.11.mlp.act", 3072, (28, 28)), 18816),
        ("timm/gemma4_vit_570m", ("encoder.blocks.0.mlp.down_proj@in", 4304, (48, 48)), None, 27 * 4304),
        ("timm/vit_base_r50_s16_224", ("patch_embed.backbone.stages.0", 256, (56, 56)), None, 1792 + 12 * 3072),
        ("timm/swinv2_large_window12to24_192to384", ("layers.0", 192, (96, 96)), ("layers.3", 1536, (12, 12)), 2880),
        ("timm/maxvit_xlarge_tf_512", ("stem", 192, (256, 256)), ("stages.3", 1536, (16, 16)), 3072),
        ("timm/mobilenetv5_300m", ("blocks.0", 128, (192, 192)), ("blocks.3", 1280, (24, 24)), 2304),
        ("timm/csatv2", ("stem_dct", 32, (64, 64)), ("stages.3", 386, (8, 8)), 690),
        ("timm/nasnetalarge", ("conv0", 96, (165, 165)), ("act", 4032, (11, 11)), 7320),
        ("timm/pnasnet5large", ("conv_0", 96, (165, 165)), ("act", 4320, (11, 11)), 7926),
        ("timm/tresnet_m", ("body.layer1", 64, (56, 56)), ("body.layer4", 2048, (7, 7)), 3264),
        ("timm/xception41p", ("blocks.0.stack.conv2", 128, (150, 150)), ("blocks.12", 2048, (10, 10)), 4184),
        ("timm/halonet26t", ("stem.conv3", 64, (128, 128)), ("final_conv", 2048, (8, 8)), 3904),
        ("open_clip/EVA02-E-14", ("trunk.blocks.0.mlp.act", 15360, (16, 16)), None, 64 * 15360),
        ("open_clip/ViTamin-XL-384", ("trunk.blocks.0.mlp.w2@in", 2304, (16, 16)), None, 32 * 2304),  # of 256 × 256
        ("open_clip/ViT-gopt-16-SigLIP2-384", ("trunk.blocks.0.mlp.act", 6144, (24, 24)), None, 40 * 6144),
        ("open_clip/PE-Core-bigG-14-448", ("trunk.blocks.0.mlp.act", 8960, (32, 32)), None, 50 * 8960),
    ],
)
def test_the_large_ones(
    spec: Spec, name: str, first: tuple[str, int, Any], last: tuple[str, int, Any] | None, units: int
) -> None:
    model = zoo.outline(spec(name))
    assert model is not None
    layers = [(layer.name, layer.channels, layer.grid) for layer in model.units.layers]
    assert layers[0] == first
    assert last is None or layers[-1] == last
    assert len(model.units) == units
