"""Models of timm and OpenCLIP as the libraries save them in folders."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec

Spec = Callable[..., ModelSpec]


def _images(size: int) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT of timm with another number of classes."""
    from timm.models._hub import save_for_hf

    folder = tmp_path_factory.mktemp("saved") / "vit"
    torch.manual_seed(0)
    save_for_hf(timm.create_model("test_vit", num_classes=7), folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP."""
    open_clip = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("saved") / "clip"
    folder.mkdir()
    text = {"context_length": 4, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    return folder


def test_a_folder_of_timm(spec: Spec, vit: Path) -> None:
    model = zoo.load(spec(f"timm/local-dir:{vit}", "pretrained"))
    layers = [layer.name for layer in model.units.layers]
    assert layers == [f"blocks.{block}.mlp.act" for block in range(6)]
    module = timm.create_model(f"local-dir:{vit}", pretrained=True).eval()
    kept: list[torch.Tensor] = []
    module.get_submodule(layers[3]).register_forward_hook(lambda _, __, output: kept.append(output))
    assert model.preprocessing is not None
    with torch.inference_mode():
        module(model.preprocessing(_images(160)))
    expected = kept[0][:, 1:].transpose(1, 2).unflatten(2, (10, 10))
    torch.testing.assert_close(model.observe(_images(160))[layers[3]], expected)
    untrained = zoo.load(spec(f"timm/local-dir:{vit}", "random:3"))
    assert untrained.units == model.units
    assert untrained.weights_sha256 != model.weights_sha256


def test_sizes_and_options_of_folders(spec: Spec, vit: Path, clip: Path) -> None:
    import open_clip

    images = torch.rand(1, 3, 48, 16)
    model = zoo.load(spec(f"open_clip/local-dir:{clip}", "pretrained", size=(48, 16)))
    assert {layer.grid for layer in model.units.layers} == {(6, 2)}
    own = open_clip.create_model(f"local-dir:{clip}", force_image_size=(48, 16)).visual.eval()
    with torch.inference_mode():
        torch.testing.assert_close(model.module(images), own(images))
    quick = zoo.load(spec(f"open_clip/local-dir:{clip}", "pretrained", options={"force_quick_gelu": True}))
    assert type(quick.module.get_submodule(quick.units.layers[0].name)).__name__ == "QuickGELU"
    with pytest.raises(UserError, match="takes no option 'layers'"):
        zoo.load(spec(f"open_clip/local-dir:{clip}", "pretrained", options={"layers": 3}))

    model = zoo.load(spec(f"timm/local-dir:{vit}", "pretrained", size=(96, 32), options={"class_token": True}))
    assert {layer.grid for layer in model.units.layers} == {(6, 2)}
    with pytest.raises(UserError, match="the weights tell the number of classes"):
        zoo.load(spec(f"timm/local-dir:{vit}", "pretrained", options={"num_classes": 3}))


def test_a_folder_of_open_clip(spec: Spec, clip: Path) -> None:
    import open_clip

    model = zoo.load(spec(f"open_clip/local-dir:{clip}", "pretrained"))
    assert [(layer.name, layer.channels, layer.grid) for layer in model.units.layers] == [
        (f"transformer.resblocks.{block}.mlp.gelu", 256, (4, 4)) for block in range(2)
    ]
    assert model.preprocessing is not None
    assert (model.preprocessing.mean, model.preprocessing.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    module = open_clip.create_model(f"local-dir:{clip}").visual.eval()
    for name, tensor in module.state_dict().items():
        assert torch.equal(model.module.state_dict()[name], tensor)


@pytest.mark.parametrize("family", ["timm", "open_clip"])
def test_folders_that_are_refused(spec: Spec, tmp_path: Path, vit: Path, clip: Path, family: str) -> None:
    saved, config, weights = {
        "timm": (vit, "config.json", "model.safetensors"),
        "open_clip": (clip, "open_clip_config.json", "open_clip_model.safetensors"),
    }[family]
    with pytest.raises(UserError, match=f"{tmp_path} has no {config}"):
        zoo.load(spec(f"{family}/local-dir:{tmp_path}", "pretrained"))
    (tmp_path / config).write_bytes((saved / config).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match=f"has no {weights}; only .safetensors are read"):
        zoo.load(spec(f"{family}/local-dir:{tmp_path}", "pretrained"))


@pytest.mark.parametrize("family", ["timm", "open_clip"])
def test_a_hub_that_does_not_answer(spec: Spec, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="weights cannot be had") as error:
        zoo.load(spec(f"{family}/hf-hub:nobody/nothing", "pretrained"))
    assert "\n" not in str(error.value)
