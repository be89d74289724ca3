"""Features as layers of a model, beside its own."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.features.formats import read_encoder

VIT = {"name": "vit", "model": "timm/test_vit", "weights": "random:0"}
RANDOM = {"weights": "random:1", "activation": "topk", "k": 3, "width": 40}


def spec(*autoencoders: dict[str, object], **more: object) -> ModelSpec:
    return ModelSpec.model_validate({**VIT, "sae": list(autoencoders), **more})


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("place", ["blocks.2", "blocks.1.mlp.fc2@in", "patch_embed.proj"])
def test_features_are_the_encoders_of_the_maps_at_their_place(images: torch.Tensor, place: str) -> None:
    """Behind their place; alone, where no layers are named."""
    asked = spec({"place": place, **RANDOM}, layers=[place, "norm"])
    model = zoo.load(asked)
    features = f"{place}@sae"
    assert [layer.name for layer in model.units.layers] == [place, features, "norm"]
    assert [layer.sparse for layer in model.units.layers] == [False, True, False]
    maps = model.observe(images)
    encoder = read_encoder(asked.sae[0], maps[place].shape[1])
    torch.testing.assert_close(maps[features], encoder(maps[place]), atol=1e-6, rtol=1e-6)
    assert maps[features].shape == (2, 40, *maps[place].shape[2:])
    alone = zoo.load(asked.model_copy(update={"layers": None}))
    assert [layer.name for layer in alone.units.layers] == [features]
    assert torch.equal(alone.observe(images)[features], maps[features])


def test_maps_are_given_away_layer_by_layer(images: torch.Tensor) -> None:
    taken: dict[str, torch.Tensor] = {}
    model = zoo.load(spec({"place": "blocks.0", **RANDOM}, layers=["blocks.*"]))
    assert model.observe(images, take=lambda layer, maps: taken.update({layer: maps.clone()})) == {}
    assert list(taken) == [layer.name for layer in model.units.layers]
    assert all(torch.equal(taken[layer], maps) for layer, maps in model.observe(images).items())


def test_several_autoencoders_may_read_one_place(images: torch.Tensor) -> None:
    two = ({"place": "blocks.0", **RANDOM}, {"place": "blocks.0", **RANDOM, "weights": "random:2", "name": "second"})
    maps = zoo.load(spec(*two)).observe(images)
    assert list(maps) == ["blocks.0@sae", "blocks.0@second"]
    assert not torch.equal(*maps.values())


def test_gradients_pass(images: torch.Tensor) -> None:
    """Features can guide a generator like any units."""
    model = zoo.load(spec({"place": "blocks.2", **RANDOM}))
    images.requires_grad_(True)
    model.look(images)["blocks.2@sae"].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def saved(folder: Path, seed: int) -> Path:
    random = torch.Generator().manual_seed(seed)
    tensors = {"W_enc": (64, 30), "b_enc": (30,), "W_dec": (30, 64), "b_dec": (64,), "threshold": (30,)}
    file = folder / f"sae-{seed}.safetensors"
    save_file({name: torch.rand(shape, generator=random) for name, shape in tensors.items()}, file)
    return file


def test_the_digest_of_a_model_is_that_of_its_autoencoders_too(tmp_path: Path) -> None:
    digests = set()
    for seed in (0, 1):
        asked = spec({"place": "blocks.0", "weights": str(saved(tmp_path, seed))})
        digests.add(zoo.weights_sha256(asked))
        assert zoo.load(asked).weights_sha256 == zoo.weights_sha256(asked)
    digests.add(zoo.weights_sha256(spec()))
    assert len(digests) == 3


def test_an_outline_needs_no_file_where_the_width_is_stated() -> None:
    asked = spec({"place": "blocks.0", "weights": "nowhere/sae.safetensors", "width": 123})
    outline = zoo.outline(asked)
    assert outline is not None
    assert [(layer.name, layer.channels) for layer in outline.units.layers] == [("blocks.0@sae", 123)]
    with pytest.raises(UserError, match="no such file"):
        zoo.weights_sha256(asked)


@pytest.mark.parametrize(
    ("autoencoder", "problem"),
    [
        ({"place": "blocks.7", **RANDOM}, "blocks.7"),
        ({"place": "blocks.*", **RANDOM}, "is several places; name one"),
        ({"place": "blocks.0.attn.q_norm", **RANDOM}, "blocks.0.attn.q_norm"),
        ({"place": "blocks.0", **RANDOM, "k": 41}, "k is 41, not a whole number from 1 to 40"),
    ],
)
def test_bad_places_are_one_line(autoencoder: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError) as caught:
        zoo.load(spec(autoencoder))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_layers_of_one_name_are_one_line() -> None:
    with pytest.raises(UserError, match=r"two autoencoders are called 'blocks\.0@sae'"):
        zoo.load(spec({"place": "blocks.0", **RANDOM}, {"place": "blocks.0", **RANDOM}))


def test_another_digest_than_stated_is_one_line(tmp_path: Path) -> None:
    file = saved(tmp_path, 0)
    with pytest.raises(UserError, match=r"but 0000.* is stated"):
        zoo.weights_sha256(spec({"place": "blocks.0", "weights": str(file), "sha256": "0" * 64}))
