"""Small networks of transformers, untrained, against plain hooks, the library's own maps and a bright patch."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from probes import misses, patches
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.families import transformers as family

transformers = pytest.importorskip("transformers")

Spec = Callable[..., ModelSpec]

SIDE = 64
"""Of the images; patches have 8 pixels a side."""
SMALL: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": SIDE,
    "patch_size": 8,
}
TEXT = {**SMALL, "vocab_size": 50, "projection_dim": 8}
NAFLEX = {key: value for key, value in SMALL.items() if key != "image_size"} | {"num_patches": 64}
FOUR = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
SWIN = {"image_size": SIDE, "embed_dim": 12, "depths": [2, 1], "num_heads": [2, 2], "window_size": 4}
PYRAMID = {
    "image_size": SIDE,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 2, 2],
}
HIERA = {
    "image_size": [SIDE, SIDE],
    "embed_dim": 12,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 2, 2],
    "mlp_ratio": 2.0,
}

NETWORKS: dict[str, tuple[dict[str, Any], str, list[tuple[int, int]], int]] = {
    # By type: its configuration, its default layers, channels and side of each grid, and tokens before those of it.
    "vit": (SMALL, "layers.{}.mlp.fc2@in", [(48, 8)] * 2, 1),
    "deit": (SMALL, "layers.{}.mlp.fc2@in", [(48, 8)] * 2, 2),
    "vit_mae": (SMALL, "layers.{}.mlp.fc2@in", [(48, 8)] * 2, 1),
    "vit_msn": (SMALL, "layers.{}.mlp.fc2@in", [(48, 8)] * 2, 1),
    "ijepa": (SMALL, "layers.{}.mlp.fc2@in", [(48, 8)] * 2, 0),
    "beit": (SMALL, "layers.{}.mlp.fc2@in", [(48, 8)] * 2, 1),
    "data2vec-vision": (SMALL, "encoder.layer.{}.output.dense@in", [(48, 8)] * 2, 1),
    "dinov2": (SMALL, "encoder.layer.{}.mlp.fc2@in", [(96, 8)] * 2, 1),
    "dinov2_with_registers": (
        SMALL | {"use_swiglu_ffn": True}, "encoder.layer.{}.mlp.down_proj@in", [(64, 8)] * 2, 5
    ),
    "dinov3_vit": (SMALL | {"num_register_tokens": 4}, "model.layer.{}.mlp.down_proj@in", [(48, 8)] * 2, 5),
    "siglip": ({"vision_config": SMALL, "text_config": TEXT}, "encoder.layers.{}.mlp.fc2@in", [(48, 8)] * 2, 0),
    "siglip2": ({"vision_config": NAFLEX, "text_config": TEXT}, "encoder.layers.{}.mlp.fc2@in", [(48, 8)] * 2, 0),
    "clip": ({"vision_config": SMALL, "text_config": TEXT}, "encoder.layers.{}.mlp.fc2@in", [(48, 8)] * 2, 1),
    "aimv2_vision_model": (SMALL, "encoder.layers.{}.ffn.down_proj@in", [(48, 8)] * 2, 0),
    "yolos": (
        SMALL | {"image_size": [SIDE, SIDE], "num_detection_tokens": 6}, "encoder.layer.{}.output.dense@in",
        [(48, 8)] * 2, 1,
    ),
    "convnextv2": (FOUR | {"image_size": SIDE}, "encoder.stages.{}", [(8, 16), (16, 8), (24, 4), (32, 2)], 0),
    "resnet": (FOUR | {"embedding_size": 8}, "encoder.stages.{}", [(8, 16), (16, 8), (24, 4), (32, 2)], 0),
    "poolformer": (FOUR, "encoder.block.{}.0.output.conv2@in", [(32, 16), (64, 8), (96, 4), (128, 2)], 0),
    "pvt_v2": (PYRAMID, "encoder.layers.{}.blocks.0.mlp.dense2@in", [(64, 16), (128, 8), (96, 4), (128, 2)], 0),
    "segformer": (PYRAMID, "stages.{}", [(8, 16), (16, 8), (24, 4), (32, 2)], 0),
    "hiera": (HIERA, "encoder.stages.{}.layers.0.mlp.fc2@in", [(24, 16), (48, 8), (96, 4), (192, 2)], 0),
    "swinv2": (
        SWIN, "encoder.layers.{}.blocks.*.output.dense@in", [(48, 16), (48, 16), (96, 8)], 0
    ),
    "swin": (SWIN, "encoder.layers.{}.blocks.*.mlp.fc2@in", [(48, 16), (48, 16), (96, 8)], 0),
    "focalnet": (
        {"image_size": SIDE, "embed_dim": 12, "depths": [1, 1], "hidden_sizes": [12, 24], "focal_levels": [1, 1],
         "focal_windows": [3, 3]}, "encoder.stages.{}.layers.0.mlp.fc2@in", [(48, 16), (96, 8)], 0,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A network of a type, saved by the library."""
    root = tmp_path_factory.mktemp("transformers")

    def folder(kind: str) -> Path:
        if not (root / kind).exists():
            torch.manual_seed(0)
            config = transformers.AutoConfig.for_model(kind, **NETWORKS[kind][0])
            transformers.AutoModel.from_config(config).save_pretrained(root / kind)
        return root / kind

    return folder


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_right_maps_in_the_right_order(spec: Spec, folders: Callable[[str], Path], kind: str) -> None:
    _, layers, maps_of, prefix = NETWORKS[kind]
    model = zoo.load(spec(f"transformers/{kind}", str(folders(kind)), size=SIDE))
    found = model.units.layers
    assert [(layer.channels, layer.grid) for layer in found] == [(count, (side, side)) for count, side in maps_of]
    pattern = layers.replace(".", r"\.").replace("{}", r"\d").replace("*", r"\d")
    assert all(re.fullmatch(pattern, layer.name) for layer in found)
    assert len(model.units) == sum(count for count, _ in maps_of)

    seen: dict[str, Tensor] = {}
    for layer in found:
        keep = partial(_keep, seen, layer.name)
        part: nn.Module = model.module.get_submodule(layer.name.removesuffix("@in"))
        if layer.name.endswith("@in"):
            part.register_forward_pre_hook(lambda _, given, keep=keep: keep(given))
        else:
            part.register_forward_hook(lambda _, __, output, keep=keep: keep(output))
    images, boxes = patches((SIDE, SIDE), 8)
    maps = model.observe(images)
    for layer in found if kind != "hiera" else ():
        raw = seen[layer.name]
        if raw.ndim == 3:
            raw = raw[:, prefix : prefix + layer.grid[0] ** 2].transpose(1, 2).unflatten(2, layer.grid)
        torch.testing.assert_close(maps[layer.name], raw, rtol=0, atol=0)
    assert {layer: miss for layer, miss in misses(model.units, maps, boxes).items() if miss > 1} == {}


def _keep(seen: dict[str, Tensor], name: str, raw: Any) -> None:
    raw = raw[0] if isinstance(raw, tuple) else raw
    seen[name] = (raw if isinstance(raw, Tensor) else raw.last_hidden_state).clone()


def test_mask_units_are_undone_as_the_library_does_it(spec: Spec, folders: Callable[[str], Path]) -> None:
    names = [f"encoder.stages.{stage}" for stage in range(4)]
    model = zoo.load(spec("transformers/hiera", str(folders("hiera")), layers=names))
    images, _ = patches((SIDE, SIDE), 8)
    maps = model.observe(images)
    assert model.preprocessing is not None
    with torch.inference_mode():
        published = model.module(model.preprocessing(images), output_hidden_states=True).reshaped_hidden_states
    for stage in range(4):
        torch.testing.assert_close(
            maps[f"encoder.stages.{stage}"], published[stage + 1].permute(0, 3, 1, 2), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize(("height", "width"), [(64, 32), (32, 64)])
@pytest.mark.parametrize("kind", ["siglip2", "dinov2"])
def test_grids_that_vary(spec: Spec, folders: Callable[[str], Path], kind: str, height: int, width: int) -> None:
    """SigLIP 2 takes patches of images of any size, DINOv2 resizes its position embeddings."""
    model = zoo.load(spec(f"transformers/{kind}", str(folders(kind)), size=(height, width)))
    assert model.units.grids() == ((height // 8, width // 8),)
    images, boxes = patches((height, width), 8)
    assert max(misses(model.units, model.observe(images), boxes).values()) <= 1


def test_patches_are_those_of_the_library() -> None:
    library = pytest.importorskip("transformers.models.siglip2.image_processing_siglip2")
    images = torch.rand(2, 3, 64, 48)
    _, given = family._as_patches(16, nn.Identity(), (images,), {})
    for image, found in zip(images, given["pixel_values"], strict=True):
        assert torch.equal(found, library.convert_image_to_patches(image, 16))


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        ("efficientnet", ("encoder.blocks.3", 32, (300, 300)), ("encoder.top_activation", 2560, (18, 18))),
        ("mobilevit", ("encoder.layer.0", 32, (128, 128)), ("encoder.layer.4", 160, (8, 8))),
        ("mobilevitv2", ("encoder.layer.0", 64, (128, 128)), ("encoder.layer.4", 512, (8, 8))),
        ("pvt", ("encoder.block.0.0.mlp.dense2@in", 512, (56, 56)), ("encoder.block.3.1.mlp.dense2@in", 2048, (7, 7))),
        ("swiftformer", ("encoder.network.0", 48, (56, 56)), ("encoder.network.6", 220, (7, 7))),
        ("levit", ("encoder.stages.0", 256, (7, 7)), ("encoder.stages.2", 384, (4, 4))),
        ("bit", ("encoder.stages.0", 256, (56, 56)), ("encoder.stages.3", 2048, (7, 7))),
    ],
)
def test_default_layers(spec: Spec, kind: str, first: tuple[Any, ...], last: tuple[Any, ...]) -> None:
    model = zoo.outline(spec(f"transformers/{kind}"))
    assert model is not None
    layers = [(layer.name, layer.channels, layer.grid) for layer in model.units.layers]
    assert (layers[0], layers[-1]) == (first, last)


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("encoder.layers.0.blocks.0.attention.relative_position_bias", "it is not of each image"),
        ("encoder.layers.0.blocks.0.attention", "gives 16 rows for a single image"),
    ],
)
def test_what_swin_has_that_is_no_map(spec: Spec, folders: Callable[[str], Path], layer: str, line: str) -> None:
    with pytest.raises(UserError, match=f"'{layer}' .*{line}"):
        zoo.load(spec("transformers/swin", str(folders("swin")), layers=[layer]))
