"""Diffusion models in both roles, against the library's own pipelines."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusion_folders import dit_pipeline, save_dit, save_unet, unet_pipeline
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.architecture import Architecture
from rosetta.zoo.families.diffusers.family import Diffusers
from rosetta.zoo.latents import draw_noise
from rosetta.zoo.maps.capture import Capture, choose_layers
from rosetta.zoo.maps.hidden_steps import is_seen
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.maps.probe import probe

Load = Callable[..., zoo.Model]
_CLASSES = torch.tensor([3, 980])
_NULL = 1000


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {"unet": save_unet(root / "unet"), "dit": save_dit(root / "dit")}


@pytest.fixture
def load(folders: dict[str, Path], spec: Callable[..., ModelSpec]) -> Load:
    """A tiny model of a condition."""

    def make(kind: str, layers: list[str] | None = None, **condition: Any) -> zoo.Model:
        told = Condition(**condition)
        return zoo.load(spec("diffusers/custom", str(folders[kind]), condition=told, layers=layers))

    return make


def _noise(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _near(found: Tensor, wanted: Tensor, share: float = 1e-4) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=share * float(wanted.abs().max()))


def _images(output: Any) -> Tensor:
    """(image, rgb, y, x) in 0..1 that a pipeline returned."""
    return torch.from_numpy(output.images).permute(0, 3, 1, 2)


def _hooked(module: nn.Module, prefix: str, paths: list[str]) -> dict[str, Tensor]:
    """The latest output of each layer; of those on the way down that give two things, the first."""
    kept: dict[str, Tensor] = {}
    for path in paths:
        part = module.get_submodule(path.removeprefix(f"{prefix}."))
        part.register_forward_hook(lambda _, __, out, path=path: kept.update({path: out}))
    return kept


# Structure -----------------------------------------------------------------------------------------------------------


def _meta(name: str) -> tuple[Architecture, Capture]:
    with torch.device("meta"):
        architecture = Diffusers().build(name, None, False, Condition())
        assert architecture.latent is not None
        told = (torch.zeros(1, dtype=torch.int64),) if architecture.classes else ()
        inputs = (torch.zeros(1, architecture.latent), *told)
    module = architecture.module.eval()
    seen = probe(module, inputs, architecture.traits, architecture.image_size)
    assert seen.output.shape == (1, 3, *(architecture.image_size or ()))
    return architecture, Capture(module, choose_layers(module, seen, name, architecture.layers))


@pytest.mark.parametrize(
    ("name", "size", "widths", "millions"),
    [
        ("ddpm-cifar10-32", 32, [128, 256, 256, 256], 35.7),
        *((f"ddpm-{what}-256", 256, [128, 128, 256, 256, 512, 512], 114) for what in ("bedroom", "cat", "church")),
        ("ddpm-celebahq-256", 256, [128, 128, 256, 256, 512, 512], 114),
    ],
)
def test_units_of_published_unets(name: str, size: int, widths: list[int], millions: float) -> None:
    architecture, capture = _meta(name)
    assert (architecture.latent, architecture.classes) == (3 * size**2, None)
    sides = [size >> place for place in range(1, len(widths))]
    down = [*zip(widths, [*sides, sides[-1]], strict=True)]
    up = [*zip(widths[::-1], [*sides[-2::-1], size, size], strict=True)]
    assert [(layer.channels, layer.grid[0]) for layer in capture.units.layers] == [*down, down[-1], *up]
    assert len(capture.units) == {32: 2048, 256: 4096}[size]
    last = len(widths) - 1
    assert [layer.name for layer in capture.units.layers] == [
        *(f"unet.down_blocks.{block}.downsamplers.0" for block in range(last)),
        f"unet.down_blocks.{last}.resnets.1",
        "unet.mid_block",
        *(f"unet.up_blocks.{block}" for block in range(last + 1)),
    ]
    # As the paper counts them, in its appendix B.
    count = sum(parameter.numel() for parameter in architecture.module.parameters())
    assert count == pytest.approx(millions * 1e6, rel=0.005)


@pytest.mark.parametrize("size", [256, 512])
def test_units_of_published_transformers(size: int) -> None:
    architecture, capture = _meta(f"dit-xl-2-{size}")
    assert (architecture.latent, architecture.classes) == (4 * (size // 8) ** 2, 1000)
    assert architecture.image_size == (size, size)
    layers = capture.units.layers
    assert [layer.name for layer in layers] == [
        f"transformer.transformer_blocks.{block}.ff.net.0" for block in range(28)
    ]
    assert {(layer.channels, layer.grid) for layer in layers} == {(4608, (size // 16, size // 16))}
    assert len(capture.units) == 129024
    # The paper counts 675 million; the library has the embedding of timestep and class once in each of 28 blocks.
    transformer = architecture.module.get_submodule("transformer")
    embedding = transformer.get_submodule("transformer_blocks.0.norm1.emb")
    count, again = (sum(each.numel() for each in part.parameters()) for part in (transformer, embedding))
    assert count - 27 * again == pytest.approx(675e6, rel=0.005)
    decoder = architecture.module.get_submodule("vae")
    assert sum(each.numel() for each in decoder.parameters()) == 83_653_863  # as that of Stable Diffusion has


def test_names() -> None:
    assert zoo.names("diffusers") == [
        "custom",
        *(f"ddpm-{what}" for what in ("bedroom-256", "cat-256", "celebahq-256", "church-256", "cifar10-32")),
        "dit-xl-2-256",
        "dit-xl-2-512",
        *(f"flux-{name}" for name in ("1-dev", "1-schnell", "2-klein-4b", "2-klein-9b")),
        *(f"flux-2-klein-base-{size}" for size in ("4b", "9b")),
        "pixart-sigma-xl-2-1024",
        *(f"sana-{name}" for name in ("1600m-1024", "1600m-512", "600m-1024", "600m-512")),
        "sd3-medium",
        "vae-custom",
    ]


# Making images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_images_are_those_of_the_ddim_pipeline(load: Load, steps: int) -> None:
    model, pipeline = load("unet", steps=steps), unet_pipeline()
    for network in (model.module, pipeline.unet):
        network.double()  # twenty steps make much of a little rounding
    wanted = _images(pipeline(2, torch.Generator().manual_seed(0), num_inference_steps=steps, output_type="np"))
    images, _ = model.synthesise(_noise((2, 3, 8, 8), dtype=torch.float64).flatten(1))
    assert wanted.std() > 0.05
    _near(images.clamp(0, 1), wanted, 1e-9)


@pytest.mark.parametrize("guidance", [None, 1.0, 4.0])
def test_images_are_those_of_the_dit_pipeline(load: Load, guidance: float | None) -> None:
    model, pipeline = load("dit", steps=5, guidance=guidance), dit_pipeline()
    random = torch.Generator().manual_seed(0)
    wanted = _images(pipeline(_CLASSES.tolist(), guidance or 1.0, random, num_inference_steps=5, output_type="np"))
    images, _ = model.generate(_noise((2, 4, 6, 6)).flatten(1), _CLASSES)
    assert wanted.shape == (2, 3, 12, 12)
    assert wanted.std() > 0.05
    _near(images, wanted)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_maps_are_those_of_the_last_step_under_the_class(load: Load, guidance: float) -> None:
    model = load("dit", steps=4, guidance=guidance)
    pipeline = dit_pipeline()
    noisy = _noise((2, 4, 6, 6))
    _, maps = model.generate(noisy.flatten(1), _CLASSES)
    kept = _hooked(pipeline.transformer, "transformer", list(maps))
    scheduler, transformer = pipeline.scheduler, pipeline.transformer
    scheduler.set_timesteps(4)
    with torch.inference_mode():
        for timestep in scheduler.timesteps:
            times = timestep.expand(2)
            plain = transformer(noisy, times, torch.full((2,), _NULL)).sample[:, :4]
            early = dict(kept)
            said = transformer(noisy, times, _CLASSES).sample[:, :4]
            noisy = scheduler.step(plain + guidance * (said - plain), timestep, noisy).prev_sample
    assert len(maps) == 2
    for path, found in maps.items():
        wanted = kept[path].transpose(1, 2).unflatten(2, (3, 3))
        assert wanted.shape == (2, 64, 3, 3)
        assert (kept[path] - early[path]).abs().max() > 0.01 * kept[path].abs().max()  # the class counts
        _near(found, wanted)


def test_maps_of_a_unet_are_what_its_blocks_give_in_the_last_step(load: Load) -> None:
    model = load("unet", steps=4)
    pipeline = unet_pipeline()
    noisy = _noise((2, 3, 8, 8))
    _, maps = model.generate(noisy.flatten(1))
    blocks = [f"unet.{part}" for part in ("down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1")]
    kept = _hooked(pipeline.unet, "unet", blocks)
    pipeline.scheduler.set_timesteps(4)
    for timestep in pipeline.scheduler.timesteps:
        with torch.inference_mode():
            noisy = pipeline.scheduler.step(pipeline.unet(noisy, timestep).sample, timestep, noisy).prev_sample
    for found, given in zip(maps.values(), kept.values(), strict=True):
        _near(found, given[0] if isinstance(given, tuple) else given)


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_an_image_depends_on_nothing_in_its_batch(load: Load, kind: str) -> None:
    model = load(kind, steps=3, **({"guidance": 2.0} if kind == "dit" else {}))
    latents = torch.from_numpy(model.draw_latents(range(2), 5))
    told = (_CLASSES, _CLASSES[1:]) if kind == "dit" else (None, None)
    (both, maps), (alone, own) = model.generate(latents, told[0]), model.generate(latents[1:], told[1])
    _near(both[1:], alone)
    for path, found in maps.items():
        _near(found[1:], own[path])
    assert (both[0] - both[1]).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_gradients_are_those_of_all_steps(load: Load, kind: str) -> None:
    model = load(kind, steps=3, **({"guidance": 2.0} if kind == "dit" else {}))
    model.module.double()
    told = (_CLASSES,) if kind == "dit" else ()
    latents = torch.from_numpy(model.draw_latents(range(2), 5)).double()
    direction = _noise(tuple(latents.shape), seed=1).double()

    def value(moved: Tensor) -> Tensor:
        images, maps = model.capture(moved, *told)
        return images.square().mean() + sum(found.square().mean() for found in maps.values())

    start = latents.requires_grad_()
    (slope,) = torch.autograd.grad(value(start), start)
    assert (slope != 0).double().mean() > 0.9
    with torch.no_grad():
        difference = (value(latents + 1e-6 * direction) - value(latents - 1e-6 * direction)) / 2e-6
    torch.testing.assert_close((slope * direction).sum(), difference, rtol=1e-4, atol=1e-8)


def test_with_gradients_a_step_keeps_no_more_than_its_latent(load: Load) -> None:
    kept = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    def bytes_kept(steps: int) -> int:
        nonlocal kept
        kept, model = 0, load("unet", steps=steps)
        latents = torch.from_numpy(model.draw_latents(range(1), 5)).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.synthesise(latents)
        return kept

    latent = 3 * 8 * 8 * 4
    assert bytes_kept(8) - bytes_kept(2) <= 6 * latent < bytes_kept(1)


def test_layers_can_be_any_that_run_once_where_they_are_seen(load: Load) -> None:
    model = load("dit", steps=3, layers=["vae.decoder.up_blocks.*", "transformer.transformer_blocks.1"])
    assert [(layer.name, layer.grid) for layer in model.units.layers] == [
        ("transformer.transformer_blocks.1", (3, 3)),
        ("vae.decoder.up_blocks.0", (12, 12)),
        ("vae.decoder.up_blocks.1", (12, 12)),
    ]
    with pytest.raises(UserError, match=r"layer 'transformer\.\S+\.norm1\.emb' runs 2 times per image"):
        load("dit", layers=["transformer.transformer_blocks.0.norm1.emb"])
    with pytest.raises(UserError, match=r"layer 'vae\.encoder' never runs"):
        load("dit", layers=["vae.encoder"])
    assert load("dit", layers=["vae.encoder.mid_block"], timestep=3).units.layers[0].grid == (6, 6)


@pytest.mark.parametrize(("kind", "seen"), [("unet", [False] * 5 + [True]), ("dit", [False] * 10 + [True, False])])
def test_the_last_step_alone_is_seen_and_a_probe_takes_no_other(load: Load, kind: str, seen: list[bool]) -> None:
    model = load(kind, steps=6, **({"guidance": 2.0} if kind == "dit" else {}))
    ran: list[bool] = []
    model.module.get_submodule("unet.conv_in" if kind == "unet" else "transformer.pos_embed").register_forward_hook(
        lambda *_: ran.append(is_seen())
    )
    told = (torch.zeros(1, dtype=torch.int64),) if kind == "dit" else ()
    latents = torch.from_numpy(model.draw_latents(range(1), 0))
    model.generate(latents, *told)
    assert ran == seen
    ran.clear()
    probe(model.module, (latents, *told), Traits(), model.image_size)
    assert ran == [True]


# Looking at images ---------------------------------------------------------------------------------------------------


def test_noise_depends_on_an_images_index_alone() -> None:
    torch.testing.assert_close(torch.from_numpy(draw_noise(7, 5)), torch.from_numpy(draw_noise(7, 9))[:5])
    drawn = torch.from_numpy(draw_noise(7, 100_000))
    assert abs(float(drawn.mean())) < 0.01
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)
    assert abs(float((drawn * torch.from_numpy(draw_noise(8, 100_000))).mean())) < 0.01


@pytest.mark.parametrize("kind", ["unet", "dit"])
@pytest.mark.parametrize("timestep", [0, 30, 99])
def test_maps_are_those_of_one_noised_look(load: Load, kind: str, timestep: int) -> None:
    model = load(kind, timestep=timestep)
    assert not model.is_generator
    assert model.indexed
    side = {"unet": 8, "dit": 12}[kind]
    images = torch.rand((2, 3, side, side), generator=torch.Generator().manual_seed(3))
    maps = model.observe(images, range(6, 8))
    pipeline: Any = unet_pipeline() if kind == "unet" else dit_pipeline()
    clean = images * 2 - 1
    times = torch.full((2,), timestep)
    with torch.inference_mode():
        if kind == "dit":
            clean = pipeline.vae.encode(clean).latent_dist.mode() * 0.3
        noise = torch.stack([torch.from_numpy(draw_noise(index, clean[0].numel())) for index in (6, 7)])
        noisy = pipeline.scheduler.add_noise(clean, noise.view_as(clean), times)
        network = pipeline.unet if kind == "unet" else pipeline.transformer
        kept = _hooked(network, "unet" if kind == "unet" else "transformer", list(maps))
        network(noisy, times, **({} if kind == "unet" else {"class_labels": torch.full((2,), _NULL)}))
    for path, found in maps.items():
        wanted = kept[path] if kind == "unet" else kept[path].transpose(1, 2).unflatten(2, (3, 3))
        _near(found, wanted)


def test_a_look_depends_on_the_index_and_not_on_the_batch(load: Load) -> None:
    model = load("unet", timestep=50)
    image = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    four = model.observe(image.expand(4, -1, -1, -1), range(4))
    alone = model.observe(image, range(2, 3))
    for path, found in four.items():
        _near(found[2:3], alone[path])
        assert (found[1] - found[2]).abs().max() > 0.01
    assert torch.equal(model.observe(image)["unet.mid_block"], model.observe(image, range(1))["unet.mid_block"])


def test_a_look_is_at_one_class_where_one_is_named(load: Load) -> None:
    image = torch.rand((1, 3, 12, 12), generator=torch.Generator().manual_seed(3))
    plain, named = (load("dit", timestep=50, **told).observe(image) for told in ({}, {"classes": (3,)}))
    assert all((plain[path] - named[path]).abs().max() > 0.01 for path in plain)


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_gradients_reach_the_images(load: Load, kind: str) -> None:
    model = load(kind, timestep=20)
    images = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(3)).requires_grad_()
    sum(found.square().mean() for found in model.look(images).values()).backward()
    assert images.grad is not None
    assert (images.grad != 0).float().mean() > 0.9


# What cannot be ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "condition", "message"),
    [
        ("unet", {"guidance": 2.0}, "knows no classes to be guided to; remove condition.guidance"),
        ("unet", {"classes": (1,)}, "its weights know no classes; remove condition.classes"),
        ("unet", {"truncation": 0.5}, r"takes no condition\.truncation; remove it"),
        ("unet", {"steps": 101}, r"condition\.steps is 101, but it was trained on 100; take fewer"),
        ("unet", {"timestep": 100}, r"condition\.timestep is 100, but its timesteps are 0 to 99"),
        ("unet", {"timestep": (5, 100)}, r"condition\.timestep has 100, but its timesteps are 0 to 99"),
        ("unet", {"timestep": 5, "steps": 9}, r"condition\.steps is about making images, and condition\.timestep"),
        ("dit", {"timestep": 5, "guidance": 2.0}, r"condition\.guidance is about making images"),
        ("dit", {"timestep": 5, "bound": 2.0}, r"condition\.bound is about making images"),
        ("unet", {"timestep": 5, "classes": (1,)}, "knows no classes; remove condition.classes"),
        ("dit", {"timestep": 5, "classes": (1, 2)}, "condition.classes names 2, .* name one"),
        ("dit", {"timestep": 5, "classes": (1000,)}, "condition.classes has 1000, but its classes are 0 to 999"),
        ("dit", {"classes": (1000,)}, "condition.classes has 1000, but its classes are 0 to 999"),
    ],
)
def test_conditions_that_make_no_sense(load: Load, kind: str, condition: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(kind, **condition)
    assert "\n" not in str(caught.value)


def test_without_the_library(spec: Callable[..., ModelSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    from rosetta.zoo.families.diffusers.pipeline import library

    library.cache_clear()
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert "ddpm-cat-256" in zoo.names("diffusers")
    assert zoo.is_generator(spec("diffusers/ddpm-cat-256"))
    assert not zoo.is_generator(spec("diffusers/ddpm-cat-256", condition=Condition(timestep=5)))
    with pytest.raises(UserError, match=r"pip install 'rosetta-mine\[diffusion\]'") as caught:
        zoo.load(spec("diffusers/ddpm-cat-256"))
    assert "\n" not in str(caught.value)
