"""Places inside a model: what goes into a module, one of its runs, one of its tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.maps.attention import class_attention
from rosetta.zoo.maps.places import Place, parse_place

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]


@dataclass
class Both:
    """An output as libraries give it."""

    fine: Tensor
    coarse: Tensor
    note: str = ""


class Parts(nn.Module):
    """Gives what is asked for."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, *, maps: Tensor) -> Any:
        coarse = nn.functional.avg_pool2d(maps, 2)
        forms: dict[str, Any] = {
            "tuple": (maps + 1, coarse),
            "list": [maps + 1, coarse],
            "mapping": {"fine": maps + 1, "coarse": coarse},
            "dataclass": Both(maps + 1, coarse),
        }
        return forms[self.form]


class Net(nn.Module):
    """A module that runs three times, one in place, one that takes its input by name."""

    image_size = (16, 16)

    def __init__(self, form: str = "tuple") -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.act = nn.ReLU(inplace=True)
        self.again = nn.Conv2d(6, 6, 3, 1, 1)
        self.parts = Parts(form)
        self.runs = 3

    def forward(self, images: Tensor) -> Tensor:
        maps = self.act(self.stem(images))
        for _ in range(self.runs):
            maps = self.again(maps)
        self.parts(maps=maps)
        return maps


def _images(count: int = 2, size: int = 16) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def _by_hand(model: zoo.Model, images: Tensor) -> dict[str, list[Tensor]]:
    """Everything that modules take (`name<`) and give (`name>`), as plain hooks see it."""
    seen: dict[str, list[Tensor]] = {}
    handles = []
    for path, module in model.module.named_modules():

        def before(_: nn.Module, given: tuple[Tensor, ...], path: str = path) -> None:
            if given:
                seen.setdefault(f"{path}<", []).append(given[0].clone())

        def after(_: nn.Module, __: Any, output: Any, path: str = path) -> None:
            if isinstance(output, Tensor):
                seen.setdefault(f"{path}>", []).append(output.clone())

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    assert model.preprocessing is not None
    with torch.inference_mode():
        model.module(model.preprocessing(images))
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.b", Place("a.b")),
        ("a.*@in", Place("a.*", part="in")),
        ("a.b#2", Place("a.b", 2)),
        ("a.b#12@last_hidden_state", Place("a.b", 12, "last_hidden_state")),
        ("a@0", Place("a", part="0")),
        ("a#0", Place("a#0")),  # runs are counted from 1
        ("@", Place("@")),
    ],
)
def test_names(name: str, place: Place) -> None:
    assert parse_place(name) == place
    assert str(place) == name


def test_what_goes_in_and_each_run(spec: Spec, factory: Factory) -> None:
    names = ["again#3", "act@in", "again#1@in", "again#1", "again#2", "parts@in", "parts@1", "stem"]
    model = zoo.load(spec(factory(Net), layers=names))
    maps = model.observe(_images())
    seen = _by_hand(model, _images())
    # In the order in which they are reached.
    assert list(maps) == ["stem", "act@in", "again#1@in", "again#1", "again#2", "again#3", "parts@in", "parts@1"]
    for name, expected in (
        ("stem", seen["stem>"][0]),
        ("act@in", seen["act<"][0]),
        ("again#1@in", seen["act>"][0]),
        *((f"again#{run}", seen["again>"][run - 1]) for run in (1, 2, 3)),
        ("parts@in", seen["again>"][2]),
        ("parts@1", nn.functional.avg_pool2d(seen["again>"][2], 2)),
    ):
        torch.testing.assert_close(maps[name], expected, rtol=0, atol=0)
    assert (maps["act@in"] < 0).any(), "what goes in is taken before a module changes it in place"
    taken: dict[str, Tensor] = {}
    model.observe(_images(), take=lambda name, values: taken.__setitem__(name, values.clone()))
    assert list(taken) == list(maps)
    for name, values in maps.items():
        assert torch.equal(taken[name], values)


@pytest.mark.parametrize(
    ("form", "fine"),
    [("tuple", "parts@0"), ("list", "parts@0"), ("mapping", "parts@fine"), ("dataclass", "parts@fine")],
)
def test_one_tensor_of_several(spec: Spec, factory: Factory, form: str, fine: str) -> None:
    model = zoo.load(spec(factory(lambda: Net(form)), layers=["again#3", fine]))
    maps = model.observe(_images())
    torch.testing.assert_close(maps[fine], maps["again#3"] + 1)


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        ("again", "'again' runs 3 times per image; name one of them, again#1 to #3"),
        ("again#4", "'again#4' is no place of its module; it has again#1@in, again#1, again#2@in"),
        ("stem#2", "'stem#2' is no place of its module; it has stem@in, stem"),
        ("parts@2", "'parts@2' is no place of its module; it has parts@in, parts, parts@0, parts@1"),
        ("stem@weight", "'stem@weight' is no place of its module"),
        ("steam@in", "no module matches the layer 'steam'; did you mean 'stem'"),
        ("*@in", "'again@in' "),
    ],
)
def test_what_is_not_there(spec: Spec, factory: Factory, layer: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        zoo.load(spec(factory(Net), layers=[layer]))
    assert line in str(error.value)


@pytest.mark.parametrize("runs", [1, 2, 4])
def test_a_module_that_runs_another_number_of_times(spec: Spec, factory: Factory, runs: int) -> None:
    """Were the third run of four taken for that of three, a layer would mean another depth in some of the images."""
    model = zoo.load(spec(factory(Net), layers=["again#3", "stem"]))
    model.module.runs = runs  # type: ignore[assignment]
    times = "once" if runs == 1 else f"{runs} times"
    with pytest.raises(UserError, match=f"layer 'again#3': its module ran {times} this time and 3 times for the probe"):
        model.observe(_images())


def test_a_module_that_runs_once_more_than_for_the_probe(spec: Spec, factory: Factory) -> None:
    def once() -> Net:
        net = Net()
        net.runs = 1
        return net

    model = zoo.load(spec(factory(once), layers=["again"]))
    model.module.runs = 2  # type: ignore[assignment]
    with pytest.raises(UserError, match="layer 'again': its module ran 2 times this time and once for the probe"):
        model.observe(_images())


def test_the_units_of_an_attention_head_are_what_goes_into_its_projection(spec: Spec) -> None:
    model = zoo.load(spec("timm/test_vit", layers=["blocks.2.attn.proj@in", "blocks.2"]))
    images = _images(1, 160)
    maps, seen = model.observe(images), _by_hand(model, images)
    expected = seen["blocks.2.attn.proj<"][0][:, 1:].transpose(1, 2).unflatten(2, (10, 10))
    assert torch.equal(maps["blocks.2.attn.proj@in"], expected)


class Attending(nn.Module):
    """A ViT of one block whose attention is torch's own."""

    image_size = (32, 32)
    num_prefix_tokens = 1

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 24))
        self.attention = nn.MultiheadAttention(24, 3, batch_first=True)
        self.out = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1)
        return self.out(self.attention(tokens, tokens, tokens, need_weights=False)[0])  # type: ignore[no-any-return]


def test_the_pattern_of_torchs_own_attention(spec: Spec, factory: Factory) -> None:
    model = zoo.load(spec(factory(Attending), layers=["attention@pattern", "out"]))
    assert [(layer.name, layer.channels, layer.grid) for layer in model.units.layers] == [
        ("attention@pattern", 3, (4, 4)), ("out", 24, (4, 4))
    ]  # fmt: skip
    module: Any = model.module
    assert model.preprocessing is not None
    with torch.inference_mode():
        tokens = module.patches(model.preprocessing(_images(2, 32))).flatten(2).transpose(1, 2)
        tokens = torch.cat([module.token.expand(2, -1, -1), tokens], dim=1)
        _, weights = module.attention(tokens, tokens, tokens, average_attn_weights=False)
        plain = module(model.preprocessing(_images(2, 32)))
    maps = model.observe(_images(2, 32))
    torch.testing.assert_close(maps["attention@pattern"], weights[:, :, 0, 1:].unflatten(2, (4, 4)))
    torch.testing.assert_close(maps["out"], plain[:, 1:].transpose(1, 2).unflatten(2, (4, 4)))


def test_the_pattern_of_fused_attention(spec: Spec) -> None:
    model = zoo.load(spec("timm/test_vit", layers=["blocks.*.attn@pattern"]))
    maps = model.observe(_images(2, 160))
    assert [(layer.name, layer.channels) for layer in model.units.layers] == [
        (f"blocks.{block}.attn@pattern", 2) for block in range(6)
    ]
    attention: Any = model.module.get_submodule("blocks.4.attn")
    inputs = _by_hand(model, _images(2, 160))["blocks.4.attn<"][0]
    with torch.inference_mode():
        query, key, _ = attention.qkv(inputs).unflatten(2, (3, 2, 32)).permute(2, 0, 3, 1, 4)
        expected = (attention.q_norm(query) @ attention.k_norm(key).mT * 32**-0.5).softmax(-1)[:, :, 0, 1:]
    torch.testing.assert_close(maps["blocks.4.attn@pattern"], expected.unflatten(2, (10, 10)))
    rest = 1 - maps["blocks.4.attn@pattern"].sum(dim=(2, 3))  # on the class token itself
    assert ((rest > 0) & (rest < 1)).all()


@pytest.mark.parametrize("masked", ["bool", "float"])
def test_masked_attention(masked: str) -> None:
    query, key, value = torch.randn(3, 2, 4, 5, 8, generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(5, 5, dtype=torch.bool)
    hidden[0, 3] = True
    mask = ~hidden if masked == "bool" else torch.zeros(5, 5).masked_fill(hidden, -torch.inf)
    found = class_attention(query, key, value, attn_mask=mask, scale=0.5)
    assert (found[:, 3] == 0).all()
    read = (found.transpose(1, 2)[:, :, None] @ value).squeeze(2)
    expected = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.5)[:, :, 0]
    torch.testing.assert_close(read, expected)


@pytest.mark.parametrize(
    ("model", "layer", "line"),
    [
        ("timm/vit_base_patch16_siglip_224", "blocks.0.attn@pattern", "has no class token"),
        ("timm/test_vit", "blocks.0.mlp@pattern", "computes no attention that can be seen"),
    ],
)
def test_patterns_that_are_not_there(spec: Spec, model: str, layer: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        zoo.structure(spec(model, layers=[layer]))
    assert line in str(error.value)
