"""Operations of a forward pass, counted without computing, are those that publications state."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from rosetta import zoo
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.families.diffusers.sampling import Generator
from rosetta.zoo.structure import outline, run_outline
from rosetta.zoo.work import _counted

Spec = Callable[..., ModelSpec]


@pytest.mark.parametrize(
    ("model", "gmac"),
    [
        ("torchvision/resnet50", 4.09),
        ("torchvision/mobilenet_v2", 0.30),
        ("timm/vit_base_patch16_224", 17.56),
        ("timm/vit_base_patch16_224.mae", 17.56),
    ],
)
def test_published_networks(spec: Spec, model: str, gmac: float) -> None:
    work = zoo.forward_work(spec(model, weights="no/such/file.pth"))
    assert work is not None
    assert work.operations == pytest.approx(2e9 * gmac, rel=0.01)


def test_a_convolution_by_hand(factory: Callable[[Callable[[], object]], str], spec: Spec) -> None:
    def make() -> nn.Module:
        net = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True))
        net.image_size, net.default_layers = 16, "*"
        return net

    work = zoo.forward_work(spec(factory(make)))
    assert work is not None
    assert (work.convolutions, work.products) == (2 * 3 * 5 * 9 * 16 * 16, 0)
    # The convolution reads the image and writes its maps, which the ReLU reads and writes: more is the preprocessing's.
    assert work.moved >= 4 * 16 * 16 * (3 + 5 + 5 + 5)


def test_steps_of_a_diffusion_model_are_extrapolated_exactly(spec: Spec) -> None:
    three = spec("diffusers/ddpm-cifar10-32", condition=Condition(steps=3))
    model, work = outline(three), zoo.forward_work(three)
    assert model is not None
    assert work is not None
    whole = _counted(model, 3)
    assert (work.convolutions, work.products) == (whole.convolutions, whole.products)


def test_guidance_doubles_the_work_of_a_step(spec: Spec) -> None:
    def step(guidance: float) -> int:
        model = outline(spec("diffusers/dit-xl-2-256", condition=Condition(steps=2, guidance=guidance)))
        assert model is not None
        return _counted(model, 2).operations - _counted(model, 1).operations

    # DiT-XL/2 at 256 × 256 takes 118.6 GFLOP of multiply-adds for a step (Peebles & Xie, 2023, table 4).
    assert step(1.0) == pytest.approx(2 * 118.6e9, rel=0.01)
    assert step(4.0) == 2 * step(1.0)


def test_steps_come_back_after_a_failure(spec: Spec) -> None:
    model = outline(spec("diffusers/ddpm-cifar10-32", condition=Condition(steps=3)))
    assert model is not None
    assert isinstance(model.module, Generator)
    model.module.register_forward_pre_hook(lambda *_: torch.zeros(1, device="meta").item())
    with pytest.raises((RuntimeError, NotImplementedError)):
        run_outline(model, 1, last_steps=1)
    assert len(model.module.timesteps) == 3


def test_no_outline_no_work(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code asks for values, and there are none."""
    (tmp_path / "asking_for_values.py").write_text(
        "import torch\n\n\ndef build():\n    return torch.nn.Conv2d(3, 4, 1) if torch.ones(1).item() else None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert zoo.forward_work(spec("python:asking_for_values:build")) is None
