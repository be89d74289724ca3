"""Hooks: what is kept, in which order, in which layout."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec

Spec = Callable[..., ModelSpec]
Factory = Callable[[Callable[[], object]], str]


def _images(count: int = 2, size: int = 40) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_maps_are_those_before_an_in_place_activation(spec: Spec, factory: Factory, tiny: type[nn.Module]) -> None:
    model = zoo.load(spec(factory(tiny), layers=["norm", "act", "late"]))
    assert model.preprocessing is not None
    images = _images()
    maps = model.observe(images)
    module = model.module
    with torch.no_grad():
        norm = module.norm(module.stem(model.preprocessing(images)))  # type: ignore[operator]
        late = module.late(norm.relu())  # type: ignore[operator]
    assert norm.min() < 0
    assert late.min() < 0
    torch.testing.assert_close(maps["norm"], norm)
    torch.testing.assert_close(maps["act"], norm.relu())
    torch.testing.assert_close(maps["late"], late)
    assert not any(part._forward_hooks for part in module.modules())


def test_the_callers_images_stay_as_they_are(spec: Spec, factory: Factory) -> None:
    def make() -> nn.Module:
        net = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3))
        net.preprocessing = {"size": [40, 40], "mean": [0, 0, 0], "std": [1, 1, 1]}  # type: ignore[assignment]
        return net

    images = _images() - 0.5
    before = images.clone()
    zoo.load(spec(factory(make))).observe(images)
    assert torch.equal(images, before)


def test_layers_follow_the_forward_pass_not_the_definition(spec: Spec, factory: Factory) -> None:
    class Backwards(nn.Module):
        image_size = 16

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(5, 7, 1)
            self.first = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU())

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.last(self.first(images))
            return result

    model = zoo.load(spec(factory(Backwards), layers=["last", "first", "first.*", "**"]))
    # a parent finishes after its children
    assert [layer.name for layer in model.units.layers] == ["first.0", "first.1", "first", "last"]
    assert list(model.observe(_images())) == ["first.0", "first.1", "first", "last"]


def test_threads_do_not_mix_their_maps(spec: Spec, factory: Factory, tiny: type[nn.Module]) -> None:
    model = zoo.load(spec(factory(tiny), layers=["stem"]))
    batches = [_images(1) * scale for scale in torch.linspace(0, 1, 16)]
    alone = [model.observe(batch)["stem"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: model.observe(batch)["stem"], batches))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        ("timm/resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("torchvision/resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("timm/tf_efficientnet_lite0", ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6"]),
        ("timm/test_vit", [f"blocks.{block}.mlp.act" for block in range(6)]),
        ("torchvision/squeezenet1_1", ["features.1", "features.4", "features.7", "features.12"]),
        ("torchvision/regnet_y_400mf", ["stem", *(f"trunk_output.block{block}" for block in range(1, 5))]),
    ],
)
def test_default_layers(spec: Spec, model: str, layers: list[str]) -> None:
    assert [layer.name for layer in zoo.load(spec(model)).units.layers] == layers


@pytest.mark.parametrize(
    ("model", "stage"), [("timm/swin_tiny_patch4_window7_224", "layers.{}"), ("torchvision/swin_t", "features.{}")]
)
def test_channels_last(spec: Spec, model: str, stage: str) -> None:
    loaded = zoo.load(spec(model))
    assert [(layer.channels, layer.grid) for layer in loaded.units.layers] == [
        (96, (56, 56)),
        (192, (28, 28)),
        (384, (14, 14)),
        (768, (7, 7)),
    ]
    last = loaded.units.layers[-1].name
    kept: list[torch.Tensor] = []
    handle = loaded.module.get_submodule(last).register_forward_hook(lambda _, __, out: kept.append(out))
    maps = loaded.observe(_images(1, 224))
    handle.remove()
    assert maps[last].is_contiguous()
    torch.testing.assert_close(maps[last][0, 5, 2, 3], kept[0][0, 2, 3, 5])


def _registers() -> nn.Module:
    import timm

    net: nn.Module = timm.create_model(
        "vit_small_patch14_reg4_dinov2", img_size=(56, 56), depth=2, embed_dim=24, num_heads=2
    )
    net.image_size = 56  # type: ignore[assignment]
    net.default_layers = ("blocks.*.mlp.act", "blocks.1")  # type: ignore[assignment]
    return net


@pytest.mark.parametrize(
    ("model", "layer", "prefix", "grid"),
    [
        ("timm/test_vit", "blocks.2.mlp.act", 1, (10, 10)),
        ("timm/deit_tiny_distilled_patch16_224", "blocks.2.mlp.act", 2, (14, 14)),
        ("registers", "blocks.1", 5, (4, 4)),
        ("torchvision/vit_b_16", "encoder.layers.encoder_layer_1.mlp.1", 1, (14, 14)),
    ],
)
def test_tokens_become_a_grid(
    spec: Spec, factory: Factory, model: str, layer: str, prefix: int, grid: tuple[int, int]
) -> None:
    loaded = zoo.load(spec(factory(_registers) if model == "registers" else model))
    found = {each.name: each for each in loaded.units.layers}[layer]
    assert found.grid == grid
    kept: list[torch.Tensor] = []
    handle = loaded.module.get_submodule(layer).register_forward_hook(lambda _, __, out: kept.append(out))
    maps = loaded.observe(_images(1))[layer]
    handle.remove()
    assert kept[0].shape == (1, prefix + grid[0] * grid[1], found.channels)
    y, x, channel = 2, 1, 3
    assert maps[0, channel, y, x] == kept[0][0, prefix + y * grid[1] + x, channel]


def test_register_tokens_are_inferred(spec: Spec, factory: Factory) -> None:
    def make() -> nn.Module:
        net = _registers()
        net.num_prefix_tokens = None  # type: ignore[assignment]
        # timm's own head counts them
        net.forward = lambda images: net.blocks(net._pos_embed(net.patch_embed(images)))  # type: ignore
        return net

    # 5 prefix tokens are declared nowhere: 21 = 4² + 5
    layers = zoo.load(spec(factory(make), layers=["blocks.0"])).units.layers
    assert layers[0].grid == (4, 4)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ("head", r"shape \(1, 4\), which is no map"),
        ("unused", "never runs"),
    ],
)
def test_a_module_without_maps_is_named(
    spec: Spec, factory: Factory, tiny: type[nn.Module], layer: str, problem: str
) -> None:
    with pytest.raises(UserError, match=f"layer '{layer}' .*{problem}.*choose another module"):
        zoo.load(spec(factory(tiny), layers=[layer]))


def test_a_module_that_runs_twice_is_refused(spec: Spec) -> None:
    with pytest.raises(
        UserError, match=r"'layer1\.0\.relu' runs 2 times per image; name one of them, layer1\.0\.relu#1 to #2"
    ):
        zoo.load(spec("torchvision/resnet18", layers=["layer1.0.relu"]))


def test_windows_are_no_images(spec: Spec, factory: Factory) -> None:
    def make() -> nn.Module:
        import timm

        net: nn.Module = timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=8, depths=(1, 1), num_heads=(1, 2)
        )
        net.image_size = 32  # type: ignore[assignment]
        return net

    with pytest.raises(UserError, match="4 rows for a single image"):
        zoo.load(spec(factory(make), layers=["layers.0.blocks.0.attn"]))


def test_tokens_that_fill_no_square(spec: Spec, factory: Factory) -> None:
    class Rows(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :, :5, :9].flatten(2).transpose(1, 2)

    with pytest.raises(UserError, match=r"'0' gives 45 tokens \(up to 8 of them without a place\), which fill no grid"):
        zoo.load(spec(factory(lambda: nn.Sequential(Rows())), layers=["0"]))


def test_a_map_that_changes_size_is_an_error(spec: Spec, factory: Factory) -> None:
    class Fickle(nn.Module):
        image_size = 16

        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Identity()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.part(images[:, :, :: 1 if len(images) < 3 else 2])
            return result

    model = zoo.load(spec(factory(Fickle), layers=["part"]))
    with pytest.raises(UserError, match="'part' gives maps of shape"):
        model.observe(_images(3))


def test_images_must_be_images(spec: Spec, factory: Factory, tiny: type[nn.Module]) -> None:
    model = zoo.load(spec(factory(tiny)))
    for wrong in (_images()[0], _images().to(torch.uint8), _images().transpose(1, 3)):
        with pytest.raises(ValueError, match="images are"):
            model.observe(wrong)
    with pytest.raises(ValueError, match="no generator"):
        model.draw_latents(range(1), 0)
    with pytest.raises(ValueError, match="no generator"):
        model.generate(torch.zeros(1, 1))
