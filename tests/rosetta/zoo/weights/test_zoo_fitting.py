"""Any wrapping, and any head that is missing, leaves the same network; any gap before a captured layer is told."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from strategies import BESIDE_WEIGHTS, CHECKPOINT_KINDS, CHECKPOINT_PATHS, EXTRA_WEIGHTS, PREFIXES
from torch import Tensor, nn

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.zoo.weights.checkpoint import Entry
from rosetta.zoo.weights.fitting import best_fit

Factory = Callable[[Callable[[], object]], str]
ANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Net(nn.Module):
    """A stem, two captured stages, and what comes after them; a parameter of its own, a buffer, and tied weights."""

    image_size = (16, 16)
    default_layers = ("stages.0", "stages.1")

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("offset", torch.zeros(4, 1, 1))
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4))
        self.stages = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.BatchNorm2d(4)) for _ in range(2))
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images) * self.scale + self.offset
        for stage in self.stages:
            features = stage(features).relu()
        result: Tensor = self.head(self.norm(features).mean((2, 3)))
        return result


AFTER = ("norm.", "head.")
"""What no captured layer of it depends on."""


def trained(seed: int = 1, network: type[nn.Module] = Net) -> dict[str, Tensor]:
    """Every tensor with numbers of its own."""
    random = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(tensor.shape, generator=random) + 0.5 if tensor.is_floating_point() else tensor
        for name, tensor in network().state_dict().items()
    }


STATE = trained()
NEEDED = [name for name, tensor in STATE.items() if tensor.is_floating_point() and not name.startswith(AFTER)]


def _save(file: Path, tensors: dict[str, Tensor], path: list[str], beside: dict[str, Any], kind: str) -> Path:
    if kind == "safetensors":
        file = file.with_suffix(".safetensors")
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, file)
        return file
    held: dict[str, Any] = dict(tensors)
    for key in reversed(path):
        held = {key: held, **beside}
    torch.save(held, file, _use_new_zipfile_serialization=kind == "zip")
    return file


@pytest.fixture
def load(factory: Factory, tmp_path: Path) -> Callable[..., nn.Module]:
    """Save tensors and load them into a network."""
    model = factory(Net)

    def through(
        tensors: dict[str, Tensor],
        path: list[str] | None = None,
        beside: dict[str, Any] | None = None,
        kind: str = "zip",
        **fields: Any,
    ) -> nn.Module:
        file = _save(tmp_path / "net.pth", tensors, path or [], beside or {}, kind)
        return zoo.load(ModelSpec(name="net", model=model, weights=str(file), **fields)).module

    return through


@ANY
@given(
    prefix=PREFIXES,
    path=CHECKPOINT_PATHS,
    extras=EXTRA_WEIGHTS,
    under=st.booleans(),
    beside=BESIDE_WEIGHTS,
    kind=CHECKPOINT_KINDS,
    head=st.sets(st.sampled_from([name for name in STATE if name.startswith(AFTER)])),
)
def test_every_wrapping_gives_the_same_network(
    load: Callable[..., nn.Module],
    prefix: str,
    path: list[str],
    extras: dict[str, Tensor],
    under: bool,
    beside: dict[str, Any],
    kind: str,
    head: set[str],
) -> None:
    given_ = {prefix + name: tensor for name, tensor in STATE.items() if name not in head}
    given_ |= {(prefix if under else "") + name: tensor for name, tensor in extras.items()}
    loaded = load(given_, path, beside, kind).state_dict()
    for name, tensor in STATE.items():
        if name not in head:
            assert torch.equal(loaded[name], tensor), name
        elif tensor.is_floating_point():
            assert loaded[name].isnan().all()  # whatever uses it shows


@ANY
@given(
    prefix=PREFIXES,
    path=CHECKPOINT_PATHS,
    gone=st.lists(st.sampled_from(NEEDED), min_size=1, max_size=4, unique=True),
    how=st.sampled_from(("missing", "of another shape", "an object", "quantised")),
    head=st.booleans(),
)
def test_a_gap_before_a_captured_layer_is_told(
    load: Callable[..., nn.Module], prefix: str, path: list[str], gone: list[str], how: str, head: bool
) -> None:
    given_: dict[str, Any] = {
        prefix + name: tensor
        for name, tensor in STATE.items()
        if (how != "missing" or name not in gone) and (head or not name.startswith(AFTER))
    }
    for name in gone if how != "missing" else []:
        given_[prefix + name] = {
            "of another shape": torch.zeros(7, 7),
            "an object": argparse.Namespace(),
            "quantised": torch.zeros(STATE[name].shape, dtype=torch.int8),
        }[how]
    with pytest.raises(UserError, match="do not fit python:zoo_test_factories:make") as caught:
        load(given_, path)
    told = str(caught.value)
    first = next(name for name in STATE if name in gone)
    assert f"needs {first!r}" in told
    assert "another architecture" not in told
    assert {
        "missing": "which the file lacks",
        "of another shape": f"{tuple(STATE[first].shape)}, which is (7, 7) in the file",
        "an object": "an object of the class argparse.Namespace",
        "quantised": "which is int8 (",
    }[how] in told


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("kind", ["zip", "safetensors"])
@pytest.mark.parametrize("more", ["stages.2.0.weight", "stages.0.2.weight", "stem.gamma", "reg_token", "norm_pre.bias"])
def test_a_network_with_more_to_it_is_another(
    load: Callable[..., nn.Module], prefix: str, kind: str, more: str
) -> None:
    tensors = {f"{prefix}{more}": torch.zeros(4), **{f"{prefix}{name}": tensor for name, tensor in STATE.items()}}
    with pytest.raises(UserError, match=rf"it has no place for '{more}' \(4,\) of the file; is the file of another"):
        load(tensors, kind=kind)


@pytest.mark.parametrize("more", ["head.2.weight", "norm.extra", "head_dist.bias", "something_new.weight"])
def test_more_after_the_captured_layers_is_left_over(load: Callable[..., nn.Module], more: str) -> None:
    assert torch.equal(load({**STATE, more: torch.zeros(4)}).state_dict()["scale"], STATE["scale"])


def test_what_is_captured_decides_what_may_lack(load: Callable[..., nn.Module]) -> None:
    first = {name: tensor for name, tensor in STATE.items() if not name.startswith(("stages.1", *AFTER))}
    load(first, layers=("stages.0",))
    with pytest.raises(
        UserError, match=r"layer 'stages\.1' needs 'stages\.1\.0\.weight' \(4, 4, 3, 3\), which the file"
    ):
        load(first)


@pytest.mark.parametrize(
    ("held", "taken"),
    [
        ({"teacher": "", "student": "module."}, "teacher"),
        ({"student": "", "teacher": "module.backbone."}, "teacher"),
        ({"state_dict": "", "state_dict_ema": ""}, "state_dict_ema"),
        ({"model": "", "model_ema": "module."}, "model_ema"),
        ({"state_dict": ("module.encoder_k.", "module.encoder_q.")}, "module.encoder_q."),
        ({"state_dict": ("module.momentum_encoder.", "module.base_encoder.")}, "module.base_encoder."),
        ({"": ("target_encoder.", "online_encoder.")}, "online_encoder."),
        ({"encoder": "module.", "target_encoder": "module."}, "target_encoder"),
        ({"model": ("student.backbone.", "teacher.backbone.")}, "teacher.backbone."),
        ({"": ("visual.", "module.encoder_q.")}, "module.encoder_q."),
    ],
)
def test_of_networks_that_fit_equally_the_better_one_is_taken(
    load: Callable[..., nn.Module], caplog: pytest.LogCaptureFixture, held: dict[str, Any], taken: str
) -> None:
    caplog.set_level("INFO", "rosetta")
    content: dict[str, Any] = {}
    for seed, (key, prefixes) in enumerate(held.items()):
        entry: dict[str, Tensor] = {}
        for place, prefix in enumerate((prefixes,) if isinstance(prefixes, str) else prefixes):
            value = 1.0 if taken in (key, prefix) else 2.0 + seed + place
            entry |= {prefix + name: torch.full_like(tensor, value) for name, tensor in STATE.items()}
        content |= {key: entry} if key else entry
    assert (load(content).state_dict()["stem.0.weight"] == 1).all()
    assert taken in caplog.text.partition("as many tensors fit under")[0]
    assert "as many tensors fit under" in caplog.text


def test_of_two_that_nothing_tells_apart_none_is_taken(load: Callable[..., nn.Module]) -> None:
    with pytest.raises(UserError, match=r"two networks that fit equally well, 'one' and 'two'; save the state dict"):
        load({"one": STATE, "two": trained(2)})
    load({"one": STATE, "two": STATE})
    optimiser = {name: torch.zeros_like(tensor) for name, tensor in STATE.items()}
    assert torch.equal(load({"net_one": STATE, "optimizer": optimiser}).state_dict()["scale"], STATE["scale"])


def test_what_is_taken_and_what_lacks_is_said(load: Callable[..., nn.Module], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "rosetta")
    queue = {"module.queue": torch.zeros(2), "module.other.a": torch.zeros(2), "module.other.b": torch.zeros(2)}
    held = {f"module.encoder_q.{name}": tensor for name, tensor in STATE.items() if not name.startswith("head")}
    load({**held, **queue}, ["state_dict"])
    (line,) = [record.getMessage() for record in caplog.records if record.name == "rosetta.zoo"]
    assert "taken from 'state_dict' under 'module.encoder_q.'" in line
    assert "24 of 26 tensors are there; no captured layer needs head.weight, head.bias" in line
    assert line.endswith("left over: module.queue, module.other.* (2)")
    caplog.clear()
    load(STATE)
    load(STATE, ["state_dict"])
    assert not caplog.records


@pytest.mark.parametrize("count", [0, 3, 12])
def test_a_file_of_another_architecture_is_told_with_counts(load: Callable[..., nn.Module], count: int) -> None:
    foreign = {f"layers.{place}.kernel": torch.zeros(2, 3) for place in range(20)}
    some = dict([item for item in STATE.items() if item[0] in NEEDED][-count:]) if count else {}
    with pytest.raises(UserError, match=rf"first difference: .*; {count} of 26 tensors fit; is the file of another"):
        load({**foreign, **some})


class Tied(nn.Module):
    """Two names of one tensor, as a language model's input and output."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3, bias=False)
        self.two = nn.Linear(3, 3, bias=False)
        self.two.weight = self.one.weight


def test_a_tied_tensor_is_there_under_either_name() -> None:
    for name in ("one.weight", "two.weight"):
        fit = best_fit(Tied(), [Entry((), {name: torch.ones(3, 3)})], lambda _, state: state, "w")
        assert fit.whole
        assert list(fit.taken) == [name]


def test_in_order_only_where_names_do_not_fit(load: Callable[..., nn.Module]) -> None:
    """Two stages are alike, so that a file which lists the second first fits by order as well, and wrongly."""
    second = {name: tensor for name, tensor in STATE.items() if name.startswith("stages.1")}
    between = {name: tensor for name, tensor in STATE.items() if name.startswith("stages.0")}
    before = {name: STATE[name] for name in list(STATE)[: list(STATE).index(next(iter(between)))]}
    swapped = {**before, **second, **between, **STATE}
    loaded = load(swapped, match="order").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in STATE.items())
