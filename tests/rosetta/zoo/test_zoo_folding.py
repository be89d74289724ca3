"""Folded networks compute the same, and only what may be folded is."""

import tomllib

import pytest
import torch
from packaged import PACKAGED
from timm.layers import BatchNormAct2d, Conv2dSame, StdConv2d
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from rosetta.model_spec import ModelSpec
from rosetta.zoo import load
from rosetta.zoo.folding import fold_batch_norms


def known(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """With statistics and weights that are no identity."""
    for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        tensor.data.uniform_(0.5, 2)
    return norm


class Network(nn.Module):
    """What `forward` says, of a convolution and a normalisation."""

    def __init__(self, convolution: nn.Module, norm: nn.Module, way: str = "after") -> None:
        super().__init__()
        self.convolution, self.norm, self.way = convolution, norm, way

    def forward(self, x: Tensor) -> Tensor:
        given = self.convolution(x)
        match self.way:
            case "both":
                return self.norm(given) + given
            case "again":
                return self.norm(self.convolution(given))
            case "twice":
                return self.norm(self.norm(given))
            case "weight":
                return self.norm(given) * self.convolution.weight.mean()
            case "value":
                return self.norm(given) if given.sum() > 0 else given
            case "function":
                return self.norm(given.relu())
        return self.norm(given)


def folded(network: nn.Module, keep: tuple[str, ...] = ()) -> int:
    """How many, of a network that gives the same afterwards."""
    network = network.eval().requires_grad_(False)
    x = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    before, slope = run(network, x)
    count = fold_batch_norms(network, keep)
    after, slope_after = run(network, x)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope_after, slope, rtol=1e-5, atol=1e-5)
    return count


def run(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    made = network(x)
    made.square().sum().backward()
    return made.detach(), x.grad


CONVOLUTIONS = {
    "plain": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "without a bias": lambda: nn.Conv2d(4, 4, 3, padding=1, bias=False),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "strided": lambda: nn.Conv2d(4, 4, 3, stride=2),
    "padded by reflection": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "of timm": lambda: Conv2dSame(4, 4, 3, stride=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 4, 4, stride=2),
}


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, BatchNormAct2d])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_normalisation_is_folded_into(name, norm):
    assert folded(Network(CONVOLUTIONS[name](), known(norm(4)))) == 1


@pytest.mark.parametrize("way", ["both", "again", "twice", "weight", "value", "function"])
def test_what_is_used_otherwise_stays(way):
    assert folded(Network(nn.Conv2d(4, 4, 3, padding=1), known(nn.BatchNorm2d(4)), way)) == 0


class Doubled(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Acting(Doubled):
    """With the attributes of timm's."""

    drop, act = nn.Identity(), nn.Identity()


def test_what_does_more_or_keeps_no_statistics_stays():
    assert folded(Network(StdConv2d(4, 4, 3), known(nn.BatchNorm2d(4)))) == 0
    assert folded(Network(nn.Conv2d(4, 4, 3), known(Acting(4)))) == 0
    assert folded(Network(nn.Conv2d(4, 4, 3), known(Doubled(4)))) == 0
    assert folded(Network(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))) == 0
    assert folded(Network(nn.Conv2d(4, 4, 3), nn.InstanceNorm2d(4))) == 0
    assert folded(Network(parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), known(nn.BatchNorm2d(4)))) == 0


@pytest.mark.parametrize("watched", ["convolution", "norm"])
def test_what_is_hooked_stays(watched):
    network = Network(nn.Conv2d(4, 4, 3), known(nn.BatchNorm2d(4)))
    network.get_submodule(watched).register_forward_hook(lambda *_: None)
    assert folded(network) == 0


@pytest.mark.parametrize(("keep", "count"), [("convolution", 0), ("norm", 0), ("norm.act", 0), ("norma", 1), ("", 1)])
def test_layers_that_are_read_stay(keep, count):
    assert folded(Network(nn.Conv2d(4, 4, 3), known(BatchNormAct2d(4))), keep=(keep,)) == count


@pytest.mark.parametrize(("name", "count"), [("lite0", 49), ("mobilenet", 52), ("dcgan", 4)])
def test_packaged_networks_compute_the_same_in_fewer_steps(name, count):
    model = load(ModelSpec(name=name, **tomllib.loads(PACKAGED[name])))
    torch.manual_seed(0)
    given = torch.randn(2, model.latent) if model.is_generator else torch.rand(2, 3, 64, 64)

    def maps_of() -> dict[str, Tensor]:
        return model.generate(given)[1] if model.is_generator else model.observe(given)

    before = maps_of()
    assert fold_batch_norms(model.module, model.capture.paths) == count
    for layer, maps in maps_of().items():
        torch.testing.assert_close(maps, before[layer], rtol=1e-4, atol=1e-5 * float(before[layer].abs().max()))
