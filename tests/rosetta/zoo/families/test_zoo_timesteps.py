"""Diffusion models that look at each image at several timesteps."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusion_folders import save_dit, save_unet
from hypothesis import given
from hypothesis import strategies as st

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.strict import validated
from rosetta.zoo.maps.places import Place, parse_place
from rosetta.zoo.structure import outline, run_outline

Spec = Callable[..., ModelSpec]
TIMESTEPS = (60, 5, 99)
IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {"unet": save_unet(root / "unet"), "dit": save_dit(root / "dit")}


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_maps_of_a_list_are_those_of_each_timestep_alone(folders: dict[str, Path], spec: Spec, kind: str) -> None:
    def look(timestep: int | tuple[int, ...]) -> dict[str, torch.Tensor]:
        told = Condition(timestep=timestep)
        model = zoo.load(spec("diffusers/custom", str(folders[kind]), condition=told))
        maps = model.observe(IMAGES, [4, 7, 2])
        assert tuple(maps) == tuple(layer.name for layer in model.units.layers)
        return maps

    several = look(TIMESTEPS)
    wanted = {f"{name}@t={one}": maps for one in TIMESTEPS for name, maps in look(one).items()}
    assert list(several) == list(wanted)  # in forward order
    for name, maps in wanted.items():
        assert torch.equal(several[name], maps), name
    assert not torch.equal(*(several[name] for name in list(several)[:: len(several) // 3][:2]))


@pytest.mark.parametrize("timestep", [5, (60, 5)])
def test_an_outline_has_the_layers_of_the_model_and_can_be_run(spec: Spec, timestep: int | tuple[int, ...]) -> None:
    asked = spec("diffusers/ddpm-cifar10-32", condition=Condition(timestep=timestep))
    model = outline(asked)
    assert model is not None
    assert all(tensor.is_meta for tensor in model.module.state_dict().values())
    assert model.units == zoo.load(asked).units
    run_outline(model, 2)


def test_layers_may_name_a_timestep_or_none(folders: dict[str, Path], spec: Spec) -> None:
    told = Condition(timestep=(60, 5))
    layers = [
        "transformer.transformer_blocks.0.ff.net.0@in@t=5",
        "transformer.transformer_blocks.1",
        "vae.encoder.mid*",
    ]
    model = zoo.load(spec("diffusers/custom", str(folders["dit"]), condition=told, layers=layers))
    block = "transformer.transformer_blocks"
    assert [layer.name for layer in model.units.layers] == [
        "vae.encoder.mid_block",
        f"{block}.1@t=60",
        f"{block}.0.ff.net.0@in@t=5",
        f"{block}.1@t=5",
    ]


def test_a_list_of_one_names_its_layers_too(folders: dict[str, Path], spec: Spec) -> None:
    told = Condition(timestep=(5,))
    model = zoo.load(spec("diffusers/custom", str(folders["unet"]), condition=told, layers=["unet.mid_block"]))
    assert [layer.name for layer in model.units.layers] == ["unet.mid_block@t=5"]
    assert told.identity == {"timestep": [5]} != Condition(timestep=5).identity


def test_features_read_a_place_at_one_timestep(folders: dict[str, Path], spec: Spec) -> None:
    def sae(place: str) -> ModelSpec:
        one = {"place": place, "weights": "random:0", "activation": "relu", "width": 20}
        told = Condition(timestep=(5, 60))
        return spec("diffusers/custom", str(folders["unet"]), condition=told, sae=(one,))

    units = zoo.load(sae("unet.mid_block@t=60")).units
    assert [layer.name for layer in units.layers] == ["unet.mid_block@t=60@sae"]
    with pytest.raises(UserError, match=r"sae\.place = 'unet\.mid_block' is several places; name one"):
        zoo.load(sae("unet.mid_block"))


def test_an_image_is_encoded_once_and_denoised_once_a_timestep(folders: dict[str, Path], spec: Spec) -> None:
    model = zoo.load(spec("diffusers/custom", str(folders["dit"]), condition=Condition(timestep=TIMESTEPS)))
    ran: list[str] = []
    for name in ("vae.encoder", "transformer"):
        model.module.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    model.observe(IMAGES)
    assert ran == ["vae.encoder", *["transformer"] * 3]


@given(
    st.builds(
        Place,
        st.sampled_from(["unet", "blocks.3.attn", "a.0"]),
        st.none() | st.integers(1, 9),
        st.none() | st.sampled_from(["in", "heads", "0", "t250"]),
        st.none() | st.integers(0, 1000),
    )
)
def test_places_are_read_as_they_are_written(place: Place) -> None:
    assert parse_place(str(place)) == place


@pytest.mark.parametrize(
    ("timestep", "message"),
    [
        ([5, 5], "timestep: it has 5 twice; name each timestep once"),
        ([], "timestep: the list is empty; name at least one timestep"),
        ([5, -1], "timestep: -1 is not a timestep; give a whole number from 0, or a list of them"),
        (True, "timestep: True is not a timestep"),
        ([1.5], "timestep: 1.5 is not a timestep"),
        ("5", "timestep: '5' is not a timestep"),
    ],
)
def test_lists_that_make_no_sense(timestep: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        validated(Condition, {"timestep": timestep}, "condition")
    assert "\n" not in str(caught.value)


def test_a_timestep_that_the_recipe_does_not_name(folders: dict[str, Path], spec: Spec) -> None:
    told = Condition(timestep=(5, 60))
    for layer in ("unet.mid_block@t=7", "unet.mid_block@0@t=5"):
        with pytest.raises(UserError, match=r"is no place of its module; it has .*unet\.mid_block@t=5"):
            zoo.load(spec("diffusers/custom", str(folders["unet"]), condition=told, layers=[layer]))


def test_models_that_take_none(spec: Spec) -> None:
    with pytest.raises(UserError, match=r"takes no condition\.timestep; remove it"):
        zoo.load(spec("timm/test_resnet", "random:0", condition=Condition(timestep=(5, 60))))
