"""Channels are set in the raw tensors of every layout, and all that follows in the network sees them so."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import grids
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.maps.layout import Layout, NoMapError
from rosetta.zoo.maps.writing import Change, with_tensor_at, written

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]
Pair = namedtuple("Pair", ["maps", "other"])


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Layout, tuple[int, ...]]:
    """A layout of any kind, and the shape of a raw tensor of three images."""
    channels, (rows, columns) = draw(st.integers(1, 5)), draw(grids(5))
    kind = draw(st.sampled_from(["channels first", "channels last", "tokens"]))
    # A grid that reaches beyond the image by one position on each side.
    margin = 1 if draw(st.booleans()) and min(rows, columns) > 2 else 0
    y, x = margin / max(1, rows - 2), margin / max(1, columns - 2)
    frame = (-y, -x, 1 + y, 1 + x)
    if kind == "channels first":
        return Layout("channels first", channels, (rows, columns), frame=frame), (3, channels, rows, columns)
    if kind == "channels last":
        return Layout("channels last", channels, (rows, columns), frame=frame), (3, rows, columns, channels)
    count = rows * columns
    order = draw(st.none() | st.permutations(range(count)).map(tuple))
    prefix, suffix = (0, 0) if order else (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    first = draw(st.booleans())
    layout = Layout("tokens", channels, (rows, columns), prefix, suffix, first, frame, order)
    tokens = prefix + count + suffix
    return layout, (3, tokens, channels) if first else (tokens, 3, channels)


@given(layouts(), st.booleans(), st.integers(0, 99))
def test_what_is_set_is_what_the_layout_reads_and_nothing_else(
    made: tuple[Layout, tuple[int, ...]], adds: bool, seed: int
) -> None:
    layout, shape = made
    random = torch.Generator().manual_seed(seed)
    raw = torch.randn(shape, generator=random)
    before = raw.clone()
    images, channels = torch.tensor([2, 0]), torch.tensor([layout.channels - 1, 0])
    values = torch.randn(2, *layout.raw_grid, generator=random)
    after = written(layout, raw, Change(images, channels, values, adds))
    assert torch.equal(raw, before)
    whole = Layout(layout.kind, layout.channels, layout.raw_grid, layout.prefix, layout.suffix, layout.batch_first,
                   order=layout.order)  # fmt: skip
    expected = whole.arrange(before).clone()
    for image, channel, value in zip(images, channels, values, strict=True):
        expected[image, channel] = expected[image, channel] + value if adds else value
    assert torch.equal(whole.arrange(after), expected)
    # As many numbers of the raw tensor change as were set: nothing beside the maps does.
    assert int((after != before).sum()) == 2 * layout.raw_grid[0] * layout.raw_grid[1]
    rows, columns = layout.grid
    assert layout.arrange(after).shape == (3, layout.channels, rows, columns)


@given(layouts())
def test_one_value_for_all_positions(made: tuple[Layout, tuple[int, ...]]) -> None:
    layout, shape = made
    after = written(
        layout, torch.zeros(shape), Change(torch.tensor([1]), torch.tensor([0]), torch.full((1, 1, 1), 7.0))
    )
    assert (layout.arrange(after)[1, 0] == 7).all()
    assert int(after.count_nonzero()) == layout.raw_grid[0] * layout.raw_grid[1]


@dataclass
class Both:
    fine: Tensor
    coarse: Tensor


OUTPUTS = {
    "tensor": (None, lambda maps, other: maps),
    "tuple": (None, lambda maps, other: (maps, other)),
    "item": ("1", lambda maps, other: (other, maps)),
    "named tuple": ("0", lambda maps, other: Pair(maps, other)),
    "list": ("1", lambda maps, other: [other, maps]),
    "mapping": ("fine", lambda maps, other: {"coarse": other, "fine": maps}),
    "dataclass": ("fine", lambda maps, other: Both(maps, other)),
}


class Net(nn.Module):
    """A layer whose output has some form, behind it an activation in place and a head."""

    image_size = (8, 8)

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.inner = form, nn.Identity()
        self.stem, self.body = nn.Conv2d(3, 4, 2, 2), Form(form)
        self.act, self.head = nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        given = self.body(maps=self.stem(images))
        maps = {
            "tensor": lambda: given, "tuple": lambda: given[0], "item": lambda: given[1],
            "named tuple": lambda: given.maps, "list": lambda: given[1], "mapping": lambda: given["fine"],
            "dataclass": lambda: given.fine,
        }[self.form]()  # fmt: skip
        return self.head(self.act(maps))


class Form(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, *, maps: Tensor) -> Any:
        return OUTPUTS[self.form][1](maps + 1, nn.functional.avg_pool2d(maps, 2))


@pytest.mark.parametrize("form", OUTPUTS)
@pytest.mark.parametrize("at", ["output", "input"])
def test_what_follows_in_the_network_sees_it(spec: Spec, factory: Factory, form: str, at: str) -> None:
    part = OUTPUTS[form][0]
    layer = "body@in" if at == "input" else "body" if part is None else f"body@{part}"
    model = zoo.load(spec(factory(lambda: Net(form)), layers=[layer]))
    assert model.preprocessing is not None
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    change = Change(torch.tensor([0, 2]), torch.tensor([3, 1]), torch.tensor([2.0, -4.0])[:, None, None])
    found = model.respond(images, write={layer: change})
    net = model.module
    with torch.no_grad():
        maps = net.stem(model.preprocessing(images)) + (at == "output")  # type: ignore[operator]
        maps[0, 3], maps[2, 1] = 2.0, -4.0
        expected = net.head((maps + (at == "input")).relu())  # type: ignore[operator]
    torch.testing.assert_close(found, expected)
    plain = model.respond(images)
    torch.testing.assert_close(found[1], plain[1])
    assert not torch.allclose(found[0], plain[0])
    assert not any(inner._forward_hooks or inner._forward_pre_hooks for inner in net.modules())


def test_maps_are_those_that_were_set(spec: Spec, factory: Factory, tiny: type[nn.Module]) -> None:
    model = zoo.load(spec(factory(tiny), layers=["norm", "late"]))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert model.preprocessing is not None
    change = Change(torch.tensor([1]), torch.tensor([2]), torch.full((1, 1, 1), 5.0), adds=True)
    _, maps = model.capture(model.preprocessing(images), write={"norm": change})
    plain = model.observe(images)
    torch.testing.assert_close(maps["norm"][1, 2], plain["norm"][1, 2] + 5)
    torch.testing.assert_close(maps["norm"][0], plain["norm"][0])
    torch.testing.assert_close(maps["late"][0], plain["late"][0])
    assert not torch.allclose(maps["late"][1], plain["late"][1])


def test_one_of_several_runs(spec: Spec, factory: Factory) -> None:
    class Twice(nn.Module):
        image_size = (8, 8)

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.conv(self.conv(images))

    model = zoo.load(spec(factory(Twice), layers=["conv#1", "conv#2"]))
    assert model.preprocessing is not None
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    change = Change(torch.tensor([0]), torch.tensor([1]), torch.zeros(1, 1, 1))
    net = model.module
    with torch.no_grad():
        first = net.conv(model.preprocessing(images))  # type: ignore[operator]
        first[0, 1] = 0
        expected = net.conv(first)  # type: ignore[operator]
    torch.testing.assert_close(model.respond(images, write={"conv#1": change}), expected)
    assert (model.respond(images, write={"conv#2": change})[0, 1] == 0).all()


def test_what_cannot_be_set_is_one_line(spec: Spec) -> None:
    vit = zoo.load(spec("timm/vit_tiny_patch16_224", layers=["blocks.0.attn@pattern", "blocks.0.attn@heads"]))
    change = Change(torch.tensor([0]), torch.tensor([0]), torch.zeros(1, 1, 1))
    for part in ("pattern", "heads"):
        with pytest.raises(UserError, match=rf"^layer 'blocks.0.attn@{part}' is read inside a fused attention"):
            vit.respond(torch.rand(1, 3, 224, 224), write={f"blocks.0.attn@{part}": change})
    with pytest.raises(UserError, match="features of an autoencoder"):
        vit.capture.require_writable(["blocks.0@sae"])
    with pytest.raises(NoMapError, match="gives a tuple_iterator, in which nothing can be set"):
        with_tensor_at(None, iter(()), torch.zeros(1))


def test_tokens_of_a_transformer(spec: Spec) -> None:
    """The class token alone reaches the scores of the last block's sequence: setting patches there moves nothing."""
    vit = zoo.load(spec("timm/vit_tiny_patch16_224", layers=["blocks.10", "blocks.11"]))
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    change = Change(torch.tensor([0]), torch.tensor([4]), torch.full((1, 1, 1), 9.0))
    plain = vit.respond(images)
    np.testing.assert_allclose(vit.respond(images, write={"blocks.11": change}), plain, atol=1e-6)
    assert not np.allclose(vit.respond(images, write={"blocks.10": change}), plain, atol=1e-4)
