"""Small models and specs that the zoo's tests share."""

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from rosetta.model_spec import ModelSpec


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    """A recipe's entry; untrained unless the test says otherwise."""

    def make(model: str, weights: str = "random:0", **fields: Any) -> ModelSpec:
        return ModelSpec(name=fields.pop("name", "net"), model=model, weights=weights, **fields)

    return make


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], str]:
    """Put a function where `python:` models are looked for, and return the model's text."""

    def make(function: Callable[[], object]) -> str:
        module = types.ModuleType("zoo_test_factories")
        module.make = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "zoo_test_factories", module)
        return "python:zoo_test_factories:make"

    return make


class Tiny(nn.Module):
    """A convolutional net with an in-place activation right behind the layers of interest."""

    image_size = (32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.late = nn.Conv2d(6, 10, 3, 2, 1)
        self.unused = nn.Conv2d(1, 1, 1)
        self.head = nn.Linear(10, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        early = self.act(self.norm(self.stem(images)))
        result: torch.Tensor = self.head(self.late(early).relu_().mean((2, 3)))
        return result


@pytest.fixture
def tiny() -> type[Tiny]:
    return Tiny
