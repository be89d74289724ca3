"""Pipelines with prompts, against the library's own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from prompted_folders import GRIDS, SIZES, prompted
from torch import Tensor

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.families.diffusers.published import PUBLISHED, Published
from rosetta.zoo.families.diffusers.texts import invented, words_of
from rosetta.zoo.latents import draw_noise
from rosetta.zoo.maps.hidden_steps import is_seen
from rosetta.zoo.structure import outline
from rosetta.zoo.work import forward_work

Load = Callable[..., zoo.Model]
KINDS = list(SIZES)
GUIDED = ["klein", "sd3", "sana", "pixart"]
PROMPTS = ("a red house", "two cats on a tree", "a red house")
CLASSES = torch.tensor([1, 2])
_STEPS = 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("prompted")

    def folder(kind: str) -> Path:
        if not (root / kind).exists():
            prompted(kind).save_pretrained(root / kind)
        return root / kind

    return folder


@pytest.fixture
def load(folders: Callable[[str], Path], spec: Callable[..., ModelSpec]) -> Load:
    """A tiny model of a condition."""

    def make(kind: str, layers: list[str] | None = None, **given: Any) -> zoo.Model:
        known = {"size": SIZES[kind], **({} if "timestep" in given else {"prompts": PROMPTS, "steps": _STEPS})}
        condition = Condition(**{name: value for name, value in (known | given).items() if value is not None})
        return zoo.load(spec("diffusers/custom", str(folders(kind)), condition=condition, layers=layers))

    return make


def _near(found: Tensor, wanted: Tensor, share: float = 1e-5) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=share * float(wanted.abs().max()))


def _latents(model: zoo.Model, count: int = 2) -> Tensor:
    return torch.from_numpy(model.draw_latents(range(count), 5))


def _called(kind: str, model: zoo.Model, latents: Tensor, guidance: float | None) -> Tensor:
    """(image, rgb, y, x) in 0..1 of the library's own pipeline."""
    pipeline = prompted(kind)
    noise = latents.unflatten(1, model.module.shape)
    height, width = SIZES[kind]
    if kind == "flux":
        noise = pipeline._pack_latents(noise, *noise.shape)
    more = {} if kind in ("flux", "klein", "sd3") else {"use_resolution_binning": False, "clean_caption": False}
    if guidance is not None:
        more["guidance_scale"] = guidance
    prompts = [PROMPTS[number] for number in CLASSES]
    sized = {"height": height, "width": width, "num_inference_steps": _STEPS, "latents": noise}
    output = pipeline(prompt=prompts, **sized, output_type="np", **more)
    return torch.from_numpy(output.images).permute(0, 3, 1, 2)


@pytest.fixture
def last_inputs() -> Iterator[Callable[[Any, list[str]], dict[str, list[Tensor]]]]:
    """What goes into modules of a pipeline's transformer, or comes out of them, run after run."""
    handles: list[Any] = []

    def watch(transformer: Any, places: list[str]) -> dict[str, list[Tensor]]:
        kept: dict[str, list[Tensor]] = {place: [] for place in places}
        for place in places:
            module = transformer.get_submodule(place.removeprefix("transformer.").removesuffix("@in"))
            if place.endswith("@in"):
                handles.append(module.register_forward_pre_hook(lambda _, args, p=place: kept[p].append(args[0])))
            else:
                handles.append(module.register_forward_hook(lambda _, __, out, p=place: kept[p].append(out)))
        return kept

    yield watch
    for handle in handles:
        handle.remove()


# Making images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [None, 1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_images_and_maps_are_those_of_the_librarys_pipeline(
    load: Load, last_inputs: Any, kind: str, guidance: float | None
) -> None:
    model = load(kind, guidance=guidance)
    latents = _latents(model)
    images, maps = model.generate(latents, CLASSES)
    kept = last_inputs(prompted(kind).transformer, list(maps))
    wanted = _called(kind, model, latents, guidance)
    assert images.shape[2:] == SIZES[kind]
    assert wanted.std() > 0.03
    assert (wanted[0] - wanted[1]).abs().max() > 0.1
    _near(images, wanted)
    assert len(maps) == (4 if kind in ("flux", "klein") else 2)
    for place, found in maps.items():
        runs = kept[place]
        # Where the library runs both halves at once, the prompt's is the second; where one by one, the first.
        last = runs[-1][-2:] if len(runs) == _STEPS else runs[-2]
        given = last if last.ndim == 4 else last[:, -found[0, 0].numel() :].transpose(1, 2).unflatten(2, GRIDS[kind])
        _near(found, given)
        assert (runs[0][-2:] - last).abs().max() > 0.01 * last.abs().max()  # steps differ


def test_the_prompt_counts_and_images_do_not_depend_on_their_batch(load: Load) -> None:
    for kind in KINDS:
        model = load(kind)
        latents = _latents(model)
        both, _ = model.synthesise(latents, CLASSES)
        other, _ = model.synthesise(latents, torch.tensor([0, 1]))
        alone, _ = model.synthesise(latents[1:], CLASSES[1:])
        assert (both - other).abs().max() > 1e-3
        _near(both[1:], alone, 1e-4)


def test_prompts_are_taken_in_turn(load: Load) -> None:
    model = load("pixart")
    drawn = model.draw_classes(range(5), 0)
    assert drawn is not None
    assert drawn.tolist() == [0, 1, 2, 0, 1]
    assert model.prompts(drawn) == [PROMPTS[number] for number in drawn]
    named = load("pixart", classes=(2, 1)).draw_classes(range(3, 5), 9)
    assert named is not None
    assert named.tolist() == [1, 2]


def test_equal_prompts_are_encoded_once_and_nothing_of_the_encoders_is_left(load: Load) -> None:
    model = load("sd3", guidance=1.0)
    words = model.module.words
    assert words.get_buffer("prompt").shape == (2, 77 + 256, 32)
    assert words.get_buffer("rows").tolist() == [0, 1, 0]
    assert not any("words" in name for name in model.module.state_dict())
    assert {name for name, _ in model.module.named_children()} == {"transformer", "vae", "words"}
    assert load("sd3").module.words.get_buffer("rows").tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("kind", ["flux", "sd3", "sana"])
def test_gradients_are_those_of_all_steps(load: Load, kind: str) -> None:
    model = load(kind)
    module = model.module
    start = _latents(model).requires_grad_()
    images, maps = model.synthesise(start, CLASSES)
    (slope,) = torch.autograd.grad(images.square().mean() + sum(one.square().mean() for one in maps.values()), start)
    # The same with all that steps compute kept, and no hooks.
    plain = _latents(model).requires_grad_()
    noisy, carried = plain.unflatten(1, module.shape), ()
    for step in module.timesteps:
        if step == module.timesteps[-1]:
            _, seen = model.capture(
                noisy, through=lambda last, step=step, carried=carried: module._step(last, step, CLASSES, *carried)
            )
        noisy, *carried = module._step(noisy, step, CLASSES, *carried)
    wanted = module._decode(noisy).add(1).div(2)
    loss = wanted.square().mean() + sum(one.square().mean() for one in seen.values())
    (slow,) = torch.autograd.grad(loss, plain)
    assert (slope != 0).float().mean() > 0.9
    _near(slope, slow, 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_see_the_last_step_of_the_half_with_the_prompt(load: Load, kind: str) -> None:
    model = load(kind)
    seen: list[bool] = []
    block = model.module.get_submodule("transformer.transformer_blocks.0")
    block.register_forward_hook(lambda *_: seen.append(is_seen()))
    model.generate(_latents(model, 1), CLASSES[:1])
    halves = [True] if kind == "flux" else [True, False]
    assert seen == [*[False] * (_STEPS - 1) * len(halves), *halves]
    assert "last of 3 denoising steps" in model.module.captured
    assert ("conditioned half" in model.module.captured) == (kind != "flux")


def test_tokens_of_the_prompt_are_told_apart(folders: Callable[[str], Path], spec: Callable[..., ModelSpec]) -> None:
    def readings(kind: str) -> dict[str, Any]:
        condition = Condition(prompts=PROMPTS, size=SIZES[kind], steps=1)
        return zoo.places(spec("diffusers/custom", str(folders(kind)), condition=condition))

    for kind, words in (("flux", 512), ("klein", 512), ("sd3", 333)):
        found = readings(kind)
        block = "transformer.transformer_blocks.0"
        assert (found[f"{block}@1"].grid, found[f"{block}@in"].grid) == (GRIDS[kind], GRIDS[kind])
        assert found[f"{block}.attn"].grid == GRIDS[kind]
        of_text = [block, f"{block}@0", f"{block}.attn@1", f"{block}.ff_context", f"{block}.attn.add_q_proj"]
        for place in [*of_text, "transformer.context_embedder"]:
            assert "not one of places" in found[place], place
        if kind == "sd3":
            assert found[f"{block}.attn2.to_k"].grid == GRIDS[kind]  # of the image to itself
        else:
            single = "transformer.single_transformer_blocks.1"
            assert (found[f"{single}.attn"].prefix, found[f"{single}.attn"].grid) == (words, GRIDS[kind])
            assert isinstance(found.get(f"{single}.attn@pattern", ""), str)
    cross = readings("pixart")
    assert "not one of places" in cross["transformer.transformer_blocks.0.attn2.to_k"]
    assert cross["transformer.transformer_blocks.0.attn2.to_q"].grid == GRIDS["pixart"]


# Looking at images ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", [None, "a red house"])
def test_looks_are_one_pass_over_images_noised_to_a_timestep(
    load: Load, last_inputs: Any, kind: str, prompt: str | None
) -> None:
    model = load(kind, timestep=400, prompts=None if prompt is None else (prompt,))
    assert (model.is_generator, model.indexed) == (False, True)
    images = torch.rand((2, 3, *SIZES[kind]), generator=torch.Generator().manual_seed(3))
    maps = model.observe(images, range(6, 8))
    pipeline, kind_of = prompted(kind), model.module.pipeline_kind
    with torch.inference_mode():
        clean = _encoded(kind, images * 2 - 1)
        noise = torch.stack([torch.from_numpy(draw_noise(index, clean[0].numel())) for index in (6, 7)]).view_as(clean)
        if kind in ("pixart", "alpha"):
            noisy = DDPMScheduler().add_noise(clean, noise, torch.full((2,), 400))
        else:
            noisy = 0.6 * clean + 0.4 * noise
        texts = kind_of.encode(pipeline, [prompt or ""] * 2, prompt is None, torch.device("cpu"))
        kept = last_inputs(pipeline.transformer, list(maps))
        kind_of.predict(pipeline.transformer, noisy, torch.full((2,), 400.0), texts, 3.5)
    for place, found in maps.items():
        last = kept[place][-1]
        given = last if last.ndim == 4 else last[:, -found[0, 0].numel() :].transpose(1, 2).unflatten(2, GRIDS[kind])
        _near(found, given)


def _encoded(kind: str, images: Tensor) -> Tensor:
    vae = prompted(kind).vae
    if kind == "sana":
        return vae.encode(images).latent * 0.4
    mean = vae.encode(images).latent_dist.mean
    if kind == "klein":
        packed = prompted(kind)._patchify_latents(mean)
        normal = torch.nn.BatchNorm2d(16, eps=1e-4, affine=False).eval()
        normal.load_state_dict(vae.bn.state_dict())
        return normal(packed)
    return (mean - (vae.config.shift_factor or 0)) * 0.4


# Without weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "units", "layers", "grid", "billions", "steps", "words"),
    [
        ("flux-1-schnell", 12288, 19 + 38, (64, 64), 11.9, 4, (256, 4096)),
        ("flux-1-dev", 12288, 19 + 38, (64, 64), 11.9, 28, (512, 4096)),
        ("flux-2-klein-4b", 9216, 5 + 20, (64, 64), 3.88, 4, (512, 7680)),
        ("flux-2-klein-base-9b", 12288, 8 + 24, (64, 64), 9.08, 50, (512, 12288)),
        ("pixart-sigma-xl-2-1024", 4608, 28, (64, 64), 0.61, 20, (300, 4096)),
        ("sana-600m-512", 2880, 28, (16, 16), 0.59, 20, (300, 2304)),
        ("sana-1600m-1024", 5600, 20, (32, 32), 1.6, 20, (300, 2304)),
        ("sd3-medium", 6144, 24, (64, 64), 2.03, 28, (333, 4096)),
    ],
)
def test_outlines_of_published_pipelines(
    spec: Callable[..., ModelSpec],
    name: str,
    units: int,
    layers: int,
    grid: tuple[int, int],
    billions: float,
    steps: int,
    words: tuple[int, int],
) -> None:
    model = outline(spec(f"diffusers/{name}", "pretrained"))
    assert model is not None
    assert [(layer.channels, layer.grid) for layer in model.units.layers] == [(units, grid)] * layers
    module = model.module
    assert (len(module.timesteps), module.words.get_buffer("prompt").shape[1:]) == (steps, words)
    distilled = name.startswith("flux-1") or name == "flux-2-klein-4b"
    assert len(module.words.get_buffer("prompt")) == (1 if distilled else 2)  # what guidance leads away from
    count = sum(one.numel() for one in module.get_submodule("transformer").parameters())
    assert count == pytest.approx(billions * 1e9, rel=0.02)


def test_an_outline_of_another_size_with_prompts(spec: Callable[..., ModelSpec]) -> None:
    condition = Condition(size=(256, 384), prompts=("a", "b", "a"))
    model = outline(spec("diffusers/flux-2-klein-4b", "pretrained", condition=condition))
    assert model is not None
    assert (model.classes, model.image_size, model.latent) == (3, (256, 384), 128 * 16 * 24)
    assert {layer.grid for layer in model.units.layers} == {(16, 24)}
    assert len(model.module.words.get_buffer("prompt")) == 2


def test_work_is_that_of_all_steps(spec: Callable[..., ModelSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {part: dict(getattr(prompted("sana"), part).config) for part in ("transformer", "vae", "scheduler")}
    tiny = Published("none", parts, True, "SanaPipeline")
    monkeypatch.setitem(PUBLISHED, "tiny", tiny)  # type: ignore[index]

    def operations(steps: int) -> int:
        work = forward_work(spec("diffusers/tiny", "pretrained", condition=Condition(steps=steps)))
        assert work is not None
        return work.operations

    one, two, five = (operations(steps) for steps in (1, 2, 5))
    assert five - two == 3 * (two - one) > 0


def test_random_weights_take_words_of_their_own() -> None:
    encode = invented({"prompt": (4, 3), "mask": (4,)})
    words, again = (words_of(prompts, False, encode) for prompts in (["a", "b"], ["b", "c"]))
    prompt = words.get_buffer("prompt")
    assert torch.equal(prompt[1], again.get_buffer("prompt")[0])
    assert (prompt[0] - prompt[1]).abs().max() > 0.1
    assert words.get_buffer("mask").tolist() == [[1] * 4] * 2


# What cannot be ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("flux", {"prompts": None}, r"makes images of prompts; give condition\.prompts, a text file or a list"),
        ("flux", {"size": (10, 16)}, r"condition\.size is 10 × 16, but sides must be multiples of 4"),
        ("sd3", {"steps": 1000, "classes": (3,)}, r"condition\.classes has 3, but its classes are 0 to 2"),
        ("sd3", {"truncation": 0.5}, r"takes no condition\.truncation"),
        ("sana", {"timestep": 1000}, r"condition\.timestep is 1000, but its timesteps are 0 to 999"),
        ("sana", {"timestep": 3, "guidance": 2.0}, r"condition\.guidance is about making images"),
        ("sana", {"timestep": 3, "prompts": ("a", "b")}, r"condition\.prompts has 2, but every image .* name one"),
        ("sd3", {"size": (64, 96)}, r"fails on latents of length"),
    ],
)
def test_conditions_that_make_no_sense(load: Load, kind: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(kind, **given)
    assert "\n" not in str(caught.value)


def test_prompts_of_classes(load: Load) -> None:
    model = load("alpha")
    assert model.prompts(None) is None
    assert model.prompts(np.array([1])) == [PROMPTS[1]]
