"""Every way in which weights can be wrong, and a few in which they are right."""

import argparse
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.weights.checkpoint import read_tensors
from rosetta.zoo.weights.source import parse_weights, tensors_sha256
from rosetta.zoo.weights.statedict import load_state

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]


def _read(path: Path | str, key: str | None = None) -> dict[str, torch.Tensor]:
    weights = parse_weights(str(path))
    return read_tensors(weights, () if key is None else (key,))  # type: ignore[arg-type]


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()


class Trap:
    """Unpickled by a careless reader, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", *range(6)])
def test_code_is_refused_and_does_not_run(tmp_path: Path, state: dict[str, torch.Tensor], kind: str | int) -> None:
    sprung, file = tmp_path / "sprung", tmp_path / "weights.pth"
    held = {"state_dict": state, "extra": Trap(sprung)}
    if isinstance(kind, int):
        file.write_bytes(pickle.dumps({"extra": Trap(sprung)}, protocol=kind))
    else:
        torch.save(held, file, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(UserError, match=r"are refused: the file carries code \(\w+\.mkdir\)") as caught:
        _read(file)
    assert "\n" not in str(caught.value)
    assert not sprung.exists()


def test_other_things_than_tensors_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(nn.Conv2d(3, 4, 3), tmp_path / "module.pth")
    with pytest.raises(UserError, match=r"an object of the class torch\.nn\.modules\.conv\.Conv2d\); save"):
        _read(tmp_path / "module.pth")
    torch.save({"args": argparse.Namespace(lr=1)}, tmp_path / "args.pth")
    with pytest.raises(UserError, match=r"\(args, an object of the class argparse\.Namespace\)"):
        _read(tmp_path / "args.pth")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "jit.pt")
    with pytest.raises(UserError, match=r"a TorchScript program.*torch\.jit\.load\(.*\)\.state_dict\(\)"):
        _read(tmp_path / "jit.pt")
    torch.save({"step": 3}, tmp_path / "step.pth")
    with pytest.raises(UserError, match=r"hold no state dict \(keys step\)"):
        _read(tmp_path / "step.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match=r"hold no state dict \(list\)"):
        _read(tmp_path / "list.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_anywhere(tmp_path: Path, state: dict[str, torch.Tensor], legacy: bool) -> None:
    torch.save(state, tmp_path / "whole.pth", _use_new_zipfile_serialization=not legacy)
    content = (tmp_path / "whole.pth").read_bytes()
    for length in (0, 1, 10, 100, len(content) // 2, len(content) - 8):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(UserError, match=r"cut\.pth' are damaged, truncated"):
            _read(tmp_path / "cut.pth")


def test_truncated_safetensors(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, tmp_path / "whole.safetensors")
    assert list(_read(tmp_path / "whole.safetensors")) == sorted(state)
    content = (tmp_path / "whole.safetensors").read_bytes()
    for length in (0, 7, 40, len(content) - 1):
        (tmp_path / "cut.safetensors").write_bytes(content[:length])
        with pytest.raises(UserError, match="are damaged"):
            _read(tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("/nowhere/net.pth", "no such file"),
        ("nowhere.safetensors", "no such file"),
        ("nope://bucket/net.pth", "cannot be opened: ValueError: Protocol not known"),
        ("", "weights is empty"),
        ("package:", "incomplete"),
        ("package:torch", "incomplete"),
        ("package:no_such_package/net.pth", "'no_such_package' is not installed; install it"),
        ("package:pickle/net.pth", "not installed"),
        ("package:torch.nn/net.pth", "no name of a package"),
        ("package:timm/../torch/version.py", "leaves the package 'timm'"),
        ("package:timm/models/../../torch/version.py", "leaves the package 'timm'"),
        ("package:timm//etc/passwd", "leaves the package 'timm'"),
        ("package:timm/nothing.pth", "has no file 'nothing.pth'"),
        ("package:gan_face_generate/weigths.tar", "did you mean 'weights.tar'"),
        ("random:", "the seed must be a whole number"),
        ("random:-1", "the seed must be a whole number"),
        ("random:1.5", "the seed must be a whole number"),
        ("random:many", "the seed must be a whole number"),
        ("random:99999999999999999999", "the seed must be a whole number"),
    ],
)
def test_no_such_weights(spec: Spec, weights: str, message: str) -> None:
    for call in (zoo.load, zoo.weights_sha256):
        with pytest.raises(UserError, match=message):
            call(spec("dcgan/digiface", weights))


def test_a_folder_is_no_file(spec: Spec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        zoo.load(spec("dcgan/digiface", str(tmp_path)))


def test_a_package_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Any) -> None:
    package = tmp_path / "zoo_test_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemError('imported')")
    torch.save(state, package / "net.pth")
    torch.save(state, tmp_path / "outside.pth")
    (package / "link.pth").symlink_to(tmp_path / "outside.pth")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(_read("package:zoo_test_package/net.pth")) == list(state)
    with pytest.raises(UserError, match="leaves the package"):
        _read("package:zoo_test_package/link.pth")


def test_state_dicts_are_found_where_trainers_put_them(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "net.pth"
    other = {"a": torch.zeros(1)}
    for held in (
        state,
        {"state_dict": state, "epoch": 3},
        {"model": {"state_dict": state}, "optimizer": {"lr": 0.1}},
        {"g": other, "g_ema": state},
        {"netG_state_dict": state, "netD_state_dict": other},
        {"weird": state, "epoch": 3},
        {f"module.{name}": tensor for name, tensor in state.items()},
    ):
        torch.save(held, file)
        assert list(_read(file)) == list(state)
    torch.save({"model": other, "mine": state}, file)
    assert list(_read(file, "mine")) == list(state)
    torch.save({"one": other, "two": state}, file)
    with pytest.raises(UserError, match=r"hold no state dict \(keys one, two\)"):
        _read(file)


def test_any_fsspec_url(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "net.pth")
    content = (tmp_path / "net.pth").read_bytes()
    fsspec.filesystem("memory").pipe("/zoo/net.pth", content)
    assert list(_read("memory://zoo/net.pth")) == list(state)
    spec = ModelSpec(name="net", model="timm/resnet18", weights="memory://zoo/net.pth")
    assert zoo.weights_sha256(spec) == hashlib.sha256(content).hexdigest()
    assert list(_read(f"file://{tmp_path}/net.pth")) == list(state)


def _net(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 2, 1))


def test_by_name() -> None:
    source, target = _net(), _net()
    state = source.state_dict()
    old = {name: value for name, value in reversed(state.items()) if not name.endswith("num_batches_tracked")}
    load_state(target, old, "name", "w", "m")
    assert tensors_sha256(source) == tensors_sha256(target)


@pytest.mark.parametrize("counted", [True, False])
def test_by_order(counted: bool) -> None:
    source, target = _net(), _net()
    state = {
        f"renamed.{place}.{name.rpartition('.')[2]}": value
        for place, (name, value) in enumerate(source.state_dict().items())
        if counted or not name.endswith("num_batches_tracked")
    }
    with pytest.raises(
        UserError, match=r"the model has '0.weight' \(4, 3, 3, 3\), the file 'renamed.0.weight' .*match = \"order\""
    ):
        load_state(target, state, "name", "w", "m")
    load_state(target, state, "order", "w", "m")
    assert tensors_sha256(source) == tensors_sha256(target)


@pytest.mark.parametrize(
    ("change", "match", "message"),
    [
        (lambda s: _net(5).state_dict(), "name", r"'0.weight' \(4, 3, 3, 3\), the file '0.weight' \(5, 3, 3, 3\)"),
        (
            lambda s: _net(5).state_dict(),
            "order",
            r"'0.weight' \(4, 3, 3, 3\), the file '0.weight' .* at tensor 1 of 9",
        ),
        (lambda s: dict(list(s.items())[:-1]), "name", r"'2.bias' \(2,\), the file nothing more"),
        (lambda s: dict(list(s.items())[:-1]), "order", r"'2.bias' \(2,\), the file nothing more at tensor 8 of 8"),
        (lambda s: {**s, "x": torch.zeros(1)}, "name", r"nothing more, the file 'x' \(1,\)"),
        (lambda s: {**s, "x": torch.zeros(1)}, "order", r"nothing more, the file 'x' \(1,\)"),
    ],
)
def test_the_first_difference_is_shown(change: Any, match: Any, message: str) -> None:
    target = _net()
    before = tensors_sha256(target)
    with pytest.raises(UserError, match=message) as caught:
        load_state(target, change(target.state_dict()), match, "w", "m")
    assert 'match = "order"' not in str(caught.value)
    assert tensors_sha256(target) == before


def test_wrong_architecture(spec: Spec, tmp_path: Path) -> None:
    torch.save(_net().state_dict(), tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"do not fit timm/resnet18: first difference: the model has 'conv1\.weight'"):
        zoo.load(spec("timm/resnet18", str(tmp_path / "net.pth")))


def test_safetensors_keep_no_order(spec: Spec, tmp_path: Path) -> None:
    state = {f"renamed.{name}": value for name, value in _net().state_dict().items()}
    save_file(state, tmp_path / "net.safetensors")
    with pytest.raises(UserError, match=r"keep no order; give the file that torch\.save wrote"):
        zoo.load(spec("timm/resnet18", str(tmp_path / "net.safetensors"), match="order"))
    with pytest.raises(UserError, match="do not fit") as caught:
        load_state(_net(), state, "name", "w", "m", ordered=False)
    assert "match" not in str(caught.value)


@pytest.mark.parametrize("model", ["timm/test_resnet", "torchvision/squeezenet1_1", "timm/test_vit"])
def test_a_fine_tuned_checkpoint_brings_its_classes(spec: Spec, tmp_path: Path, model: str) -> None:
    family, _, name = model.partition("/")
    if family == "timm":
        import timm

        module = timm.create_model(name, num_classes=7)
    else:
        from torchvision.models import get_model

        module = get_model(name, num_classes=7)
    torch.save({"epoch": 1, "state_dict": module.state_dict()}, tmp_path / "net.pth")
    loaded = zoo.load(spec(model, str(tmp_path / "net.pth")))
    assert tensors_sha256(loaded.module) == tensors_sha256(module)


def test_checkpoints_of_the_authors_are_read_by_timms_own_rules(spec: Spec, tmp_path: Path) -> None:
    import timm

    module = timm.create_model("test_vit")
    # DINOv2 releases carry the token that only its training used
    torch.save({**module.state_dict(), "mask_token": torch.zeros(1, 64)}, tmp_path / "net.pth")
    loaded = zoo.load(spec("timm/test_vit", str(tmp_path / "net.pth")))
    assert tensors_sha256(loaded.module) == tensors_sha256(module)


def test_a_seed_gives_the_same_network_and_touches_no_global_state(spec: Spec) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = zoo.load(spec("timm/test_resnet", "random:3"))
    two = zoo.load(spec("timm/test_resnet", "random:3"))
    other = zoo.load(spec("timm/test_resnet", "random:4"))
    zoo.load(spec("dcgan/digiface", "package:gan_face_generate/weights.tar"))
    assert torch.equal(torch.rand(3), expected)
    assert tensors_sha256(one.module) == tensors_sha256(two.module) != tensors_sha256(other.module)
    assert one.weights_sha256 == hashlib.sha256(b"random:3").hexdigest() == zoo.weights_sha256(one.spec)


@pytest.mark.parametrize("model", ["timm/test_resnet", "torchvision/resnet18"])
def test_pretrained_without_a_network(spec: Spec, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    import timm
    from torchvision import models

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no route to host\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(models, "get_model", offline)
    with pytest.raises(UserError, match=f"{model}: its pretrained weights cannot be had .*give a local file"):
        zoo.load(spec(model, "pretrained"))


def test_pretrained_dcgan_names_the_package(spec: Spec) -> None:
    with pytest.raises(UserError, match=r"package:gan_face_generate/weights\.tar"):
        zoo.load(spec("dcgan/digiface", "pretrained"))
