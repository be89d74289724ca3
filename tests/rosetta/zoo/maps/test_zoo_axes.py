"""Which axis holds the channels where a shape is read both ways."""

import pytest
from timm.layers import LayerNorm2d, RmsNorm2d
from timm.layers.grn import GlobalResponseNorm
from torch import nn
from torchvision.ops import misc

from rosetta.zoo.maps.axes import is_channels_last, surroundings_say


@pytest.mark.parametrize(
    ("part", "last"),
    [
        (nn.Conv2d(4, 4, 1), False),
        (nn.BatchNorm2d(4), False),
        (nn.GroupNorm(1, 4), False),
        (nn.MaxPool2d(2), False),
        (nn.AdaptiveAvgPool2d(2), False),
        (nn.Dropout2d(), False),
        (LayerNorm2d(4), False),  # derived from one that works on the last axis
        (RmsNorm2d(4), False),
        (misc.Conv2dNormActivation(4, 4), False),
        (nn.Linear(4, 4), True),
        (nn.LayerNorm(4), True),
        (nn.RMSNorm(4), True),
        (nn.GELU(), None),
        (nn.Identity(), None),
        (nn.Sequential(nn.Conv2d(4, 4, 1)), None),
        (GlobalResponseNorm(4), None),
    ],
)
def test_classes(part: nn.Module, last: bool | None) -> None:
    assert is_channels_last(part) is last


def test_a_norm_of_transformers_says_so_itself() -> None:
    convnext = pytest.importorskip("transformers.models.convnext.modeling_convnext")
    assert is_channels_last(convnext.ConvNextLayerNorm(4, data_format="channels_first")) is False
    assert is_channels_last(convnext.ConvNextLayerNorm(4, data_format="channels_last")) is True


KNOWN = {"stem.conv": False, "block.conv": False, "block.mlp.fc1": True, "block.mlp.fc2": True, "block2.norm": True}


@pytest.mark.parametrize(
    ("path", "last"),
    [
        ("stem", False),
        ("stem.act", False),
        ("block.mlp", True),
        ("block.mlp.drop", True),
        ("block2", True),  # and not what `block` holds
        ("block2.norm", True),
    ],
)
def test_the_nearest_decide(path: str, last: bool) -> None:
    assert surroundings_say(path, KNOWN) is last


@pytest.mark.parametrize("path", ["block", "block.act", "head", ""])
def test_where_they_disagree_it_is_open(path: str) -> None:
    assert isinstance(surroundings_say(path, KNOWN), str)


def test_nothing_known() -> None:
    assert surroundings_say("block.act", {}) is None
