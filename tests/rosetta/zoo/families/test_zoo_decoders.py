"""Decoders of autoencoders and consistency models as generators, against the library's own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from decoder_folders import AUTOENCODERS, autoencoder, consistency_pipeline, save_autoencoder, save_consistency
from diffusion_folders import save_dit
from probes import misses
from torch import Tensor

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.units import Layer, Units

Spec = Callable[..., ModelSpec]
_TENSORS = "diffusion_pytorch_model.safetensors"
_LATENTS = {"kl": (4, 8), "shifted kl": (4, 8), "kl of moments": (4, 8), "tiny": (4, 128), "dc": (4, 128), "vq": (5, 8)}
_LAYERS = {
    "tiny": [(f"layers.{at}", 8, 128) for at in (2, 3)] + [("layers.6", 8, 256)],
    "dc": [("up_blocks.1", 16, 128), ("up_blocks.0", 8, 256)],
}
_USUAL = [("mid_block", 16, 8), ("up_blocks.0", 16, 16), ("up_blocks.1", 8, 16)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("decoders")
    folders = {kind: save_autoencoder(root / kind, kind) for kind in AUTOENCODERS}
    return {**folders, "consistency": save_consistency(root / "consistency")}


def _near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6 * max(1.0, float(wanted.abs().max())))


def _drawn(model: zoo.Model, images: int = 2) -> Tensor:
    return torch.from_numpy(model.draw_latents(range(images), 3))


# Decoders


@pytest.mark.parametrize("kind", list(AUTOENCODERS))
def test_images_and_maps_are_those_of_the_library(saved: dict[str, Path], spec: Spec, kind: str) -> None:
    model = zoo.load(spec("diffusers/vae-custom", str(saved[kind])))
    # In the same memory format: in another one torch adds up in another order, which shows behind many layers.
    vae, (channels, side) = autoencoder(kind).to(memory_format=torch.channels_last), _LATENTS[kind]
    z = _drawn(model)
    latents = z.view(2, channels, side, side)
    if kind == "kl of moments":
        mean, std = (torch.tensor(vae.config[f"latents_{name}"])[:, None, None] for name in ("mean", "std"))
        latents = latents * std / 0.3 + mean
    else:
        latents = latents / vae.config.scaling_factor + (0.5 if kind == "shifted kl" else 0)
    kept: dict[str, Tensor] = {}
    for layer, _, _ in _LAYERS.get(kind, _USUAL):
        path = f"decoder.{layer}"
        vae.get_submodule(path).register_forward_hook(lambda _, __, out, path=path: kept.update({path: out.clone()}))
    with torch.no_grad():
        wanted = vae.decode(latents).sample
        images, maps = model.synthesise(z)
    assert wanted.std() > 0.05
    _near(images * 2 - 1, wanted)
    assert [(name, *values.shape[1:3]) for name, values in maps.items()] == [
        (f"vae.decoder.{layer}", *shape) for layer, *shape in _LAYERS.get(kind, _USUAL)
    ]
    for name, values in maps.items():
        _near(values, kept[name.removeprefix("vae.")])
    assert not any("encoder." in name.replace("decoder.", "") for name in model.module.state_dict())


@pytest.mark.parametrize("kind", ["kl", "tiny", "dc", "vq"])
def test_a_change_of_a_latent_shows_at_its_place(spec: Spec, tmp_path: Path, kind: str) -> None:
    """To within half of the place, as kernels of 3 × 3 follow one another. Attention would carry it anywhere."""
    changes = {} if kind in ("tiny", "dc") else {"sample_size": 64, "mid_block_add_attention": False}
    folder = save_autoencoder(tmp_path / "vae", kind, **changes)
    model, (channels, side) = zoo.load(spec("diffusers/vae-custom", str(folder))), _LATENTS[kind]
    side = max(side, 32)
    cell = side // 8
    z = torch.zeros(4, channels, side, side)
    places = [(1, 2), (6, 3), (3, 6)]
    for changed, (y, x) in zip(z[1:], places, strict=True):
        changed[:, y * cell : (y + 1) * cell, x * cell : (x + 1) * cell] = 2
    images, maps = model.synthesise(z.flatten(1))
    assert model.image_size is not None
    units = Units((*model.units.layers, Layer("image", 3, model.image_size)))
    boxes = [(y / 8, x / 8, (y + 1) / 8, (x + 1) / 8) for y, x in places]
    found = misses(units, {**maps, "image": images}, boxes)
    sides = {layer.name: layer.grid[0] for layer in units.layers}
    assert {layer: miss for layer, miss in found.items() if miss > sides[layer] / 16} == {}


def test_gradients_reach_the_latents(saved: dict[str, Path], spec: Spec) -> None:
    model = zoo.load(spec("diffusers/vae-custom", str(saved["kl"])))
    z = _drawn(model).requires_grad_()
    model.synthesise(z)[0].square().mean().backward()
    assert z.grad is not None
    assert (z.grad != 0).float().mean() > 0.9


def test_the_decoder_of_a_pipeline(spec: Spec, tmp_path: Path) -> None:
    """Of a pipeline's folder, the `vae`."""
    save_dit(tmp_path / "dit")
    whole, alone = (
        zoo.load(spec("diffusers/vae-custom", str(folder))) for folder in (tmp_path / "dit", tmp_path / "dit" / "vae")
    )
    assert torch.equal(whole.synthesise(_drawn(whole))[0], alone.synthesise(_drawn(alone))[0])
    assert whole.image_size == (12, 12)


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _pickle(folder: Path) -> None:
    (folder / _TENSORS).rename(folder / _TENSORS.replace(".safetensors", ".bin"))


@pytest.mark.parametrize(
    ("spoil", "condition", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), {}, "there is no config.json in it, nor in a folder vae"),
        (lambda folder: (folder / "config.json").write_text("[1]"), {}, "config.json is no JSON object"),
        (lambda folder: (folder / _TENSORS).unlink(), {}, "no such file"),
        (_pickle, {}, "is a pickle, and only .safetensors are read"),
        (lambda folder: _edit(folder / "config.json", _class_name="UNet2DModel"), {}, "of class 'UNet2DModel', which"),
        (lambda folder: _edit(folder / "config.json", out_channels=1), {}, "have 1 channels; only RGB"),
        (lambda folder: _edit(folder / "config.json", sample_size=1), {}, r"\[1, 1\], less than the 2 pixels"),
        (lambda folder: _edit(folder / "config.json", sample_size=True), {}, "sample_size is True, not from 1 to 8192"),
        (lambda folder: _edit(folder / "config.json", act_fn="no"), {}, "diffusers cannot build its autoencoder: "),
        (lambda folder: _edit(folder / "config.json", block_out_channels=[8, 8]), {}, "do not fit .*: first differ"),
        (lambda _: None, {"steps": 3}, r"vae-custom takes no condition.steps; remove it \(it takes bound\)"),
        (lambda _: None, {"timestep": 3}, "vae-custom takes no condition.timestep"),
        (lambda _: None, {"classes": (1,)}, "its weights know no classes; remove condition.classes"),
    ],
)
def test_what_decodes_nothing(
    saved: dict[str, Path],
    spec: Spec,
    tmp_path: Path,
    spoil: Callable[[Path], object],
    condition: dict[str, Any],
    message: str,
) -> None:
    folder = Path(shutil.copytree(saved["kl"], tmp_path / "vae"))
    spoil(folder)
    _refused(spec("diffusers/vae-custom", str(folder), condition=Condition(**condition)), message)


def test_a_decoder_has_a_folder(spec: Spec) -> None:
    _refused(spec("diffusers/vae-custom"), "vae-custom has no configuration of its own; give the folder of a saved aut")


def _refused(entry: ModelSpec, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        zoo.load(entry)
    assert "\n" not in str(caught.value)


# Consistency models


@pytest.mark.parametrize(
    ("schedule", "classes"),
    [({}, 7), ({"clip_denoised": False, "sigma_max": 20.0, "sigma_data": 0.7}, None), ({"num_train_timesteps": 18}, 7)],
)
def test_images_are_those_of_the_pipeline(
    spec: Spec, tmp_path: Path, schedule: dict[str, Any], classes: int | None
) -> None:
    changes = {"schedule": schedule, "num_class_embeds": classes}
    model = zoo.load(spec("diffusers/custom", str(save_consistency(tmp_path / "cm", **changes))))
    assert (model.classes, model.image_size, model.latent) == (classes, (16, 16), 3 * 16 * 16)
    pipeline, z, kept = consistency_pipeline(**changes), _drawn(model).double(), {}
    for network in (model.module, pipeline.unet):
        network.double()  # the first noise is 80 times as large as an image
    for layer in model.units.layers:
        path = layer.name.removeprefix("unet.")
        pipeline.unet.get_submodule(path).register_forward_hook(lambda _, __, out, at=path: kept.update({at: out}))
    labels = None if classes is None else torch.tensor([5, 2])
    told = None if labels is None else labels.tolist()
    output = pipeline(2, told, num_inference_steps=1, latents=z.view(2, 3, 16, 16), output_type="pt")
    images, maps = model.synthesise(z, labels)
    assert output.images.std() > 0.05
    _near(images.clamp(0, 1), output.images)
    assert list(maps) == ["unet.down_blocks.0.downsamplers.0", "unet.down_blocks.1.attentions.0", "unet.mid_block",
                          "unet.up_blocks.0", "unet.up_blocks.1"]  # fmt: skip
    for name, values in maps.items():
        _near(values, kept[name.removeprefix("unet.")])


def test_an_image_depends_on_its_class(saved: dict[str, Path], spec: Spec) -> None:
    model = zoo.load(spec("diffusers/custom", str(saved["consistency"]), condition=Condition(classes=(6, 0), steps=1)))
    assert (model.draw_classes(range(3), 0) == [6, 0, 6]).all()  # type: ignore[union-attr]
    z = _drawn(model, 1).expand(2, -1)
    images, _ = model.generate(z, torch.tensor([6, 0]))
    assert (images[0] - images[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("edit", "condition", "message"),
    [
        ({}, {"steps": 2}, "which draws new noise at each further step; remove condition.steps"),
        ({}, {"guidance": 2.0}, "which takes no condition.guidance; remove it"),
        ({}, {"timestep": 2}, "which takes no condition.timestep; remove it"),
        ({}, {"classes": (7,)}, "condition.classes has 7, but its classes are 0 to 6"),
        ({"sample_size": [16, 8]}, {}, r"sample_size is \(16, 8\), not a whole number"),
        ({"in_channels": 1, "out_channels": 1}, {}, "have 1 channels; only RGB"),
        ({"class_embed_type": "identity"}, {}, "are told as 'identity', not as indices"),
        ({"norm_num_groups": 3}, {}, "diffusers cannot build it: "),
    ],
)
def test_what_is_no_consistency_model(
    saved: dict[str, Path], spec: Spec, tmp_path: Path, edit: Any, condition: Any, message: str
) -> None:
    folder = Path(shutil.copytree(saved["consistency"], tmp_path / "cm"))
    _edit(folder / "unet" / "config.json", **edit)
    _refused(spec("diffusers/custom", str(folder), condition=Condition(**condition)), message)


def test_a_consistency_model_is_none_of_the_published(saved: dict[str, Path], spec: Spec) -> None:
    _refused(spec("diffusers/ddpm-cat-256", str(saved["consistency"])), "are of a consistency model; name the model di")
