"""Weights of diffusion models: folders that the library saves, and all the ways in which they can be wrong."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DModel
from diffusion_folders import save_dit, save_unet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.families.diffusers.family import Diffusers
from rosetta.zoo.families.diffusers.pipeline import modern
from rosetta.zoo.families.diffusers.published import PUBLISHED
from rosetta.zoo.families.diffusers.saved import files
from rosetta.zoo.weights.source import Folder

Spec = Callable[..., ModelSpec]
_TENSORS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {"unet": save_unet(root / "unet"), "dit": save_dit(root / "dit")}


@pytest.fixture
def unet(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(saved["unet"], tmp_path / "unet"))


@pytest.fixture
def dit(saved: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved["dit"], tmp_path / "dit"))


@pytest.fixture
def custom(spec: Spec) -> Callable[..., ModelSpec]:
    """A recipe's entry that looks at images, so that nothing is sampled."""

    def make(folder: Path | str, **fields: Any) -> ModelSpec:
        fields.setdefault("condition", Condition(timestep=5))
        return spec(fields.pop("model", "diffusers/custom"), str(folder), **fields)

    return make


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [("unet", {"unet": UNet2DModel}), ("dit", {"transformer": DiTTransformer2DModel, "vae": AutoencoderKL})],
)
def test_a_saved_pipeline_loads(saved: dict[str, Path], custom: Spec, kind: str, parts: dict[str, Any]) -> None:
    model = zoo.load(custom(saved[kind]))
    wanted = {
        f"{part}.{name}": tensor
        for part, network in parts.items()
        for name, tensor in network.from_pretrained(saved[kind] / part, low_cpu_mem_usage=False).state_dict().items()
    }
    found = model.module.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_digest_is_of_the_files_that_are_read(saved: dict[str, Path], dit: Path, custom: Spec) -> None:
    digest = zoo.weights_sha256(custom(saved["dit"]))
    assert zoo.load(custom(dit)).weights_sha256 == zoo.weights_sha256(custom(f"{dit}/")) == digest
    read = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        *(f"{part}/{file}" for part in ("transformer", "vae") for file in ("config.json", _TENSORS)),
    ]
    lines = "".join(f"{hashlib.sha256((dit / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(read))
    assert hashlib.sha256(lines.encode()).hexdigest() == digest
    (dit / "README.md").write_text("is not read")
    (dit / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"nor is this")
    assert zoo.weights_sha256(custom(dit)) == digest
    for name in read:
        content = (dit / name).read_bytes()
        (dit / name).write_bytes(content + b" " if name.endswith("json") else content[:-1] + bytes([content[-1] ^ 1]))
        assert zoo.weights_sha256(custom(dit)) != digest
        (dit / name).write_bytes(content)
    zoo.load(custom(dit, sha256=digest))
    _refused(lambda: zoo.load(custom(dit, sha256="0" * 64)), f"have the SHA-256 {digest}, but 0000")


def test_files_at_the_top_as_the_first_pipelines_have_them(unet: Path, custom: Spec) -> None:
    wanted = zoo.load(custom(unet)).module.state_dict()
    for file in ("unet/config.json", f"unet/{_TENSORS}", "scheduler/scheduler_config.json"):
        (unet / file).rename(unet / Path(file).name)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(unet / _TENSORS)
    aged = dict(state)
    for name in state:
        for new, former in old.items():
            if ".attentions." in name and f".{new}." in name:
                aged[name.replace(new, former)] = aged.pop(name)
    assert len(set(aged) - set(state)) == 8 * 4  # weight and bias of each, at four places
    save_file(aged, unet / _TENSORS)
    found = zoo.load(custom(unet)).module.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_only_the_attention_of_old_is_renamed() -> None:
    names = ["mid_block.attentions.0.query.weight", "mid_block.attentions.0.key.sub.weight", "key.weight", "x.value.y"]
    assert list(modern(dict.fromkeys(names, torch.zeros(1)))) == ["mid_block.attentions.0.to_q.weight", *names[1:]]


def test_the_class_that_dit_was_published_with(dit: Path, custom: Spec) -> None:
    _edit(dit / "transformer" / "config.json", _class_name="Transformer2DModel", cross_attention_dim=None)
    index = json.loads((dit / "model_index.json").read_text())
    _edit(dit / "model_index.json", transformer=["diffusers", "Transformer2DModel"], id2label={"0": "tench"})
    assert index["transformer"][1] == "DiTTransformer2DModel"
    assert len(zoo.load(custom(dit)).units) == 2 * 64


def test_weights_of_half_precision(unet: Path, custom: Spec) -> None:
    wanted = zoo.load(custom(unet)).module.state_dict()
    halves = {name: tensor.half() for name, tensor in load_file(unet / "unet" / _TENSORS).items()}
    save_file(halves, unet / "unet" / _TENSORS)
    for name, tensor in zoo.load(custom(unet)).module.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, wanted[name], atol=2e-3, rtol=2e-3)


def test_a_folder_at_a_url(saved: dict[str, Path], custom: Spec) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(saved["unet"]), "/pipelines/unet", recursive=True)
    try:
        remote = zoo.load(custom("memory://pipelines/unet"))
    finally:
        memory.rm("/pipelines", recursive=True)
    assert remote.weights_sha256 == zoo.weights_sha256(custom(saved["unet"]))


def test_images_of_a_saved_pipeline_follow_its_schedule(unet: Path, custom: Spec) -> None:
    def make() -> torch.Tensor:
        model = zoo.load(custom(unet, condition=Condition(steps=4)))
        return model.generate(torch.from_numpy(model.draw_latents(range(1), 0)))[0]

    first = make()
    _edit(unet / "scheduler" / "scheduler_config.json", beta_end=0.5)
    assert (make() - first).abs().max() > 0.01


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        (
            "model_index.json",
            {"text": ["transformers", "CLIP"]},
            "names a component 'text' of class 'CLIP', which is not",
        ),
        ("model_index.json", {"unet": ["evil", "UNet2DModel"]}, "names a component 'unet'"),
        ("model_index.json", {"unet": ["diffusers", "UNet1DModel"]}, "'unet' of class 'UNet1DModel'"),
        ("model_index.json", {"unet": [None, None]}, r"names scheduler, where a scheduler and one of unet and"),
        ("model_index.json", {"scheduler": "none"}, "names unet, where a scheduler"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "unet is of class 'UNet2DConditionModel', which"),
        ("unet/config.json", {"_class_name": ["os", "system"]}, "unet is of class"),
        ("unet/config.json", {"block_out_channels": [8]}, "diffusers cannot build its unet: Must provide the same"),
        ("unet/config.json", {"block_out_channels": [8, 32]}, r"do not fit diffusers/custom: first difference"),
        ("unet/config.json", {"layers_per_block": 2}, r"do not fit diffusers/custom: first difference"),
        ("unet/config.json", {"sample_size": None}, "sample_size is None, not a whole number"),
        ("unet/config.json", {"sample_size": 10**9}, "sample_size is 1000000000, not a whole number from 1 to 8192"),
        ("unet/config.json", {"in_channels": 1}, "gives 3; take another pipeline"),
        ("unet/config.json", {"in_channels": 1, "out_channels": 1}, "have 1 channels; only RGB models"),
        ("unet/config.json", {"num_class_embeds": 5}, "told classes, which only a transformer"),
        ("scheduler/scheduler_config.json", {"_class_name": "KarrasVeScheduler"}, "scheduler is of class 'KarrasVe"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "sine"}, "cannot build its scheduler: sine"),
        (
            "scheduler/scheduler_config.json",
            {"trained_betas": [0.1] * 9},
            "has not one of trained_betas for each of 100",
        ),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}, "num_train_timesteps is 1000000000000"),
    ],
)
def test_configurations_that_are_refused(
    unet: Path, custom: Spec, file: str, changes: dict[str, Any], message: str
) -> None:
    _edit(unet / file, **changes)
    _refused(lambda: zoo.load(custom(unet)), message)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("vae/config.json", {"latent_channels": 3}, "its vae gives 3 channels where its denoiser takes 4"),
        ("vae/config.json", {"out_channels": 1}, "have 1 channels; only RGB models"),
        ("transformer/config.json", {"norm_type": "ada_norm_single"}, "cannot build its transformer"),
        (
            "transformer/config.json",
            {"num_embeds_ada_norm": 9},
            r"first difference: the model has 'transformer\..*10, 16",
        ),
    ],
)
def test_configurations_of_latent_models_that_are_refused(
    dit: Path, custom: Spec, file: str, changes: dict[str, Any], message: str
) -> None:
    _edit(dit / file, **changes)
    _refused(lambda: zoo.load(custom(dit)), message)


_STRANGE = [None, True, -1, 0, 1, 1.5, "x", [], [1], [[]], {}, {"a": 1}, "../../x"]


@pytest.mark.parametrize("kind", ["unet", "dit"])
@pytest.mark.parametrize("condition", [Condition(steps=2), Condition(timestep=5)])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_strange_configurations_are_told_in_a_line(
    saved: dict[str, Path], custom: Spec, kind: str, condition: Condition, data: st.DataObject
) -> None:
    folder = saved[kind]
    file = folder / data.draw(
        st.sampled_from(sorted(path for path in files(Folder(str(folder), str(folder))) if path.endswith("json")))
    )
    content = file.read_text()
    keys = sorted(key for key in json.loads(content) if key != "_diffusers_version")
    try:
        _edit(file, **{data.draw(st.sampled_from(keys)): data.draw(st.sampled_from(_STRANGE))})
        zoo.load(custom(folder, condition=condition))
    except UserError:  # one line, as it makes sure of itself; anything else is a fault
        pass
    finally:
        file.write_text(content)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("unet/config.json", b"{", r"unet/config\.json' is no JSON object"),
        ("unet/config.json", b"[" * 100_000, r"unet/config\.json' is no JSON object"),
        ("unet/config.json", b"[]", r"unet/config\.json' is no JSON object"),
        ("unet/config.json", b"\xff", r"unet/config\.json' is no JSON object"),
        ("model_index.json", b"", r"model_index\.json' is no JSON object"),
        (f"unet/{_TENSORS}", b"no tensors", "are damaged"),
        ("unet/config.json", None, r"unet/config\.json': no such file"),
        (f"unet/{_TENSORS}", None, r"safetensors': no such file"),
        ("scheduler/scheduler_config.json", None, r"scheduler_config\.json': no such file"),
        ("model_index.json", None, r"there is no model_index\.json in it; give the folder that save_pretrained"),
    ],
)
def test_files_that_are_missing_or_damaged(
    unet: Path, custom: Spec, file: str, content: bytes | None, message: str
) -> None:
    if content is None:
        (unet / file).unlink()
    else:
        (unet / file).write_bytes(content)
    _refused(lambda: zoo.load(custom(unet)), message)


def test_pickles_are_not_read(unet: Path, custom: Spec) -> None:
    (unet / "unet" / _TENSORS).rename(unet / "unet" / "diffusion_pytorch_model.bin")
    for call in (zoo.load, zoo.weights_sha256):
        _refused(lambda call=call: call(custom(unet)), r"unet/diffusion_pytorch_model\.bin is a pickle, and only")


def test_a_file_is_no_folder(unet: Path, custom: Spec) -> None:
    _refused(lambda: zoo.load(custom(unet / "unet" / _TENSORS)), "give the folder that save_pretrained")
    _refused(lambda: zoo.load(custom(unet, match="order")), 'match = "order" cannot be used with a folder')
    _refused(lambda: zoo.load(custom("nothing/there")), "give the folder that save_pretrained")


def test_other_families_take_no_folder(unet: Path, spec: Spec) -> None:
    _refused(lambda: zoo.load(spec("dcgan/digiface", str(unet))), "is a folder; name the file inside it")


def test_a_published_name_asks_for_its_configuration(unet: Path, dit: Path, custom: Spec) -> None:
    name = "diffusers/ddpm-cifar10-32"
    _refused(
        lambda: zoo.load(custom(unet, model=name)), r"are not of diffusers/ddpm-cifar10-32: the sample_size .* is 8"
    )
    _refused(
        lambda: zoo.load(custom(dit, model=name)), "have the components transformer, vae, scheduler, but diffusers"
    )
    published = PUBLISHED["ddpm-cifar10-32"].configs
    (unet / "unet" / "config.json").write_text(json.dumps({**published["unet"], "norm_eps": 1e-5}))
    _refused(lambda: zoo.load(custom(unet, model=name)), r"the norm_eps of its unet is 1e-05, not 1e-06; name .*custom")
    (unet / "unet" / "config.json").write_text(json.dumps(published["unet"]))
    _refused(lambda: zoo.load(custom(unet, model=name)), "num_train_timesteps of its scheduler is 100, not 1000")
    (unet / "scheduler" / "scheduler_config.json").write_text(json.dumps(published["scheduler"]))
    _refused(lambda: zoo.load(custom(unet, model=name)), f"do not fit {name}: first difference")


@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        ("diffusers/ddpm-cats-256", "random:0", "diffusers has no model 'ddpm-cats-256'; did you mean 'ddpm-cat-256'"),
        ("diffusers/custom", "random:0", "custom has no configuration of its own; give the folder of a saved pipeline"),
        ("diffusers/custom", "pretrained", "custom has no configuration of its own"),
    ],
)
def test_what_cannot_be_built(spec: Spec, model: str, weights: str, message: str) -> None:
    _refused(lambda: zoo.load(spec(model, weights)), message)


def test_a_schedule_that_steps_over_its_end(unet: Path, custom: Spec) -> None:
    scheduler = unet / "scheduler" / "scheduler_config.json"
    _edit(scheduler, steps_offset=1)
    zoo.load(custom(unet, condition=Condition(steps=50)))
    _refused(
        lambda: zoo.load(custom(unet, condition=Condition(steps=100))), "begins at timestep 100 of 100; take fewer"
    )
    _edit(scheduler, timestep_spacing="none")
    _refused(lambda: zoo.load(custom(unet, condition=Condition(steps=5))), "its scheduler cannot take 5 steps")


def test_files_stay_inside_the_folder() -> None:
    folder = Folder("weights/here/", "s3://bucket/here/")
    assert folder.file("unet/config.json").url == "s3://bucket/here/unet/config.json"
    assert folder.file("unet/config.json").text == "weights/here/unet/config.json"


def test_pretrained_weights_come_from_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str | None]] = []

    def give(kind: Any, repository: str, low_cpu_mem_usage: bool, subfolder: str | None = None) -> Any:
        asked.append((kind.__name__, repository, subfolder))
        published = next(each for each in PUBLISHED.values() if each.repository == repository)
        part = subfolder or "unet"
        with torch.device("meta"):
            return kind(**{key: value for key, value in published.configs[part].items() if key[0] != "_"})

    for kind in (UNet2DModel, DiTTransformer2DModel, AutoencoderKL):
        monkeypatch.setattr(kind, "from_pretrained", classmethod(give))
    for name in ("ddpm-church-256", "dit-xl-2-512"):
        assert Diffusers().build(name, None, True, Condition()).latent
    assert asked == [
        ("UNet2DModel", "google/ddpm-church-256", None),
        ("DiTTransformer2DModel", "facebook/DiT-XL-2-512", "transformer"),
        ("AutoencoderKL", "facebook/DiT-XL-2-512", "vae"),
    ]

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(UNet2DModel, "from_pretrained", refuse)
    _refused(
        lambda: Diffusers().build("ddpm-cat-256", None, True, Condition()),
        r"diffusers/ddpm-cat-256: its pretrained weights cannot be had \(OSError\); go online once, or give the folder",
    )
