"""The hidden units of gated MLPs, against the formula: the activation in them is one factor of a unit only."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import build_as, networks
from torch import Tensor, nn

from rosetta import zoo
from rosetta.model_spec import ModelSpec

Spec = Callable[..., ModelSpec]
Formula = Callable[[Any, Tensor], Tensor]


def _packed(mlp: Any, inputs: Tensor) -> Tensor:
    gate, values = mlp.fc1(inputs).chunk(2, dim=-1)
    return mlp.act(gate) * values  # type: ignore[no-any-return]


def _two(mlp: Any, inputs: Tensor) -> Tensor:
    return mlp.norm(mlp.act(mlp.fc1_g(inputs)) * mlp.fc1_x(inputs))  # type: ignore[no-any-return]


def _vitamin(mlp: Any, inputs: Tensor) -> Tensor:
    return mlp.act(mlp.w0(mlp.norm(inputs))) * mlp.w1(mlp.norm(inputs))  # type: ignore[no-any-return]


def _gemma(mlp: Any, inputs: Tensor) -> Tensor:
    gate = nn.functional.gelu(mlp.gate_proj(inputs), approximate="tanh")
    return gate * mlp.up_proj(inputs)  # type: ignore[no-any-return]


GATED: dict[str, tuple[str, Formula]] = {
    "timm/eva02_tiny_patch14_224": ("blocks.{}.mlp.fc2", _packed),
    "timm/eva02_base_patch14_224": ("blocks.{}.mlp.fc2", _two),
    "timm/vit_giant_patch14_dinov2": ("blocks.{}.mlp.fc2", _packed),
    "timm/vit_small_plus_patch16_dinov3": ("blocks.{}.mlp.fc2", _two),
    "timm/vit_huge_plus_patch16_dinov3": ("blocks.{}.mlp.fc2", _two),
    "timm/vit_7b_patch16_dinov3": ("blocks.{}.mlp.fc2", _two),
    "timm/aimv2_large_patch14_224": ("blocks.{}.mlp.fc2", _two),
    "timm/deepseek_vit_412m": ("encoder.blocks.{}.mlp.fc2", _packed),
    "timm/gemma4_vit_167m": ("encoder.blocks.{}.mlp.down_proj", _gemma),
    "timm/vitamin_small_224": ("blocks.{}.mlp.w2", _vitamin),
}


@pytest.mark.parametrize("name", GATED)
def test_hidden_units(spec: Spec, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path, formula = GATED[name]
    network = networks()[name]
    build_as(network, monkeypatch)
    model = zoo.load(spec(name))
    assert [layer.name for layer in model.units.layers] == [
        f"{path.format(block)}@in" for block in range(len(network.rows))
    ]
    assert model.preprocessing is not None
    block = len(network.rows) - 1
    mlp = model.module.get_submodule(path.format(block).rpartition(".")[0])
    inputs: list[Tensor] = []
    mlp.register_forward_pre_hook(lambda _, given: inputs.append(given[0].clone()))
    images = torch.rand(2, 3, *model.preprocessing.size, generator=torch.Generator().manual_seed(0))
    maps = model.observe(images)
    with torch.inference_mode():
        expected = network.rows[block].read(formula(mlp, inputs[0]))
    torch.testing.assert_close(maps[network.rows[block].layer], expected, rtol=1e-6, atol=1e-6)
