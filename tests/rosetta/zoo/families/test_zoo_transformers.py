"""Image models of transformers, against the library's own forward pass."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.families import transformers as family

transformers = pytest.importorskip("transformers")

Spec = Callable[..., ModelSpec]

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
TOWER = {"vision_config": SMALL, "text_config": {**SMALL, "vocab_size": 50, "projection_dim": 8}, "projection_dim": 8}
MODELS: dict[str, tuple[dict[str, Any], str, int, int]] = {
    # By type: what of its configuration is small, its first default layer, channels, and tokens before the places.
    "vit": (SMALL, "layers.0.mlp.fc2@in", 48, 1),
    "deit": (SMALL, "layers.0.mlp.fc2@in", 48, 2),
    "dinov2": (SMALL, "encoder.layer.0.mlp.fc2@in", 96, 1),
    "dinov2_with_registers": (SMALL | {"use_swiglu_ffn": True}, "encoder.layer.0.mlp.down_proj@in", 64, 5),
    "dinov3_vit": (SMALL | {"num_register_tokens": 4}, "model.layer.0.mlp.down_proj@in", 48, 5),
    "vit_mae": (SMALL, "layers.0.mlp.fc2@in", 48, 1),
    "ijepa": (SMALL, "layers.0.mlp.fc2@in", 48, 0),
    "beit": (SMALL, "layers.0.mlp.fc2@in", 48, 1),
    "data2vec-vision": (SMALL, "encoder.layer.0.output.dense@in", 48, 1),
    "siglip": (TOWER, "encoder.layers.0.mlp.fc2@in", 48, 0),
    "clip": (TOWER, "encoder.layers.0.mlp.fc2@in", 48, 1),
    "aimv2_vision_model": (SMALL, "encoder.layers.0.ffn.down_proj@in", 48, 0),
    "yolos": (SMALL | {"image_size": [32, 32], "num_detection_tokens": 6}, "encoder.layer.0.output.dense@in", 48, 1),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A small network of a type, saved by the library."""
    root = tmp_path_factory.mktemp("transformers")

    def folder(kind: str) -> Path:
        if not (root / kind).exists():
            torch.manual_seed(0)
            _network(kind).save_pretrained(root / kind)
        return root / kind

    return folder


def _network(kind: str) -> Any:
    config = transformers.AutoConfig.for_model(kind, **MODELS[kind][0])
    return transformers.AutoModel.from_config(config).eval()


def _images(count: int = 2, size: int = 32) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", MODELS)
def test_maps_are_those_of_the_library(spec: Spec, folders: Callable[[str], Path], kind: str) -> None:
    _, layer, channels, prefix = MODELS[kind]
    model = zoo.load(spec(f"transformers/{kind}", str(folders(kind)), size=32))
    first = model.units.layers[0]
    assert (first.name, first.channels, first.grid) == (layer, channels, (4, 4))
    assert len(model.units.layers) == 2
    tower: nn.Module = transformers.AutoModel.from_pretrained(folders(kind)).eval()
    tower = getattr(tower, "vision_model", tower)
    kept: list[Tensor] = []
    tower.get_submodule(layer.removesuffix("@in")).register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    assert model.preprocessing is not None
    told = {"noise": torch.arange(16.0).expand(2, -1)} if kind == "vit_mae" else {}
    tower.config.mask_ratio = 0.0  # type: ignore[union-attr]
    with torch.inference_mode():
        tower(model.preprocessing(_images()), **told)
    expected = kept[0][:, prefix : prefix + 16].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(model.observe(_images())[layer], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "config", "layers"),
    [
        ("convnextv2", {"image_size": 64, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}, 4),
        ("resnet", {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "embedding_size": 8}, 4),
        ("swinv2", {"image_size": 64, "embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}, 2),
    ],
)
def test_networks_that_are_no_plain_transformers(
    spec: Spec, tmp_path: Path, kind: str, config: dict[str, Any], layers: int
) -> None:
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **config)).save_pretrained(tmp_path)
    model = zoo.load(spec(f"transformers/{kind}", str(tmp_path), size=64))
    assert len(model.units.layers) >= layers
    assert model.units.layers[0].grid > model.units.layers[-1].grid


@pytest.mark.parametrize("kind", ["vit", "clip", "dinov2"])
def test_what_the_class_token_attends_to(spec: Spec, folders: Callable[[str], Path], kind: str) -> None:
    attention = MODELS[kind][1].replace("mlp.fc2@in", "self_attn" if kind == "clip" else "attention")
    model = zoo.load(spec(f"transformers/{kind}", str(folders(kind)), layers=[f"{attention}@pattern"], size=32))
    tower: Any = transformers.AutoModel.from_pretrained(folders(kind), attn_implementation="eager").eval()
    tower = getattr(tower, "vision_model", tower)
    assert model.preprocessing is not None
    with torch.inference_mode():
        weights = tower(model.preprocessing(_images()), output_attentions=True).attentions[0]
    expected = weights[:, :, 0, 1:].unflatten(2, (4, 4))
    torch.testing.assert_close(model.observe(_images())[f"{attention}@pattern"], expected, rtol=1e-5, atol=1e-6)


def test_a_bright_patch_lights_its_own_place(spec: Spec, folders: Callable[[str], Path]) -> None:
    model = zoo.load(spec("transformers/vit", str(folders("vit")), layers=["embeddings"], size=32))
    dark = torch.full((1, 3, 32, 32), 0.5)
    lit = dark.clone()
    lit[:, :, 8:16, 24:32] = 1.0
    change = (model.observe(lit)["embeddings"] - model.observe(dark)["embeddings"]).abs().sum(dim=(0, 1))
    assert change[1, 3] > 0
    assert change.count_nonzero() == 1


def test_shards_a_path_as_the_name_and_the_same_digest(
    spec: Spec, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = zoo.load(spec("transformers/vit", str(folders("vit")), size=32))
    transformers.AutoModel.from_pretrained(folders("vit")).save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    sharded = zoo.load(spec("transformers/vit", str(tmp_path), size=32))
    named = zoo.load(spec(f"transformers/{tmp_path}", "pretrained", size=32))
    for name, values in whole.observe(_images()).items():
        assert torch.equal(sharded.observe(_images())[name], values)
        assert torch.equal(named.observe(_images())[name], values)
    assert zoo.weights_sha256(spec("transformers/vit", str(tmp_path))) == sharded.weights_sha256


def test_the_library_sees_no_other_files(
    spec: Spec, folders: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folders("vit"), tmp_path / "vit")
    (tmp_path / "vit" / "adapter_config.json").write_text("{}")
    (tmp_path / "vit" / "pytorch_model.bin").write_bytes(b"a pickle")
    load, seen = family._from_pretrained, set[str]()

    def watched(place: str, config: Any) -> Any:
        seen.update(path.name for path in Path(place).iterdir())
        return load(place, config)

    monkeypatch.setattr(family, "_from_pretrained", watched)
    zoo.load(spec("transformers/vit", str(tmp_path / "vit"), size=32))
    assert seen == {"config.json", "model.safetensors"}


def test_images_are_prepared_as_published(spec: Spec, folders: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(folders("clip"), tmp_path / "clip")
    published = {"crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "size": {"shortest_edge": 40},
                 "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3}  # fmt: skip
    (tmp_path / "clip" / "preprocessor_config.json").write_text(json.dumps(published))
    found = zoo.load(spec("transformers/clip", str(tmp_path / "clip"))).preprocessing
    assert found is not None
    assert (found.size, found.interpolation, found.mean, found.std) == (
        (32, 32), "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    )  # fmt: skip


def _remote_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    (folder / "evil.py").write_text("raise SystemExit('ran')")


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def _other_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))


def _lacking(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if "fc1.weight" in name or "intermediate.dense.weight" in name)
    save_file({key: value for key, value in tensors.items() if key != name}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda folder: (folder / "config.json").unlink(), "have no config.json; give a folder as save_pretrained"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json is no JSON object"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "dinov2"}'), "are of a dinov2, not of"),
        (_remote_code, "come with code of their own, which is never run"),
        (_pickled, "have no model.safetensors; save the model with safe_serialization=True"),
        (_other_width, "have another shape for"),
        (_lacking, "lack "),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text('{"rescale_factor": 0.007}'),
            "scales pixels to another range",
        ),
    ],
)
def test_folders_that_are_refused(
    spec: Spec, folders: Callable[[str], Path], tmp_path: Path, change: Callable[[Path], Any], line: str
) -> None:
    shutil.copytree(folders("vit"), tmp_path / "vit")
    change(tmp_path / "vit")
    with pytest.raises(UserError) as error:
        zoo.load(spec("transformers/vit", str(tmp_path / "vit"), size=32))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "weights", "line"),
    [
        ("vit", "pretrained", "is a type of network and names no weights; give a folder as weights"),
        ("dinov22", "random:0", "no name of the hub, ORG/NAME; did you mean 'dinov2'"),
        ("nobody/nothing", "pretrained", "its pretrained weights cannot be had"),
        ("/no/such/folder", "pretrained", "is no type of network, no folder and no name of the hub"),
    ],
)
def test_names_that_are_refused(
    spec: Spec, monkeypatch: pytest.MonkeyPatch, name: str, weights: str, line: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        zoo.load(spec(f"transformers/{name}", weights))
    assert line in str(error.value)
    assert "\n" not in str(error.value)
