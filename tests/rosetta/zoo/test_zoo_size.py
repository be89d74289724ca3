"""Images of another size than published: each library's own way to resample position embeddings, or a clear no."""

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.loading import load

Spec = Callable[..., ModelSpec]
OBLONG = (96, 160)
FEW: Mapping[str, dict[str, Any]] = {
    "test_vit": {},
    "vit_small_patch14_reg4_dinov2": {"depth": 2, "embed_dim": 48, "num_heads": 2},
    "eva02_tiny_patch14_224": {"depth": 2},
    "beit_base_patch16_224": {"depth": 2, "embed_dim": 48, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {"depths": [1, 1, 2, 1], "embed_dim": 24},
    "swinv2_tiny_window8_256": {"depths": [1, 1, 2, 1], "embed_dim": 24},
    "xcit_nano_12_p16_224": {"depth": 2},
    "deit3_small_patch16_224": {"depth": 2},
}
"""Small versions of networks of timm whose tensors or tables depend on the size of their images."""


def _flat(hidden: Tensor, height: int, width: int, prefix: int) -> Tensor:
    return hidden[:, prefix:].transpose(1, 2).unflatten(2, (height, width))


def _kept(module: nn.Module, layer: str) -> list[Tensor]:
    kept: list[Tensor] = []
    module.get_submodule(layer).register_forward_hook(
        lambda _, __, output: kept.append(output[0] if isinstance(output, tuple) else output)
    )
    return kept


@pytest.mark.parametrize("name", FEW)
def test_timm(spec: Spec, tmp_path: Path, name: str) -> None:
    """A file of the published size, and what the library makes of such weights."""
    options = FEW[name]
    published = timm.create_model(name, **options)
    torch.save(published.state_dict(), tmp_path / "net.pth")
    size = (
        (98, 154) if "patch14" in name else (64, 96) if "v2_tiny" in name else (112, 224) if "swin" in name else OBLONG
    )
    if hasattr(published, "set_input_size"):  # which resamples, and scales the windows of a Swin
        own = published.eval()
        own.set_input_size(img_size=size)
    else:
        own = timm.create_model(name, img_size=size, **options).eval()
        own.load_state_dict(sys.modules[type(own).__module__].checkpoint_filter_fn(published.state_dict(), own))
    layer = "layers.2" if "swin" in name else "blocks.1"
    model = zoo.load(
        spec(f"timm/{name}", str(tmp_path / "net.pth"), options=options or None, size=size, layers=[layer])
    )
    assert model.preprocessing is not None
    assert model.preprocessing.size == size
    kept, images = _kept(own, layer), torch.rand(1, 3, *size)
    with torch.inference_mode():
        own(model.preprocessing(images))
    maps = model.observe(images)[layer]
    side = 16 if "swin" in name else own.patch_embed.patch_size
    patch = side[0] if isinstance(side, tuple) else side
    grid = (size[0] // patch, size[1] // patch)
    assert maps.shape[2:] == grid
    wanted = (
        kept[0].permute(0, 3, 1, 2)
        if kept[0].ndim == 4
        else _flat(kept[0], *grid, kept[0].shape[1] - grid[0] * grid[1])
    )
    torch.testing.assert_close(maps, wanted, rtol=1e-4, atol=1e-5)


def test_torchvision(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = torchvision.models
    published = models.vit_b_32()
    torch.save(published.state_dict(), tmp_path / "net.pth")
    own = models.vit_b_32(image_size=160).eval()
    resampled = models.vision_transformer.interpolate_embeddings(160, 32, OrderedDict(published.state_dict()))
    own.load_state_dict(resampled)
    layer = "encoder.layers.encoder_layer_1"
    model = zoo.load(spec("torchvision/vit_b_32", str(tmp_path / "net.pth"), size=160, layers=[layer]))
    kept, images = _kept(own, layer), torch.rand(1, 3, 160, 160)
    assert model.preprocessing is not None
    with torch.inference_mode():
        own(model.preprocessing(images))
    torch.testing.assert_close(model.observe(images)[layer], _flat(kept[0], 5, 5, 1))

    # The library itself refuses another size with its own weights.
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda *_, **__: published.state_dict())
    module = load(spec("torchvision/vit_b_32", "pretrained", size=160, layers=[layer])).module
    assert all(torch.equal(tensor, own.state_dict()[name]) for name, tensor in module.state_dict().items())


OWN = {"image_size": 48, "layers": 2, "width": 64, "patch_size": 16}
TIMMS = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": ""}


@pytest.mark.parametrize(
    ("vision", "layer", "size"),
    [
        (OWN, "transformer.resblocks.1", 64),
        (OWN, "transformer.resblocks.1", (32, 96)),
        (TIMMS, "trunk.blocks.1", (96, 128)),
    ],
)
def test_open_clip(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vision: dict[str, Any], layer: str, size: Any
) -> None:
    """A file of the published size, and what `create_model(force_image_size=…)` makes of it."""
    open_clip = pytest.importorskip("open_clip")
    text = {"context_length": 4, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", config)
    file = str(tmp_path / "net.safetensors")
    save_file(open_clip.create_model("tiny").state_dict(), file)
    own = open_clip.create_model("tiny", pretrained=file, force_image_size=size).visual.eval()
    model = zoo.load(spec("open_clip/tiny", file, size=size, layers=[layer]))
    assert model.preprocessing is not None
    height, width = model.preprocessing.size
    assert model.units.layers[0].grid == (height // 16, width // 16)
    kept, images = _kept(own, layer), torch.rand(1, 3, height, width)
    with torch.inference_mode():
        own(model.preprocessing(images))
    torch.testing.assert_close(model.observe(images)[layer], _flat(kept[0], height // 16, width // 16, 1))


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "image_size": 64}


@pytest.mark.parametrize(
    ("kind", "layer", "prefix", "told"),
    [
        ("ViT", "layers.1", 1, True),
        ("Dinov2", "encoder.layer.1", 1, False),
        ("CLIPVision", "encoder.layers.1", 1, True),
        ("SiglipVision", "encoder.layers.1", 0, True),
        ("IJepa", "layers.1", 0, True),
    ],
)
def test_transformers(spec: Spec, tmp_path: Path, kind: str, layer: str, prefix: int, told: bool) -> None:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(patch_size=16, **SMALL)
    own = getattr(transformers, f"{kind}Model")(config).eval()
    own.save_pretrained(tmp_path)
    model = zoo.load(spec(f"transformers/{tmp_path}", "pretrained", size=OBLONG, layers=[layer]))
    assert model.preprocessing is not None
    assert model.units.layers[0].grid == (6, 10)
    kept, images = _kept(getattr(own, "vision_model", own), layer), torch.rand(1, 3, *OBLONG)
    with torch.inference_mode():
        own(model.preprocessing(images), **({"interpolate_pos_encoding": True} if told else {}))
    torch.testing.assert_close(model.observe(images)[layer], _flat(kept[0], 6, 10, prefix), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        ("timm/test_vit", (100, 160), "its patches are 16 × 16; state size = [96, 160], for example"),
        ("timm/mvitv2_tiny", (96, 160), "for images of 96 × 160: AssertionError"),
        ("timm/efficientformer_l1", 288, "give another size"),
        ("torchvision/vit_b_32", (96, 160), "takes square images, not 96 × 160"),
        ("torchvision/vit_b_32", 150, "for images of 150 × 150"),
        ("torchvision/maxvit_t", 250, "for images of 250 × 250"),
        ("open_clip/ViT-B-32", (190, 96), "its patches are 32 × 32"),
        ("open_clip/RN50", (192, 96), "takes square images of a multiple of 32"),
        ("transformers/vit", (190, 96), "its patches are 16 × 16"),
        ("transformers/aimv2_vision_model", 196, "give another size"),
        ("pixels/32", 64, "looks at the pixels as they are"),
        ("dcgan/digiface", 128, "makes images"),
    ],
)
def test_sizes_that_a_network_cannot_take(spec: Spec, model: str, size: Any, words: str) -> None:
    with torch.device("meta"), pytest.raises(UserError) as refused:
        load(spec(model, size=size), "meta")
    assert words in str(refused.value)


def test_what_the_library_does_not_resample_is_refused(spec: Spec, tmp_path: Path) -> None:
    torch.save(timm.create_model("cait_xxs24_224", depth=1).state_dict(), tmp_path / "net.pth")
    small = spec("timm/cait_xxs24_224", str(tmp_path / "net.pth"), options={"depth": 1}, size=96, layers=["blocks.0"])
    with pytest.raises(UserError, match=r"'pos_embed' \(1, 36, 192\), which is \(1, 196, 192\) in the file"):
        zoo.load(small)
