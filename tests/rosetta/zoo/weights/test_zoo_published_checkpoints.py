"""Checkpoints in the layouts in which people publish them, into networks of timm, torchvision and OpenCLIP."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.weights.source import tensors_sha256

Spec = Callable[..., ModelSpec]
State = dict[str, Tensor]


def _under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def _zeros(state: State) -> State:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


def _headless(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(("fc.", "head."))}


LAYOUTS: dict[str, Callable[[State], Any]] = {
    "arguments": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1), "epoch": 3},
    "metrics": lambda state: {"state_dict": state, "best_acc1": np.float64(71.2)},
    "MoCo": lambda state: {
        "state_dict": _under("module.encoder_q.", _headless(state))
        | _under("module.encoder_k.", _zeros(_headless(state)))
        | {"module.queue": torch.zeros(2, 2)}
    },
    "backbone and head": lambda state: {
        "state_dict": _under("backbone.", _headless(state)) | {"projection_head.0.weight": torch.zeros(3, 3)}
    },
    "wrapped": lambda state: _under("model.", state),
    "headless": _headless,
    "compiled": lambda state: _under("_orig_mod.", state),
    "averaged": lambda state: {"n_averaged": torch.tensor(3)} | _under("module.", state),
    "DINO": lambda state: {
        "student": _under("module.backbone.", _zeros(_headless(state)))
        | {"module.head.mlp.0.weight": torch.ones(2, 2)},
        "teacher": _under("backbone.", _headless(state)) | {"head.mlp.0.weight": torch.ones(2, 2)},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit"),
    },
    "MAE": lambda state: {
        "model": {"mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1, 5, 8)}
        | _headless(state)
        | {"decoder_embed.weight": torch.zeros(3, 3), "decoder_blocks.0.norm1.weight": torch.zeros(3)},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}},
    },
    "Lightning": lambda state: {
        "state_dict": _under("model.", state),
        "hyper_parameters": {"lr": 0.1},
        "pytorch-lightning_version": "2.4.0",
    },
    "timm, with averages": lambda state: {"state_dict": _zeros(state), "state_dict_ema": state, "arch": "x"},
    "data parallel of compiled": lambda state: {"model": _under("module._orig_mod.", state)},
}


FLAT = ("wrapped", "headless", "compiled", "averaged")
"""Layouts of tensors alone, which safetensors can hold."""


@pytest.mark.parametrize(
    ("layout", "kind"), [*((layout, "pth") for layout in LAYOUTS), *((layout, "safetensors") for layout in FLAT)]
)
@pytest.mark.parametrize("model", ["timm/test_resnet", "timm/test_vit"])
def test_a_published_layout_gives_the_maps_of_its_network(
    spec: Spec, tmp_path: Path, model: str, layout: str, kind: str
) -> None:
    module = timm.create_model(model.partition("/")[2]).eval()
    content = LAYOUTS[layout](module.state_dict())
    file = tmp_path / f"net.{kind}"
    if kind == "pth":
        torch.save(content, file)
    else:
        save_file({name: tensor.clone() for name, tensor in content.items()}, file)
    torch.save(module.state_dict(), tmp_path / "plain.pth")
    loaded, plain = (zoo.load(spec(model, str(path))) for path in (file, tmp_path / "plain.pth"))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for name, maps in plain.observe(images).items():
        assert torch.equal(maps, loaded.observe(images)[name]), name


@pytest.mark.parametrize("model", ["timm/test_resnet", "timm/test_vit", "timm/test_convnext"])
def test_what_may_lack_is_what_the_maps_do_not_depend_on(spec: Spec, tmp_path: Path, model: str) -> None:
    """Against automatic differentiation, tensor by tensor."""
    file = tmp_path / "net.pth"
    whole = timm.create_model(model.partition("/")[2]).state_dict()
    torch.save(whole, file)
    reference = zoo.load(spec(model, str(file)))
    parameters = dict(reference.module.requires_grad_(True).named_parameters())
    maps = reference.look(torch.rand(1, 3, 64, 64))
    total = torch.stack([values.square().sum() for values in maps.values()]).sum()
    gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        torch.save({other: tensor for other, tensor in whole.items() if other != name}, file)
        if gradient is None:
            zoo.load(spec(model, str(file)))
        else:
            with pytest.raises(UserError, match=f"needs '{name}' .*, which the file lacks"):
                zoo.load(spec(model, str(file)))


@pytest.mark.parametrize(
    ("model", "other", "word"),
    [
        # All tensors of a ResNet-18 are in a ResNet-34.
        ("torchvision/resnet18", lambda: torchvision.models.resnet34(), "layer1.2.conv1.weight"),
        ("timm/vit_tiny_patch16_224", lambda: timm.create_model("deit_tiny_distilled_patch16_224"), "dist_token"),
        ("timm/test_vit", lambda: timm.create_model("test_vit", reg_tokens=2), "reg_token"),
        ("timm/test_vit", lambda: timm.create_model("test_vit", init_values=0.1), "blocks.0.ls1.gamma"),
        ("timm/test_vit", lambda: timm.create_model("test_vit", pre_norm=True), "norm_pre.weight"),
        ("timm/test_vit", lambda: timm.create_model("test_vit", depth=12), "blocks.6.norm1.weight"),
    ],
)
def test_a_larger_network_is_not_taken_for_a_smaller_one(
    spec: Spec, tmp_path: Path, model: str, other: Callable[[], nn.Module], word: str
) -> None:
    torch.save(other().state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match=rf"do not fit {model}: .*'{word}'.*is the file of another architecture"):
        zoo.load(spec(model, str(tmp_path / "other.pth")))


def test_position_embeddings_of_another_size_are_resized_as_before(spec: Spec, tmp_path: Path) -> None:
    larger = timm.create_model("test_vit", img_size=224)
    torch.save({"model": _under("backbone.", _headless(larger.state_dict()))}, tmp_path / "net.pth")
    loaded = zoo.load(spec("timm/test_vit", str(tmp_path / "net.pth")))
    assert (
        loaded.module.state_dict()["pos_embed"].shape == timm.create_model("test_vit").state_dict()["pos_embed"].shape
    )
    assert torch.equal(loaded.module.state_dict()["cls_token"], larger.state_dict()["cls_token"])


def test_another_number_of_classes_is_taken_behind_a_prefix(spec: Spec, tmp_path: Path) -> None:
    for model, module in (
        ("timm/test_resnet", timm.create_model("test_resnet", num_classes=7)),
        ("torchvision/squeezenet1_1", torchvision.models.squeezenet1_1(num_classes=7)),
    ):
        torch.save({"state_dict": _under("net.", module.state_dict())}, tmp_path / "net.pth")
        loaded = zoo.load(spec(model, str(tmp_path / "net.pth")))
        assert tensors_sha256(loaded.module) == tensors_sha256(module)


def _shard(folder: Path, state: State, ending: str) -> None:
    folder.mkdir()
    names = list(state)
    shards = {f"model-0000{place + 1}-of-00003.{ending}": names[place::3] for place in range(3)}
    for file, held in shards.items():
        part = {name: state[name].clone() for name in held}
        (save_file if ending == "safetensors" else torch.save)(part, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, held in shards.items() for name in held}}
    (folder / f"model.{ending}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
@pytest.mark.parametrize("named", ["folder", "index", "url"])
def test_shards_are_read_by_their_index(spec: Spec, tmp_path: Path, ending: str, named: str) -> None:
    module = timm.create_model("test_resnet")
    _shard(tmp_path / "net", _under("model.", module.state_dict()), ending)
    index = tmp_path / "net" / f"model.{ending}.index.json"
    weights = {"folder": str(tmp_path / "net"), "index": str(index), "url": f"file://{index}"}[named]
    loaded = zoo.load(spec("timm/test_resnet", weights))
    assert tensors_sha256(loaded.module) == tensors_sha256(module)
    assert zoo.weights_sha256(loaded.spec) == loaded.weights_sha256
    shard = next((tmp_path / "net").glob("*00002*"))
    shard.write_bytes(shard.read_bytes()[:-8])
    assert zoo.weights_sha256(loaded.spec) != loaded.weights_sha256
    with pytest.raises(UserError, match=r"model-00002-of-00003.* are damaged"):
        zoo.load(loaded.spec)
    shard.unlink()
    with pytest.raises(UserError, match=r"model-00002-of-00003.*: no such file"):
        zoo.load(loaded.spec)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is not an index of shards"),
        ("[]", "is not an index of shards"),
        ('{"weight_map": {}}', "names no file; it must name files beside it"),
        ('{"weight_map": {"a": "../x.safetensors"}}', "must name files beside it"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "must name files beside it"),
        ('{"weight_map": {"a": 3}}', "must name files beside it"),
        ('{"weight_map": {"a": ["x"]}}', "is not an index of shards"),
    ],
)
def test_an_index_names_files_beside_it(spec: Spec, tmp_path: Path, index: str, message: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    for call in (zoo.load, zoo.weights_sha256):
        with pytest.raises(UserError, match=message):
            call(spec("timm/test_resnet", str(tmp_path)))


def test_a_torchscript_clip_is_told_how_to_convert(spec: Spec, tmp_path: Path) -> None:
    program = torch.jit.trace(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))
    torch.jit.save(program, tmp_path / "ViT-B-32.pt")
    with pytest.raises(UserError, match=r"are a TorchScript program.*torch\.jit\.load") as caught:
        zoo.load(spec("open_clip/ViT-B-32", str(tmp_path / "ViT-B-32.pt")))
    assert "\n" not in str(caught.value)
