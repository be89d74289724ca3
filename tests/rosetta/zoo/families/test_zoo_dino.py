"""DINO's ResNet-50, against torchvision's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.families.dino import DINO

Spec = Callable[..., ModelSpec]


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    """Torchvision's network with moments as training leaves them, so that no two batch norms are the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = resnet50(weights=None).eval()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
                part.running_var.uniform_(0.8, 1.2)  # type: ignore[union-attr]
    return network


def _published(backbone: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in backbone.state_dict().items() if not name.startswith("fc.")}


def _full(backbone: nn.Module, prefix: str) -> dict[str, object]:
    """A checkpoint of the training script: two networks with a projection head each, and more."""
    state = _published(backbone)
    head = {"head.mlp.0.weight": torch.zeros(8, 2048), "head.last_layer.weight_v": torch.zeros(4, 8)}
    teacher = {
        **{f"{prefix}backbone.{name}": tensor for name, tensor in state.items()},
        **{f"{prefix}{name}": tensor for name, tensor in head.items()},
    }
    student = {name: torch.zeros_like(tensor) for name, tensor in teacher.items()}
    return {"student": student, "teacher": teacher, "epoch": 800, "dino_loss": {"center": torch.zeros(1, 4)}}


def _save(content: object, folder: Path) -> str:
    path = folder / "weights.pth"
    torch.save(content, path)
    return str(path)


def test_units(spec: Spec) -> None:
    model = zoo.load(spec("dino/resnet50"))
    assert [(layer.name, layer.channels, layer.grid) for layer in model.units.layers] == [
        ("layer1", 256, (56, 56)),
        ("layer2", 512, (28, 28)),
        ("layer3", 1024, (14, 14)),
        ("layer4", 2048, (7, 7)),
    ]
    assert len(model.units) == 3840
    assert model.preprocessing == zoo.Preprocessing((224, 224), "bicubic")
    assert zoo.names("dino") == ["resnet50"]
    assert not zoo.is_generator(model.spec)


@pytest.mark.parametrize("layout", ["published", "full", "full, not parallel"])
def test_maps_are_those_of_torchvision(spec: Spec, backbone: nn.Module, tmp_path: Path, layout: str) -> None:
    content = _published(backbone) if layout == "published" else _full(backbone, "module." * (layout == "full"))
    model = zoo.load(spec("dino/resnet50", _save(content, tmp_path)))
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    maps = model.observe(images)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        x = (images - mean) / std
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            x = backbone.get_submodule(name)(x)
            if name in maps:
                torch.testing.assert_close(maps[name], x, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


def test_the_student_is_not_taken(spec: Spec, backbone: nn.Module, tmp_path: Path) -> None:
    model = zoo.load(spec("dino/resnet50", _save(_full(backbone, "module."), tmp_path)))
    for name, tensor in _published(backbone).items():
        assert torch.equal(model.module.state_dict()[name], tensor), name


def test_a_head_that_was_trained_on_labels_is_left_over(spec: Spec, backbone: nn.Module, tmp_path: Path) -> None:
    model = zoo.load(spec("dino/resnet50", _save(backbone.state_dict(), tmp_path)))
    for name, tensor in _published(backbone).items():
        assert torch.equal(model.module.state_dict()[name], tensor), name


def test_other_weights_are_refused(spec: Spec, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do not fit dino/resnet50: first difference") as caught:
        zoo.load(spec("dino/resnet50", _save(nn.Linear(3, 4).state_dict(), tmp_path)))
    assert "\n" not in str(caught.value)


def test_pretrained(spec: Spec, backbone: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def give(url: str, *, weights_only: bool = False, **_: object) -> dict[str, Tensor]:
        assert weights_only
        asked.append(url.rpartition("/")[2])
        return _published(backbone)

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", give)
    module = DINO().build("resnet50", None, True, Condition()).module
    assert asked == ["dino_resnet50_pretrain.pth"]
    torch.testing.assert_close(module.state_dict()["conv1.weight"], backbone.state_dict()["conv1.weight"])

    def refuse(*_: object, **__: object) -> dict[str, Tensor]:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    with pytest.raises(UserError, match=r"dino/resnet50: its pretrained weights cannot be had .*give a local file"):
        zoo.load(spec("dino/resnet50", "pretrained"))


def test_no_such_model(spec: Spec) -> None:
    with pytest.raises(UserError, match="dino has no model 'resnet_50'; did you mean 'resnet50'"):
        zoo.load(spec("dino/resnet_50"))
