"""Each kind of place in timm, OpenCLIP and transformers, against plain hooks and the formula."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]

WIDTH, HEADS, SIDE = 48, 3, 64
GRID = (4, 4)


def _timm() -> nn.Module:
    options = {"img_size": SIDE, "embed_dim": WIDTH, "num_heads": HEADS, "depth": 2}
    net: nn.Module = timm.create_model("vit_tiny_patch16_224", **options)
    net.image_size = SIDE  # type: ignore[assignment]
    return net


def _transformers(attention: str) -> nn.Module:
    library = pytest.importorskip("transformers")
    config = library.ViTConfig(hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=96,
                               image_size=SIDE, patch_size=16)  # fmt: skip
    net: nn.Module = library.ViTModel._from_config(config, attn_implementation=attention)
    net.image_size = SIDE  # type: ignore[assignment]
    net.num_prefix_tokens = 1  # type: ignore[assignment]
    return net


@pytest.fixture
def build(spec: Spec, factory: Factory, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], zoo.Model]:
    """A small ViT of a library, looked at in some places."""

    def model(library: str, layers: list[str]) -> zoo.Model:
        if library != "open_clip":
            make = _timm if library == "timm" else lambda: _transformers(library)
            return zoo.load(spec(factory(make), layers=layers))
        pytest.importorskip("open_clip")
        vision = {"image_size": SIDE, "layers": 2, "width": WIDTH, "head_width": WIDTH // HEADS, "patch_size": 16}
        text = {"context_length": 5, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
        configs = sys.modules["open_clip.factory"]._MODEL_CONFIGS
        monkeypatch.setitem(configs, "tiny", {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text})
        return zoo.load(spec("open_clip/tiny", layers=layers))

    return model


BLOCKS = {
    "timm": "blocks.1",
    "open_clip": "transformer.resblocks.1",
    "sdpa": "layers.1",
    "eager": "layers.1",
}
ATTENTION = {"timm": "attn", "open_clip": "attn", "sdpa": "attention", "eager": "attention"}
LAST = {"timm": "mlp.fc2", "open_clip": "mlp.c_proj", "sdpa": "mlp.fc2", "eager": "mlp.fc2"}


class Plain:
    """What plain hooks see of one module: its first argument and its output."""

    def __init__(self, module: nn.Module, path: str) -> None:
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        part = module.get_submodule(path)
        part.register_forward_pre_hook(self._before, with_kwargs=True)
        part.register_forward_hook(lambda _, __, output: self.outputs.append(output))

    def _before(self, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.inputs.append((given or tuple(named.values()))[0])


def _images() -> Tensor:
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def _maps(tokens: Tensor) -> Tensor:
    """Maps of (image, token, channel) after a class token."""
    return tokens[:, 1:].transpose(1, 2).unflatten(2, GRID)


@pytest.mark.parametrize("library", BLOCKS)
def test_the_residual_stream_the_hidden_units_and_tuples(
    build: Callable[[str, list[str]], zoo.Model], library: str
) -> None:
    block, last = BLOCKS[library], f"{BLOCKS[library]}.{LAST[library]}"
    attention = f"{block}.{ATTENTION[library]}"
    tuples = [] if library == "timm" else [f"{attention}@0"]
    model = build(library, [f"{block}@in", block, f"{last}@in", last, attention, *tuples])
    plain = {path: Plain(model.module, path) for path in (block, last, attention)}
    maps = model.observe(_images())
    for path, seen in plain.items():
        output = seen.outputs[0][0] if isinstance(seen.outputs[0], tuple) else seen.outputs[0]
        torch.testing.assert_close(maps[path], _maps(output), rtol=0, atol=1e-6)
        if f"{path}@in" in maps:
            torch.testing.assert_close(maps[f"{path}@in"], _maps(seen.inputs[0]), rtol=0, atol=1e-6)
    if tuples:
        assert torch.equal(maps[f"{attention}@0"], maps[attention])


def _by_hand(model: zoo.Model, library: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(image, head, token, token) weights of the second block, and (image, token, channel) what its heads read."""
    attention: Any = model.module.get_submodule(f"{BLOCKS[library]}.{ATTENTION[library]}")
    if library == "timm":
        projected = attention.qkv(inputs)
    elif library == "open_clip":
        projected = nn.functional.linear(inputs, attention.in_proj_weight, attention.in_proj_bias)
    else:
        projected = torch.cat([attention.q_proj(inputs), attention.k_proj(inputs), attention.v_proj(inputs)], dim=-1)
    query, key, value = projected.unflatten(2, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
    weights = (query @ key.mT * (WIDTH // HEADS) ** -0.5).softmax(-1)
    return weights, (weights @ value).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("library", ["timm", "open_clip", "sdpa"])
def test_what_heads_read_and_where(build: Callable[[str, list[str]], zoo.Model], library: str) -> None:
    path = f"{BLOCKS[library]}.{ATTENTION[library]}"
    projection = {"timm": [f"{path}.proj@in"], "sdpa": [f"{path}.o_proj@in"]}.get(library, [])
    model = build(library, [f"{path}@heads", f"{path}@pattern", *projection])
    assert {layer.name: layer.channels for layer in model.units.layers} == {
        f"{path}@pattern": HEADS,
        **dict.fromkeys((f"{path}@heads", *projection), WIDTH),
    }
    plain = Plain(model.module, path)
    maps = model.observe(_images())
    with torch.inference_mode():
        weights, read = _by_hand(model, library, plain.inputs[0])
    torch.testing.assert_close(maps[f"{path}@heads"], _maps(read), rtol=0, atol=1e-6)
    torch.testing.assert_close(maps[f"{path}@pattern"], weights[:, :, 0, 1:].unflatten(2, GRID), rtol=0, atol=1e-6)
    for place in projection:
        torch.testing.assert_close(maps[place], maps[f"{path}@heads"], rtol=0, atol=1e-6)


def test_eager_attention_shows_its_heads_before_their_projection(build: Callable[[str, list[str]], zoo.Model]) -> None:
    place = "layers.1.attention.o_proj@in"
    model = build("eager", [place])
    plain = Plain(model.module, "layers.1.attention")
    maps = model.observe(_images())
    with torch.inference_mode():
        _, read = _by_hand(model, "eager", plain.inputs[0])
    torch.testing.assert_close(maps[place], _maps(read), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("library", "layer", "line"),
    [
        ("eager", "layers.1.attention@pattern", "computes no attention that can be seen"),
        ("eager", "layers.1.attention@heads", "computes no attention that can be seen"),
        ("eager", "layers.1.attention@1", "beside 17 positions: heads, not places"),
        ("timm", "blocks.0.mlp@pattern", "computes no attention that can be seen"),
        ("timm", "blocks.0@pattern", "computes no attention that can be seen"),
        ("timm", "blocks.0.attn@0", "is no place of its module; it has blocks.0.attn@in"),
        ("timm", "blocks.0.attn#2", "is no place of its module"),
        ("timm", "norm_pre#1", "is no place of its module"),
        ("timm", "head", "which is no map"),
        ("open_clip", "transformer.resblocks.0.attn.out_proj@in", "never runs"),
        ("open_clip", "transformer.resblocks.0.attn@1", "is no place of its module"),
        ("sdpa", "pooler.dense", "which is no map"),
    ],
)
def test_places_that_are_refused(
    build: Callable[[str, list[str]], zoo.Model], library: str, layer: str, line: str
) -> None:
    with pytest.raises(UserError) as error:
        build(library, [layer])
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_an_output_by_its_key(spec: Spec, factory: Factory) -> None:
    library = pytest.importorskip("transformers")

    def make() -> nn.Module:
        config = library.CLIPVisionConfig(hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS,
                                          intermediate_size=96, image_size=SIDE, patch_size=16)  # fmt: skip
        net: nn.Module = library.CLIPVisionModel(config)
        net.image_size = SIDE  # type: ignore[assignment]
        net.num_prefix_tokens = 1  # type: ignore[assignment]
        return net

    encoder = next(path for path, _ in make().named_modules() if path.endswith("encoder"))
    place = f"{encoder}@last_hidden_state"
    model = zoo.load(spec(factory(make), layers=[place]))
    plain = Plain(model.module, encoder)
    maps = model.observe(_images())
    torch.testing.assert_close(maps[place], _maps(plain.outputs[0].last_hidden_state), rtol=0, atol=1e-6)
    with pytest.raises(UserError, match=f"'{encoder}' gives a BaseModelOutput, not a tensor"):
        zoo.load(spec(factory(make), layers=[encoder]))


@pytest.mark.parametrize(
    ("name", "module"), [("torchvision/resnet18", "layer1.0.relu"), ("timm/convit_tiny", "blocks.3.drop_path")]
)
def test_each_run(spec: Spec, name: str, module: str) -> None:
    model = zoo.load(spec(name, layers=[f"{module}#1@in", f"{module}#1", f"{module}#2"]))
    assert model.preprocessing is not None
    seen: list[Tensor] = []
    part = model.module.get_submodule(module)
    part.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    part.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    maps = model.observe(torch.rand(2, 3, *model.preprocessing.size))
    for place, raw in zip(maps, [seen[0], seen[1], seen[3]], strict=True):
        if raw.ndim == 3:
            raw = raw.transpose(1, 2).unflatten(2, (14, 14))
        torch.testing.assert_close(maps[place], raw, rtol=0, atol=1e-6)


class Patient(nn.Module):
    """Refines its maps until the brightest image of a batch is dim."""

    image_size = (16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.refine = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.stem(images)
        for _ in range(2 if images.amax() < 4 else 3):
            maps = self.refine(maps)
        return maps


@pytest.mark.parametrize("run", [1, 2])
def test_runs_that_depend_on_the_images_are_noticed_when_they_happen(spec: Spec, factory: Factory, run: int) -> None:
    """Without this, the second run of three would be taken for the second of two."""
    model = zoo.load(spec(factory(Patient), layers=[f"refine#{run}"]))
    dim = torch.full((2, 3, 16, 16), 0.5)
    assert model.observe(dim)[f"refine#{run}"].shape == (2, 6, 8, 8)
    with pytest.raises(UserError, match=f"layer 'refine#{run}': its module ran 3 times this time and 2 times for"):
        model.observe(dim * 4)
    with pytest.raises(UserError, match="its module ran 3 times this time"):
        model.observe(dim * 4, take=lambda *_: None)
