"""The script that trains a second generator, on networks that are tiny."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rosetta import zoo
from rosetta.model_spec import ModelSpec
from rosetta.recipe import read_recipe

FOLDER = Path(__file__).parents[2] / "deployments" / "recipes" / "second_generator"
TINY = {"size": 16, "images": 8, "batch": 4, "width": 2, "latent": 6, "layers": 2, "every": 1, "penalty_every": 2}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("train")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def trained(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, Path]:
    root = tmp_path_factory.mktemp("trained")
    assert _run(script, root, steps=3) == 0
    return script, root


def _run(script: ModuleType, root: Path, **options: Any) -> int:
    given = {**TINY, **options}
    told = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    code: int = script._main([str(root), *told])
    return code


def test_an_interrupted_training_ends_with_the_same_bytes(trained: tuple[ModuleType, Path], tmp_path: Path) -> None:
    script, root = trained
    before = script.Settings(**TINY, steps=1)
    assert len(list(script.train(before, tmp_path, torch.device("cpu")))) == 1
    early = (tmp_path / "weights.safetensors").read_bytes()
    assert _run(script, tmp_path, steps=3) == 0
    late = (tmp_path / "weights.safetensors").read_bytes()
    assert early != late == (root / "weights.safetensors").read_bytes()
    assert (tmp_path / "samples.png").read_bytes() == (root / "samples.png").read_bytes()
    assert not list(tmp_path.glob("*.part"))
    assert not list(script.train(script.Settings(**TINY, steps=3), tmp_path, torch.device("cpu")))


def test_the_zoo_makes_the_images_of_the_training(trained: tuple[ModuleType, Path]) -> None:
    script, root = trained
    settings = script.Settings(**TINY, steps=3)
    training = script.Training(settings, torch.zeros(1))
    training.restore(torch.load(root / "checkpoint.pt", weights_only=True))
    model = zoo.load(ModelSpec(name="style", model="stylegan2/custom", weights=str(root / "weights.safetensors")))
    assert (model.image_size, model.latent) == ((16, 16), 6)
    z = torch.randn(64, 6, generator=torch.Generator().manual_seed(settings.seed + 1))
    with torch.no_grad():
        wanted = training.average(z).add(1).div(2).clamp(0, 1)
    images, _ = model.generate(z)
    assert images.std() > 0
    torch.testing.assert_close(images, wanted, rtol=0, atol=1e-5)
    styles = training.average.mapping(torch.randn(4096, 6, generator=torch.Generator().manual_seed(settings.seed)))
    torch.testing.assert_close(model.module.get_buffer("mapping.w_avg"), styles[:, 0].mean(0).detach())

    samples = np.asarray(Image.open(root / "samples.png"), float) / 255
    tiles = samples.reshape(8, 16, 8, 16, 3).transpose(0, 2, 4, 1, 3).reshape(64, 3, 16, 16)
    assert np.abs(tiles - images.numpy()).max() <= 0.51 / 255


def test_both_networks_move_and_r1_counts(script: ModuleType) -> None:
    real = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    ends = []
    for penalty in (0.0, 9.0):
        training = script.Training(script.Settings(**TINY, penalty=penalty), real)
        nets = [training.generator, training.discriminator]
        before = [[p.clone() for p in net.parameters()] for net in nets]
        losses = training.advance()
        assert losses.isfinite().all()
        for net, old in zip(nets, before, strict=True):
            assert all(not torch.equal(p, q) for p, q in zip(net.parameters(), old, strict=True) if q.numel() > 1)
        ends.append([p.detach() for p in training.discriminator.parameters()])
    assert any(not torch.equal(p, q) for p, q in zip(*ends, strict=True))


def test_r1_is_the_squared_gradient(script: ModuleType) -> None:
    real = torch.randn(3, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    penalty = script._r1((real**2).sum((1, 2, 3)), real)
    torch.testing.assert_close(penalty, (4 * real**2).sum((1, 2, 3)).mean())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"size": 8}, "--size is 8; give 16, 32 or 64"),
        ({"batch": 6}, "--batch is 6; give a multiple of 4"),
        ({"images": 0}, "--images is 0; give at least 1"),
    ],
)
def test_bad_input(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, int], line: str
) -> None:
    root = tmp_path / "root"
    assert _run(script, root, **options) == 2
    assert capsys.readouterr().err == f"error: {line}\n"
    assert not root.exists()


def test_without_the_package(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rosetta.zoo.weights.source.importlib.util.find_spec", lambda _: None)
    assert _run(script, tmp_path / "root", steps=3) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "package 'gan_face_generate' is not installed; install it with pip" in said
    assert not (tmp_path / "root").exists()


def test_a_checkpoint_of_other_settings(trained: tuple[ModuleType, Path], capsys: pytest.CaptureFixture[str]) -> None:
    script, root = trained
    assert _run(script, root, steps=3, penalty_every=1) == 2
    said = capsys.readouterr().err
    assert said == (
        f"error: {root / 'checkpoint.pt'} was trained with --penalty-every 2, not 1; give that, or another folder\n"
    )


def test_recipe_looks_at_the_layers_of_faces() -> None:
    second, faces = read_recipe(FOLDER / "recipe.toml"), read_recipe(FOLDER.parent / "faces.toml")
    assert second.models[1:] == faces.models[1:]
