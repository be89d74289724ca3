"""The dump over a model of our own: what it writes, and that it goes on at the first missing block."""

import importlib
import sys

import numpy as np
import pytest
import torch
from diffusion_folders import save_unet
from plans import plan_over

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.recipe import Compute
from rosetta.zoo.image_arrays import from_pixels
from storage.artifacts import layout
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import Blocks
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from tasks.dump.activations import DUMP, dump

OWN = """
from torch import nn

def build():
    model = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(inplace=True))
    model.default_layers = ["0"]
    return model
"""
IMAGES, CHUNK, BLOCK = 11, 2, 4
WANTED, PICTURES = fingerprint("activations"), fingerprint("images")


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    (tmp_path / "dumped_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield_root = Root(str(tmp_path / "root"))
    store = ImageStore.create(yield_root, PICTURES, images=IMAGES, size=(16, 16), block=16, latents=None)
    store.write(0, np.random.default_rng(0).integers(0, 256, (IMAGES, 16, 16, 3), dtype=np.uint8))
    store.finish()
    spec = ModelSpec(name="own", model="python:dumped_zoo:build", weights="random:0")
    monkeypatch.setattr("tasks.dump.memory.model_blocks", lambda *_: Blocks(CHUNK, BLOCK))
    yield yield_root, WANTED, PICTURES, spec, Compute(), "cpu"
    sys.modules.pop("dumped_zoo", None)


def maps(root: Root) -> np.ndarray:
    return ActivationStore.read(root, "own").maps("0", slice(None))


def test_statistics_are_those_of_what_is_stored(arguments):
    dump(*arguments)
    store = ActivationStore.read(arguments[0], "own")
    stored = maps(arguments[0])
    assert stored.dtype == np.float32
    flat = stored.astype(np.float64).transpose(1, 0, 2, 3).reshape(5, -1)
    std = flat.std(axis=1)
    np.testing.assert_allclose((store.mean() - flat.mean(axis=1)) / std, 0, atol=1e-7)
    np.testing.assert_allclose(store.std(), std, rtol=1e-7)
    np.testing.assert_array_equal(store.peaks("0"), stored.max(axis=(2, 3)))
    assert stored.min() < 0, "the in-place ReLU after the layer did not reach what was captured"


def test_rounding_is_what_was_lost(arguments):
    root, _, pictures, spec, *_ = arguments
    dump(*arguments)
    store = ActivationStore.read(root, "own")
    pixels = from_pixels(ImageStore.open(root, pictures).pixels(slice(None)), torch.device("cpu"))
    exact = zoo.load(spec).observe(pixels, range(IMAGES))["0"].double().numpy()
    lost = np.sqrt(((maps(root) - exact) ** 2).mean(axis=(0, 2, 3))) / exact.std(axis=(0, 2, 3))
    np.testing.assert_allclose(store.of_layer("0", "rounding"), lost, rtol=1e-3)
    assert 0 < lost.max() < 2**-11
    assert store.group["0/activation"].attrs["quantization_nsb"] == 10


def test_what_the_store_says_of_its_model(arguments, tmp_path):
    root, wanted, pictures, _, compute, device = arguments
    spec = ModelSpec(name="net", model="timm/test_vit", weights="random:0", options={"depth": 2}, size=32)
    dump(root, wanted, pictures, spec, compute, device)
    attributes = ActivationStore.read(root, "net").attributes
    assert attributes["options"] == {"depth": 2}
    assert attributes["published"] == "timm/test_vit.r160_in1k"
    assert attributes["preprocessing"]["size"] == [32, 32]


def test_float32_is_kept_as_it_is(arguments):
    root, wanted, pictures, spec, _, device = arguments
    dump(root, wanted, pictures, spec, Compute(dtype="float32"), device)
    pixels = from_pixels(ImageStore.open(root, pictures).pixels(slice(None)), torch.device("cpu"))
    model = zoo.load(spec)
    exact = torch.cat([model.observe(pixels[i : i + 1], [i])["0"] for i in range(IMAGES)])
    np.testing.assert_allclose(maps(root), exact.numpy(), rtol=1e-5, atol=1e-6)
    assert not ActivationStore.read(root, "own").of_layer("0", "rounding").any()


def test_only_missing_blocks_go_through_the_model(arguments):
    root = arguments[0]
    dump(*arguments)
    whole = maps(root)
    store = ActivationStore.open(root, WANTED, "own")
    # Marks that a second pass over a finished block would wipe out, and a block that is missing.
    store.group["0/activation"][1, 0, 0, 0] = 77.0
    store.group["0/activation"][BLOCK : 2 * BLOCK] = 0.0
    layout.written_of(store.group)[1] = False
    store.group.attrs["complete"] = False
    dump(*arguments)
    after = maps(root)
    assert after[1, 0, 0, 0] == 77.0
    np.testing.assert_array_equal(after[BLOCK:], whole[BLOCK:])
    plan = plan_over(root, ["own", "other"], activations=WANTED)
    assert DUMP.make(plan, ("own",)) == "skipped"


def begun(root: Root) -> None:
    """As if the dump had been stopped after its first block."""
    store = ActivationStore.open(root, WANTED, "own")
    layout.written_of(store.group)[1:] = False
    store.group.attrs["complete"] = False


@pytest.mark.parametrize("change", [("stride=2)", "stride=2, bias=False)"), ("return model", "model[0].weight *= 1.2")])
def test_another_model_does_not_go_on_with_a_store(arguments, tmp_path, change):
    """Whatever the fingerprint knows: one of an earlier version knows nothing of what a model does."""
    root = arguments[0]
    dump(*arguments)
    whole = maps(root)
    begun(root)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("root/**/*") if path.is_file()}
    other = OWN.replace(*change).replace("model[0].weight *= 1.2", "model[0].weight.data *= 1.2\n    return model")
    (tmp_path / "dumped_zoo.py").write_text(other)
    sys.modules.pop("dumped_zoo")
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=r"activations/own\.zarr was begun with another model: layer 0 of image 0 is"):
        dump(*arguments)
    assert {path: path.read_bytes() for path in tmp_path.rglob("root/**/*") if path.is_file()} == kept
    (tmp_path / "dumped_zoo.py").write_text(OWN + "\n# as it was\n")
    sys.modules.pop("dumped_zoo")
    importlib.invalidate_caches()
    dump(*arguments)
    np.testing.assert_array_equal(maps(root), whole)


def test_a_batch_is_no_part_of_the_result(arguments, monkeypatch):
    dump(*arguments)
    whole = maps(arguments[0])
    arguments[0].remove("activations")
    monkeypatch.setattr("tasks.dump.forward.batch_size", lambda device: 1)
    dump(*arguments)
    torch.testing.assert_close(torch.from_numpy(maps(arguments[0])), torch.from_numpy(whole), atol=1e-3, rtol=1e-3)


def test_noise_follows_an_image_wherever_its_block_begins(arguments, tmp_path):
    """A diffusion model noises each image by its index in the run, in every block and batch."""
    root, wanted, pictures, _, compute, device = arguments
    told = Condition(timestep=60)
    weights = str(save_unet(tmp_path / "unet", sample_size=16))
    spec = ModelSpec(name="noisy", model="diffusers/custom", weights=weights, condition=told)
    dump(root, wanted, pictures, spec, compute, device)
    store = ActivationStore.read(root, "noisy")
    pixels = from_pixels(ImageStore.open(root, pictures).pixels(slice(None)), torch.device("cpu"))
    model = zoo.load(spec)
    for layer, values in model.observe(pixels, range(IMAGES)).items():
        np.testing.assert_allclose(store.maps(layer, slice(None)), values, atol=2e-3 * float(values.abs().max()))
    layer = model.units.layers[0].name
    shifted = model.observe(pixels, range(1, IMAGES + 1))[layer]
    assert np.abs(store.maps(layer, slice(None)) - shifted.numpy()).max() > 0.1 * float(shifted.abs().max())
