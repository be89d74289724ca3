"""What the constructors of NVIDIA's networks were called with decides about the maps, or the file is refused."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nvidia_files import called
from safetensors.torch import save_file
from torch import Tensor, nn
from toys import NVIDIA, Toy, load, maps, network, toy

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.families.stylegan.signatures import (
    STYLEGAN2,
    STYLEGAN3,
    STYLEGANXL,
    SUPERRES,
    Honoured,
    Irrelevant,
    Only,
    Table,
)

Arguments = dict[str, dict[str, Any]]


def _assert_the_definitions(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    assert set(found) == set(wanted)
    for name, values in found.items():
        assert values.shape == wanted[name].shape
        assert (values - wanted[name]).abs().max() <= 1e-4 * wanted[name].abs().max(), name


@pytest.mark.parametrize("name", NVIDIA)
def test_every_map_is_that_of_the_published_definition(name: str, tmp_path: Path) -> None:
    one = toy(name)
    model = load(one.family, network(one.state, one.arguments), tmp_path, one.psi)
    assert model.classes == (one.tensors["c"].shape[1] if "c" in one.tensors else None)
    _assert_the_definitions(maps(model, one), one.maps)


def test_arguments_are_told_in_other_ways(tmp_path: Path) -> None:
    """By place, inside `synthesis_kwargs` as in StyleGAN2-ADA, as NumPy's numbers, by the modules inside."""
    one = toy("stylegan2-nvidia-relu")
    given = dict(one.arguments[""])
    first = [given.pop(name) for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")]
    mapping = given.pop("mapping_kwargs")
    ways = [
        ((*first, mapping), given, {}),
        (tuple(first), {"mapping_kwargs": mapping, "synthesis_kwargs": given}, {}),
        ((), {}, {"synthesis": given, "mapping": mapping}),
        ((), {"conv_clamp": np.float64(256), "activation": "relu", "channel_max": np.int64(16)}, {}),
        ((), {**one.arguments[""], "embed_features": None} | {"mapping_kwargs": {"layer_features": None}}, {}),
    ]
    del ways[-1][1]["embed_features"]
    for by_place, named, inside in ways:
        net = network(one.state, inside)
        called(net, named, *by_place)
        _assert_the_definitions(maps(load(one.family, net, tmp_path), one), one.maps)


# Each argument of each class

SAME, CHANGED = "the same maps", "other maps"
Case = tuple[Any, str]
"""Another value than the toy's, and what comes of it: `SAME`, `CHANGED` or what the refusal says."""
MAPPING_2: dict[str, Case] = {
    "z_dim": (13, "z_dim = 13"),
    "c_dim": (4, "c_dim = 4"),
    "w_dim": (17, "w_dim = 17"),
    "num_ws": (3, SAME),
    "num_layers": (3, "num_layers = 3, and its tensors are of 2"),
    "embed_features": (15, "embed_features = 15, and its tensors are of 16"),
    "layer_features": (15, "layer_features = 15, and its tensors are of 16"),
    "activation": ("relu", CHANGED),
    "lr_multiplier": (0.02, CHANGED),
    "w_avg_beta": (0.5, SAME),
}
SYNTHESIS_2: dict[str, Case] = {
    "w_dim": (17, "w_dim = 17"),
    "img_resolution": (32, "img_resolution = 32, and its tensors are of 16"),
    "img_channels": (4, "was given .*img_channels = 4, and only 3 is supported"),
    "channel_base": (64, "widths"),
    "channel_max": (8, "widths"),
    "num_fp16_res": (4, SAME),
    "architecture": ("resnet", "architecture = 'resnet', and only 'skip' is supported"),
    "resample_filter": ([1, 2, 2, 1], "'.*resample_filter' is not a filter that its constructor's arguments ask for"),
    "conv_clamp": (0.2, CHANGED),
    "fp16_channels_last": (True, SAME),
    "fused_modconv_default": ("inference_only", SAME),
    "kernel_size": (5, "kernel_size = 5, and only 3 is supported"),
    "use_noise": (False, "use_noise = False, and its tensors are of True"),
    "activation": ("swish", CHANGED),
}
MAPPING_3 = {name: MAPPING_2[name] for name in STYLEGAN3["mapping"]}
FILTERS = "_filter' is not a filter that its constructor|'synthesis.* is .* in the file and .* in the network"
SYNTHESIS_3: dict[str, Case] = {
    **{name: SYNTHESIS_2[name] for name in ("w_dim", "img_channels", "num_fp16_res")},
    "img_resolution": (64, "img_resolution = 64, and its tensors are of 32"),
    "channel_base": (256, "'synthesis.L3_52_13.weight' is nothing in the file"),
    "channel_max": (8, "'synthesis.L0_36_8.weight' is nothing in the file|'synthesis.input.weight' is"),
    "num_layers": (7, "num_layers = 7, and its tensors are of 6"),
    "num_critical": (1, FILTERS),
    "first_cutoff": (2.2, FILTERS),
    "first_stopband": (9, FILTERS),
    "last_stopband_rel": (1.3, FILTERS),
    "margin_size": (8, "'synthesis.L0_32_.*' is nothing in the file"),
    "output_scale": (1, CHANGED),
    "conv_kernel": (1, "conv_kernel = 1, and its tensors are of 3"),
    "filter_size": (4, FILTERS),
    "lrelu_upsampling": (4, FILTERS),
    "use_radial_filters": (True, FILTERS),
    "conv_clamp": (0.5, CHANGED),
    "magnitude_ema_beta": (0.5, SAME),
}
STAGE: dict[str, Case] = {
    "img_resolution": (64, "img_resolution = 64, and its tensors are of 32"),
    "path_stem": ("other.pkl", SAME),
    "head_layers": (5, "head_layers = 5, and its tensors are of 4"),
    "up_factor": (4, "up_factor = 4, and its tensors are of 2"),
    **{name: (3, SAME) for name in SUPERRES if name in STYLEGAN3[""] and name != "img_resolution"},
}
BANDS = ("num_critical", "first_cutoff", "first_stopband", "last_stopband_rel", "margin_size")
STEM: dict[str, Case] = SYNTHESIS_3 | {
    "img_resolution": (32, "img_resolution = 32, and its tensors are of 16"),
    "channel_base": (128, "no stem and stages have layers of these names"),
    "channel_max": (8, "no stem and stages have layers of these names"),
    "num_layers": (7, "num_layers = 7, and its tensors are of 6"),
    **{
        name: (
            SYNTHESIS_3[name][0],
            "no stem and stages have layers of these names and filters|no StyleGAN-XL gen|layers = 6",
        )
        for name in (*BANDS, "filter_size", "lrelu_upsampling", "use_radial_filters")
    },
}


CLASSES: dict[str, tuple[str, str, Table, dict[str, Case], str | None]] = {
    "StyleGAN2's mapping": ("stylegan2-nvidia-conditional", "mapping", STYLEGAN2["mapping"], MAPPING_2, None),
    "StyleGAN2's synthesis": ("stylegan2-nvidia-conditional", "synthesis", STYLEGAN2["synthesis"], SYNTHESIS_2, None),
    "StyleGAN2, for the mapping": (
        "stylegan2-nvidia-conditional",
        "",
        STYLEGAN2["mapping"],
        MAPPING_2,
        "mapping_kwargs",
    ),
    "StyleGAN2, for the synthesis": ("stylegan2-nvidia-conditional", "", STYLEGAN2["synthesis"], SYNTHESIS_2, None),
    "StyleGAN2-ADA, for the synthesis": (
        "stylegan2-nvidia-conditional",
        "",
        STYLEGAN2["synthesis"],
        SYNTHESIS_2,
        "synthesis_kwargs",
    ),
    "StyleGAN3's mapping": ("stylegan3-t-scale", "mapping", STYLEGAN3["mapping"], MAPPING_3, None),
    "StyleGAN3's synthesis": ("stylegan3-t-tiny", "synthesis", STYLEGAN3["synthesis"], SYNTHESIS_3, None),
    "StyleGAN3, for the mapping": ("stylegan3-t-scale", "", STYLEGAN3["mapping"], MAPPING_3, "mapping_kwargs"),
    "StyleGAN3, for the synthesis": ("stylegan3-t-tiny", "", STYLEGAN3["synthesis"], SYNTHESIS_3, None),
    "a stage of StyleGAN-XL": ("styleganxl-tiny", "", SUPERRES, STAGE, None),
    "its stem": ("styleganxl-tiny", "synthesis", STYLEGAN3["synthesis"], STEM, None),
    "its mapping": (
        "styleganxl-tiny",
        "mapping",
        STYLEGANXL["mapping"],
        {**MAPPING_3, "w_dim": (17, "w_dim = 16 and 17"), "rand_embedding": (True, SAME)},
        None,
    ),
}
"""The toy, the path of the module, what becomes of its arguments, a case of each, and the argument that holds them."""


def _with(one: Toy, path: str, inside: str | None, name: str, value: Any) -> Arguments:
    """The toy's arguments with one changed, and told nowhere else."""
    arguments = {"": {}, path: {}} | {key: dict(given) for key, given in one.arguments.items()}
    root, of_mapping = arguments[""], path == "mapping" or inside == "mapping_kwargs"
    if not (of_mapping and name == "num_layers"):  # the network's own are of the synthesis
        root.pop(name, None)
    if path == "mapping":
        root.pop("mapping_kwargs", None)
    if inside is None:
        arguments[path][name] = value
    else:
        root[inside] = {**root.get(inside, {}), name: value}
    return arguments


@pytest.mark.parametrize("which", list(CLASSES))
def test_every_argument_counts_or_is_refused(which: str, tmp_path: Path) -> None:
    name, path, table, cases, inside = CLASSES[which]
    assert set(cases) == set(table), "a case for each"
    one = toy(name)
    plain = maps(load(one.family, network(one.state, one.arguments), tmp_path), one)
    for argument, (value, outcome) in cases.items():
        rule = table[argument]
        assert isinstance(rule, Irrelevant) == (outcome == SAME), argument
        assert not isinstance(rule, Only) or "is supported" in outcome, argument
        net = network(one.state, _with(one, path, inside, argument, value))
        if outcome in (SAME, CHANGED):
            found = maps(load(one.family, net, tmp_path), one)
            same = all(torch.equal(values, plain[each]) for each, values in found.items())
            assert same == (outcome == SAME), argument
        else:
            with pytest.raises(UserError, match=outcome) as caught:
                load(one.family, net, tmp_path)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "argument", "refused"),
    [
        ("stylegan3-t-clamp", "conv_clamp", None),
        ("stylegan3-t-scale", "output_scale", None),
        ("stylegan2-nvidia-relu", "activation", None),
        ("stylegan3-t-cutoff", "first_cutoff", "not a filter that its constructor's arguments ask for"),
    ],
)
def test_an_argument_that_is_lost(name: str, argument: str, refused: str | None, tmp_path: Path) -> None:
    one = toy(name)
    given = {"": {key: value for key, value in one.arguments[""].items() if key != argument}}
    if refused:
        with pytest.raises(UserError, match=refused):
            load(one.family, network(one.state, given), tmp_path)
        return
    image = maps(load(one.family, network(one.state, given), tmp_path), one)["image"]
    assert (image - one.maps["image"]).abs().max() > 0.1 * one.maps["image"].abs().max()


BAD: dict[str, list[Any]] = {
    "a whole number": ["16", 16.0, True, -1, None, 2**60, np.array([16]), [16], nn.Identity(), {}],
    "a number": [
        "1",
        True,
        float("nan"),
        float("inf"),
        10**400,
        torch.float32,
        b"1",
        {"a": 1},
        np.array(1.0),
        slice(3),
    ],
    "True or False": [1, 0.0, "yes", None],
    "one of linear, relu": ["leaky", 3, None, ["relu"], "RELU"],
    "four numbers": [[1, 3, 3], [1, 3, 3, "1"], 1, None, "1331", [0, 0, 0, 0], [1, 2, float("nan"), 1]],
}


@pytest.mark.parametrize("family", ["stylegan2", "stylegan3"])
def test_values_that_an_argument_cannot_have(family: str, tmp_path: Path) -> None:
    one = toy("stylegan2-nvidia-conditional" if family == "stylegan2" else "stylegan3-t-clamp")
    signatures = STYLEGAN2 if family == "stylegan2" else STYLEGAN3
    for argument, rule in signatures["synthesis"].items():
        if not isinstance(rule, Honoured):
            continue
        what = next(what for what in BAD if rule.kind.what.startswith(what))
        for value in BAD[what]:
            if rule.kind.fits(value) or (value is None and "None" in rule.kind.what):
                continue
            net = network(one.state, {"": {**one.arguments[""], argument: value}})
            with pytest.raises(UserError, match=rf"was given {argument} = .*, which is not {what}") as caught:
                load(one.family, net, tmp_path)
            assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        (
            "",
            {"foo": 3},
            r"its constructor was given foo = 3, an argument that is not known here; build the network in",
        ),
        ("", {"mapping_kwargs": {"foo": "a" * 99}}, r"given mapping_kwargs\.foo = 'a{59}…, an argument that is not"),
        ("", {"mapping_kwargs": 3}, r"given mapping_kwargs = 3, which is not a table of arguments"),
        ("", {"\x1b[31m": 3}, r"given '\\x1b\[31m' = 3, an argument that is not known"),
        (
            "",
            {"foo": torch.zeros(3)},
            r"given foo = <torch\._utils\._rebuild_tensor_v2>, an argument that is not known",
        ),
        ("synthesis", {"foo": None}, r"its constructor of 'synthesis' was given foo = None"),
        ("mapping", {"activation": "relu"}, r"its constructor of 'mapping' was given activation = 'relu'"),
        ("synthesis", {"conv_clamp": 3}, r"its constructors were given conv_clamp = 0\.5 and 3\.0; build the network"),
        ("synthesis", {"img_resolution": 16}, r"its constructors were given img_resolution = 32 and 16"),
    ],
)
def test_other_arguments_are_refused_by_name(
    path: str, arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    one = toy("stylegan3-t-clamp")
    own = {"": {**one.arguments[""], **arguments}} if not path else {**one.arguments, path: arguments}
    with pytest.raises(UserError, match=message) as caught:
        load(one.family, network(one.state, own), tmp_path)
    assert str(caught.value).isprintable()


def test_too_many_arguments_by_place(tmp_path: Path) -> None:
    one = toy("stylegan3-t-clamp")
    net = network(one.state)
    called(net, {}, *range(99))
    with pytest.raises(UserError, match="its constructor was called with too many arguments"):
        load(one.family, net, tmp_path)


# What the modules inside tell


def _as_theirs(value: Any) -> Any:
    """As attributes of NVIDIA's modules are pickled."""
    if value == math.inf:
        return None
    return np.float64(value) if isinstance(value, float) else list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", NVIDIA)
def test_modules_that_tell_otherwise_are_refused(name: str, tmp_path: Path) -> None:
    """A module's own attributes are what NVIDIA's code computes with."""
    one = toy(name)
    model = load(one.family, network(one.state, one.arguments), tmp_path)
    told = {path: module.settings for path, module in model.module.named_modules() if hasattr(module, "settings")}
    assert len(told) > 10
    net = network(one.state, one.arguments)
    for path, settings in told.items():
        module = net.get_submodule(path)
        module.in_size, module.layer_names, module.is_last = np.array([36, 36]), ["b4", "b8"], False
        for attribute, value in settings.items():
            setattr(module, attribute, _as_theirs(value))
    _assert_the_definitions(maps(load(one.family, net, tmp_path), one), one.maps)
    for path in (max(told), min(told), sorted(told)[len(told) // 2]):
        for attribute, value in told[path].items():
            other = {"relu": "lrelu"}.get(value, "relu") if isinstance(value, str) else 7.5
            setattr(net.get_submodule(path), attribute, other)
            with pytest.raises(UserError, match=rf"'{path}' has {attribute} = '?{other}'?, where .* follows from the"):
                load(one.family, net, tmp_path)
            setattr(net.get_submodule(path), attribute, _as_theirs(value))


def test_settings_are_the_published_definitions(tmp_path: Path) -> None:
    """By hand, from the definition: sizes, rates and taps of two layers, gains of a dense one."""
    model = load("stylegan3", network(toy("stylegan3-t-tiny").state), tmp_path)
    layers = {path: model.module.get_submodule(f"synthesis.{path}").settings for path in ("L0_36_16", "L2_52_16")}
    # (36 − 1) · 2 + 1 − (36 + 2) · 2 + 11 + 11 = 17 samples in all; (52 − 1) · 2 + 1 − (36 + 2) · 4 + 23 + 11 = −15.
    assert layers["L0_36_16"] == {
        "conv_clamp": 256, "conv_kernel": 3, "up_factor": 2, "down_factor": 2, "padding": (9, 8, 9, 8)
    }  # fmt: skip
    assert layers["L2_52_16"] == {
        "conv_clamp": 256, "conv_kernel": 3, "up_factor": 4, "down_factor": 2, "padding": (-6, -9, -6, -9)
    }  # fmt: skip
    assert model.module.get_submodule("synthesis.input").settings == {"bandwidth": 2, "sampling_rate": 16}
    assert model.module.get_submodule("mapping.fc1").settings == {
        "weight_gain": pytest.approx(0.01 / 4), "bias_gain": 0.01, "activation": "lrelu"
    }  # fmt: skip


def test_a_clamp_that_only_the_layers_tell(tmp_path: Path) -> None:
    """What a constructor takes for granted differs from release to release; its layers hold what it was."""
    one = toy("stylegan2-nvidia-tiny")
    for clamp, most in ((None, None), (256, None), (0.5, 0.5)):
        net = network(one.state, one.arguments)
        net.get_submodule("synthesis.b8.conv0").conv_clamp = clamp
        found = maps(load(one.family, net, tmp_path), one)
        highest = max(float(values.abs().max()) for name, values in found.items() if name != "image")
        assert highest == most if most else highest > 0.5


# Files that do not tell


@pytest.mark.parametrize("name", [*NVIDIA])
def test_without_arguments_all_is_as_published(name: str, tmp_path: Path) -> None:
    one = toy(name)
    save_file({key: tensor.contiguous() for key, tensor in one.state.items()}, tmp_path / "net.safetensors")
    spec = ModelSpec(name="net", model=f"{one.family}/custom", weights=str(tmp_path / "net.safetensors"))
    if name == "stylegan3-t-cutoff":
        with pytest.raises(UserError, match=r"filter of other settings than the published ones; give the \.pkl"):
            zoo.load(spec)
    else:
        assert zoo.load(spec).units


def test_filters_in_half_precision_are_still_themselves(tmp_path: Path) -> None:
    one = toy("stylegan3-r-tiny")
    halved = {name: tensor.half().float() for name, tensor in one.state.items()}
    assert load(one.family, network(halved, one.arguments), tmp_path).units
