"""Folders of pipelines with prompts: what is read, and all the ways in which they can be wrong."""

import gc
import io
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import sentencepiece
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prompted_folders import SIZES, prompted
from safetensors.torch import load_file, save_file

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.zoo.behaviour import examine
from rosetta.zoo.families.diffusers import family, pipeline, texts
from rosetta.zoo.families.diffusers.family import Diffusers
from rosetta.zoo.families.diffusers.kinds import KINDS
from rosetta.zoo.families.diffusers.pixart import PixArt
from rosetta.zoo.families.diffusers.published import PUBLISHED
from rosetta.zoo.maps.hidden_steps import rehearsal

Spec = Callable[..., ModelSpec]
Edit = Callable[[Path], Any]
_PROMPTS = ("a red house", "a cat")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("prompted")

    def folder(kind: str) -> Path:
        if not (root / kind).exists():
            prompted(kind).save_pretrained(root / kind)
        return root / kind

    return folder


@pytest.fixture
def copied(saved: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy that a test may spoil."""
    return lambda kind: Path(shutil.copytree(saved(kind), tmp_path / kind))


@pytest.fixture
def custom(spec: Spec) -> Spec:
    def make(folder: Path | str, kind: str, **given: Any) -> ModelSpec:
        condition = Condition(**{"prompts": _PROMPTS, "size": SIZES[kind], "steps": 2, **given})
        return spec("diffusers/custom", str(folder), condition=condition)

    return make


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def _images(spec: ModelSpec) -> torch.Tensor:
    model = zoo.load(spec)
    return model.generate(torch.from_numpy(model.draw_latents(range(2), 0)), torch.arange(2))[0]


@pytest.mark.parametrize("kind", ["flux", "klein", "sana"])
def test_a_folder_is_read_equal(saved: Callable[[str], Path], custom: Spec, kind: str) -> None:
    state = zoo.load(custom(saved(kind), kind)).module.state_dict()
    parts = {part: getattr(prompted(kind), part).state_dict() for part in ("transformer", "vae")}
    wanted = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


def test_shards_are_one_checkpoint(copied: Callable[[str], Path], custom: Spec) -> None:
    folder = copied("klein")
    whole, digest = _images(custom(folder, "klein")), zoo.weights_sha256(custom(folder, "klein"))
    for part in ("transformer", "text_encoder", "vae"):
        shutil.rmtree(folder / part)
        getattr(prompted("klein"), part).save_pretrained(folder / part, max_shard_size="40KB")
    assert len(list((folder / "transformer").glob("*.safetensors"))) > 1
    assert (folder / "text_encoder" / "model.safetensors.index.json").exists()
    assert torch.equal(_images(custom(folder, "klein")), whole)
    assert zoo.weights_sha256(custom(folder, "klein")) != digest
    next((folder / "transformer").glob("*00002*")).unlink()
    _refused(lambda: zoo.load(custom(folder, "klein")), "no such file")


def test_the_digest_is_of_every_file_that_is_read(copied: Callable[[str], Path], custom: Spec) -> None:
    folder = copied("flux")
    spec = custom(folder, "flux")
    digest = zoo.weights_sha256(spec)
    for name in ("tokenizer/tokenizer.json", "text_encoder_2/model.safetensors", "text_encoder/config.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        assert zoo.weights_sha256(spec) != digest
        (folder / name).write_bytes(content)
    (folder / "text_encoder" / "pytorch_model.bin").write_bytes(b"is not read")
    (folder / "transformer" / "modeling.py").write_text("raise SystemExit")
    assert zoo.weights_sha256(spec) == zoo.load(spec).weights_sha256 == digest


def test_a_folder_at_a_url(saved: Callable[[str], Path], custom: Spec) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(saved("pixart")), "/prompted/pixart", recursive=True)
    try:
        remote = _images(custom("memory://prompted/pixart", "pixart"))
    finally:
        memory.rm("/prompted", recursive=True)
    assert torch.equal(remote, _images(custom(saved("pixart"), "pixart")))


def test_text_encoders_run_once_in_a_process(
    copied: Callable[[str], Path], custom: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, read = copied("pixart"), []
    monkeypatch.setattr(PixArt, "encode", lambda *given, run=PixArt.encode: read.append(given[2]) or run(*given))
    first = _images(custom(folder, "pixart"))
    assert torch.equal(_images(custom(folder, "pixart")), first)
    assert read == [list(_PROMPTS), [""]]
    save_file(
        {name: 2 * tensor for name, tensor in load_file(folder / "text_encoder" / "model.safetensors").items()},
        folder / "text_encoder" / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert (_images(custom(folder, "pixart")) - first).abs().max() > 1e-3
    read.clear()
    _images(custom(folder, "pixart", prompts=("a", "b", "a", "c", *"defghij"), guidance=1.0))
    assert read == [list("abcdefgh"), ["i", "j"]]


def test_text_encoders_are_freed(saved: Callable[[str], Path], custom: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[weakref.ref[Any]] = []

    def load(*given: Any, run: Callable[..., Any] = texts._load) -> Any:
        part = run(*given)
        loaded.append(weakref.ref(part))
        return part

    monkeypatch.setattr(texts, "_load", load)
    model = zoo.load(custom(saved("flux"), "flux", prompts=("new words",)))
    gc.collect()
    assert len(loaded) == 4
    assert not any(part() for part in loaded)
    assert len(model.module.words.get_buffer("prompt")) == 1


def test_a_model_is_recognised_by_one_prompt(
    saved: Callable[[str], Path], custom: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = custom(saved("pixart"), "pixart", classes=(1, 0))
    model, read = zoo.load(spec), []
    monkeypatch.setattr(PixArt, "encode", lambda *given, run=PixArt.encode: read.append(given[2]) or run(*given))
    found = examine(spec)
    assert read == [["a cat"], [""]]
    with rehearsal():
        images, maps = model.generate_first()
    assert found.image is not None
    assert found.image[1] == pytest.approx(float(images[0].double().std(correction=0)), rel=1e-4)
    assert found.maps.keys() == maps.keys()


def test_text_encoders_keep_their_precision(copied: Callable[[str], Path], custom: Spec) -> None:
    folder = copied("pixart")
    file = folder / "text_encoder" / "model.safetensors"
    halves = {name: tensor.bfloat16() for name, tensor in load_file(file).items()}
    save_file(halves, file, metadata={"format": "pt"})
    _edit(folder / "text_encoder" / "config.json", dtype="bfloat16")
    model = zoo.load(custom(folder, "pixart"))
    assert model.module.words.get_buffer("prompt").dtype == torch.bfloat16
    assert next(model.module.parameters()).dtype == torch.float32
    images, _ = model.generate(torch.from_numpy(model.draw_latents(range(2), 0)), torch.arange(2))
    assert images.isfinite().all()


def test_a_tokenizer_as_older_releases_saved_it(
    copied: Callable[[str], Path], custom: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = copied("pixart"), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*_PROMPTS, "two cats on a tree"] * 9),
        model_writer=model,
        vocab_size=30,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    shutil.rmtree(folder / "tokenizer")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "spiece.model").write_bytes(model.getvalue())
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 0}')
    read: list[Any] = []
    monkeypatch.setattr(
        PixArt,
        "encode",
        lambda *given, run=PixArt.encode: read.append(given[1].tokenizer(_PROMPTS[0]).input_ids) or run(*given),
    )
    assert _images(custom(folder, "pixart")).isfinite().all()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    assert read[0] == [*pieces.encode(_PROMPTS[0]), 1]
    monkeypatch.setattr(texts, "find_spec", lambda _: None)
    _refused(
        lambda: zoo.load(custom(folder, "pixart", prompts=("b",))), r"spiece\.model can be read with sentencepiece"
    )


def test_stable_diffusion_3_without_its_third_encoder(copied: Callable[[str], Path], custom: Spec) -> None:
    folder = copied("sd3")
    words = zoo.load(custom(folder, "sd3")).module.words.get_buffer("prompt")
    _edit(folder / "model_index.json", text_encoder_3=[None, None], tokenizer_3=[None, None])
    without = zoo.load(custom(folder, "sd3")).module.words.get_buffer("prompt")
    assert torch.equal(without[:, :77], words[:, :77])
    assert without[:, 77:].count_nonzero() == 0 < words[:, 77:].count_nonzero()


def _remove(part: str) -> Edit:
    return lambda folder: shutil.rmtree(folder / part) if (folder / part).is_dir() else (folder / part).unlink()


def _pickled(folder: Path) -> None:
    (folder / "text_encoder_2" / "model.safetensors").rename(folder / "text_encoder_2" / "pytorch_model.bin")


def _index(**changes: Any) -> Edit:
    return lambda folder: _edit(folder / "model_index.json", **changes)


def _config(part: str, **changes: Any) -> Edit:
    return lambda folder: _edit(folder / part, **changes)


_SCHEDULER = "scheduler/scheduler_config.json"


@pytest.mark.parametrize(
    ("kind", "edit", "message"),
    [
        ("flux", _remove("text_encoder_2"), r"text_encoder_2/config\.json': no such file"),
        ("flux", _remove("text_encoder/model.safetensors"), r"text_encoder/model\.safetensors': no such file"),
        ("flux", _pickled, r"text_encoder_2/pytorch_model\.bin is a pickle, and only \.safetensors are read"),
        ("flux", _remove("tokenizer"), r"there is no tokenizer/tokenizer\.json; save the whole pipeline"),
        ("flux", _index(text_encoder_2=[None, None]), "names no text_encoder_2; save the whole pipeline"),
        (
            "flux",
            _index(text_encoder=["transformers", "BertModel"]),
            "'text_encoder' of class 'BertModel', which is",
        ),
        ("flux", _index(text_encoder=["mine", "CLIPTextModel"]), "names a component 'text_encoder'"),
        (
            "flux",
            _index(transformer=["diffusers", "UNet2DModel"]),
            "'transformer' of class 'UNet2DModel', which is",
        ),
        ("flux", _index(image_encoder=["transformers", "CLIPVisionModelWithProjection"]), "component 'image_encoder'"),
        ("flux", _index(_class_name=["pipeline", "Mine"]), r"pipelines of class \['pipeline', 'Mine'\] are not known"),
        ("flux", _index(_class_name="FluxFillPipeline"), "pipelines of class 'FluxFillPipeline' are not known here"),
        ("flux", _config("text_encoder/config.json", auto_map={"AutoModel": "x.Y"}), "text_encoder comes with code"),
        (
            "flux",
            _config("tokenizer/tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}),
            "comes with code",
        ),
        (
            "flux",
            _config("text_encoder/config.json", hidden_size=48),
            "its text_encoder lacks the tensor|cannot load its",
        ),
        (
            "flux",
            _config("transformer/config.json", joint_attention_dim=48),
            "text encoders give .* transformer takes",
        ),
        ("flux", _config("transformer/config.json", in_channels=15), "its vae gives 16 channels where"),
        ("flux", _config("transformer/config.json", num_attention_heads=3), "do not fit|cannot build its transformer"),
        ("flux", _config("vae/config.json", out_channels=1), "only RGB models can be mined"),
        ("flux", _config("vae/config.json", latent_channels=None), "latent_channels is None, not a whole number"),
        (
            "flux",
            _index(scheduler=["diffusers", "DPMSolverSDEScheduler"]),
            "'scheduler' of class .* draws noise at each",
        ),
        (
            "flux",
            _config(_SCHEDULER, _class_name="EulerAncestralDiscreteScheduler"),
            "Ancestral.* draws noise at each step",
        ),
        ("flux", _config(_SCHEDULER, _class_name="DDIMScheduler"), "of class 'DDIMScheduler', which is not"),
        ("flux", _config(_SCHEDULER, stochastic_sampling=True), "with stochastic_sampling = True its"),
        ("sana", _config(_SCHEDULER, algorithm_type="sde-dpmsolver++"), "with algorithm_type = 'sde-dpmsolver"),
        ("sana", _config(_SCHEDULER, use_karras_sigmas=True, use_beta_sigmas=True), "cannot build its scheduler"),
        ("sana", _config(_SCHEDULER, num_train_timesteps=10**9), "num_train_timesteps is 1000000000"),
        ("flux", _config(_SCHEDULER, time_shift_type="none"), "cannot build its scheduler|cannot take 2 steps"),
        ("klein", _index(is_distilled=True), "was distilled to need no guidance; remove condition.guidance"),
        ("klein", _remove("tokenizer/chat_template.jinja"), "its text encoders cannot read the prompts"),
    ],
)
def test_folders_that_are_refused(
    copied: Callable[[str], Path], custom: Spec, kind: str, edit: Edit, message: str
) -> None:
    folder = copied(kind)
    edit(folder)
    _refused(lambda: zoo.load(custom(folder, kind, **({"guidance": 2.0} if kind == "klein" else {}))), message)


_STRANGE = [None, True, -1, 0, 1, 1.5, "x", [], [1], [[]], {}, {"a": 1}, "../../x"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", ["flux", "sana"])
def test_strange_configurations_are_one_line(
    saved: Callable[[str], Path], custom: Spec, kind: str, data: st.DataObject
) -> None:
    folder = saved(kind)
    file = folder / data.draw(st.sampled_from(sorted(str(path.relative_to(folder)) for path in folder.rglob("*.json"))))
    content = file.read_text()
    try:
        key = data.draw(st.sampled_from(sorted(json.loads(content))))
        _edit(file, **{key: data.draw(st.sampled_from(_STRANGE))})
        zoo.load(custom(folder, kind))
    except UserError:  # one line, as it makes sure of itself; anything else is a fault
        pass
    finally:
        file.write_text(content)


def test_schnell_takes_no_guidance(copied: Callable[[str], Path], custom: Spec) -> None:
    folder = copied("flux")
    _edit(folder / "transformer" / "config.json", guidance_embeds=False)
    _refused(lambda: zoo.load(custom(folder, "flux", guidance=2.0)), "was distilled to need no guidance")
    _refused(lambda: zoo.load(custom(folder, "flux")), r"do not fit .*guidance_embedder")


def test_a_model_without_text_takes_no_prompts(spec: Spec) -> None:
    for field, value in (("prompts", ("a",)), ("size", 64)):
        condition = Condition(**{field: value})
        _refused(
            lambda condition=condition: zoo.load(spec("diffusers/ddpm-cifar10-32", condition=condition)),
            f"makes images without prompts, of one size; remove condition.{field}",
        )
    _refused(
        lambda: zoo.load(spec("dcgan/digiface", condition=Condition(prompts=("a",)))),
        r"takes no condition\.prompts; remove it",
    )


def test_a_published_name_asks_for_its_configuration(saved: Callable[[str], Path], spec: Spec) -> None:
    model = spec("diffusers/flux-1-dev", str(saved("flux")), condition=Condition(prompts=("a",)))
    _refused(lambda: zoo.load(model), "not of diffusers/flux-1-dev: the in_channels of its transformer is 16, not 64")


@pytest.mark.parametrize("name", [name for name, one in PUBLISHED.items() if one.pipeline])
def test_a_folder_may_spell_a_published_configuration_out(name: str) -> None:
    published = PUBLISHED[name]
    kind = KINDS[str(published.pipeline)]
    spelt = {}
    for part, config in published.configs.items():
        made, values = pipeline.settings(part, config, name, kind.classes)
        spelt[part] = json.loads(json.dumps({"_class_name": made.__name__, "_name_or_path": "x", **values}))
    family._require_alike(spelt, published.configs, name, "weights", kind)
    spelt["transformer"]["in_channels"] += 4
    _refused(lambda: family._require_alike(spelt, published.configs, name, "weights", kind), "the in_channels of its")


def test_pretrained_pipelines_come_from_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    asked: list[tuple[str, str]] = []

    def give(kind: Any, repository: str, subfolder: str = "", **options: Any) -> Any:
        asked.append((kind.__name__, f"{repository}/{subfolder}"))
        if kind is diffusers.SanaPipeline:
            assert (options["transformer"], options["vae"]) == (None, None)
            raise OSError("no network")
        configs = PUBLISHED["sana-600m-512"].configs[subfolder]
        with torch.device("meta"):
            return kind(**{key: value for key, value in configs.items() if key[0] != "_"})

    for kind in (diffusers.SanaTransformer2DModel, diffusers.AutoencoderDC, diffusers.SanaPipeline):
        monkeypatch.setattr(kind, "from_pretrained", classmethod(give))
    _refused(
        lambda: Diffusers().build("sana-600m-512", None, True, Condition(prompts=("a",))),
        r"diffusers/sana-600m-512: its pretrained weights cannot be had \(OSError\); go online once, or give",
    )
    repository = "Efficient-Large-Model/Sana_600M_512px_diffusers"
    assert asked == [
        ("SanaTransformer2DModel", f"{repository}/transformer"),
        ("AutoencoderDC", f"{repository}/vae"),
        ("SanaPipeline", f"{repository}/"),
    ]
