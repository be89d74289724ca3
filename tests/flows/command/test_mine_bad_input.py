"""What a user gets wrong: one line, exit 2, and nothing on disk is touched."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import evil_file
from packaged import PACKAGED, recipe_text
from PIL import Image

from flows.command.main import main

LITE0 = PACKAGED["lite0"]


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Run the command on a recipe; returns the one line that it must answer with."""
    # Each would start a server for a run that never comes, and leave it to the end of this process.
    monkeypatch.setattr("flows.reporting.embedded_server.EmbeddedServer.unless_configured", lambda: None)

    def run(*args: object) -> str:
        before = snapshot(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        captured = capsys.readouterr()
        assert left.value.code == 2, captured.err
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 1, captured.err
        assert snapshot(tmp_path) == before
        return lines[0]

    return run


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def write(tmp_path):
    def write_recipe(text: str) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write_recipe


def test_no_such_recipe(refused, tmp_path):
    assert "No such file" in refused("mine", tmp_path / "none.toml")


def test_not_toml(refused, write):
    assert "is not TOML" in refused("mine", write("name = "))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[images]", "[imagse]", "unknown key 'imagse'; did you mean 'images'?"),
        ("count =", "cuont =", "unknown key 'images.cuont'; did you mean 'count'?"),
        ('match = "order"', 'macth = "order"', "unknown key 'models.lite0.macth'; did you mean 'match'?"),
        ("count = 24", "count = 0", "images.count"),
        ("count = 24", "count = -4", "images.count"),
        ('name = "lite0"', 'name = "dcgan"', "two models are called 'dcgan'"),
        ('name = "lite0"', 'name = "Lite 0"', "'Lite 0' is no valid name"),
        ('name = "lite0"', 'name = "../lite0"', "'../lite0' is no valid name"),
        ('"timm/', '"tim/', "unknown model family 'tim'; did you mean 'timm'?"),
        ("tf_efficientnet_lite0", "tf_efficientnet_light0", "did you mean 'tf_efficientnet_lite0'"),
        ("dcgan/digiface", "dcgan/digifaces", "did you mean 'digiface'?"),
        ('match = "order"', 'layers = ["block.*"]\nmatch = "order"', "blocks."),
        ('match = "order"', 'match = "name"', 'match = "order"'),
        ("gan_face_generate/weights.tar", "gan_face_generate/none.tar", "none.tar"),
        ("gan_face_generate/weights.tar", "gan_face_degenerate/weights.tar", "gan_face_degenerate"),
        ("gan_face_generate/weights.tar", "gan_face_generate/../six.py", "six.py"),
        ("random:0", "random:often", "random:often"),
        ("chunk_mib = 1", 'memory = "lots"', "'lots' is no size"),
        ("chunk_mib = 1", 'memory = "20 MiB"', "20 MiB is too little; dumping dcgan needs at least 34 MiB"),
        ("chunk_mib = 1", 'device = "cuda:99"', "there is no cuda:99 here"),
        ("chunk_mib = 1", 'cluster = "somewhere"', "'somewhere' is neither 'threads' nor 'local' nor a scheduler's"),
        ("chunk_mib = 1", 'precision = "float8"', "'float32', 'tf32' or 'bfloat16'"),
        ("[compute]", "[matching]\nneighbours = 40\nkeep = 'neighbours'\n[compute]", "set it to 40 or more"),
        ("[compute]", "[matching]\nkeep_neighbours = 31\n[compute]", "greater than or equal to 32 (it is 31)"),
    ],
)
def test_a_slip_in_the_recipe(refused, write, tmp_path, old, new, expected):
    text = recipe_text(tmp_path / "root", models=("dcgan", "lite0", "untrained"))
    assert old in text
    assert expected in refused("mine", write(text.replace(old, new, 1)))


def test_a_cluster_that_nobody_answers_at(refused, write, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.cluster.engine._PATIENCE", "1s")
    recipe = write(recipe_text(tmp_path / "root", models=("dcgan", "lite0")))
    said = refused("mine", recipe, "--set", "compute.cluster=tcp://127.0.0.1:9")
    assert said.startswith("rosetta: compute.cluster: nobody answers at tcp://127.0.0.1:9; start a scheduler there")


def with_weights(path: Path, root: Path) -> str:
    return recipe_text(root, models=("dcgan", "lite0")).replace("package:gan_face_generate/weights.tar", str(path))


def test_weights_missing(refused, write, tmp_path):
    assert "none.pth" in refused("mine", write(with_weights(tmp_path / "none.pth", tmp_path / "root")))


def test_weights_of_another_model(refused, write, tmp_path):
    torch.save({"netG_state_dict": {"main.0.weight": torch.zeros(3, 3)}}, tmp_path / "other.pth")
    assert "main." in refused("mine", write(with_weights(tmp_path / "other.pth", tmp_path / "root")))


def test_weights_truncated(refused, write, tmp_path):
    torch.save({"netG_state_dict": {"main.0.weight": torch.zeros(300, 300)}}, tmp_path / "cut.pth")
    content = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    assert "cut.pth" in refused("mine", write(with_weights(tmp_path / "cut.pth", tmp_path / "root")))


def test_weights_that_carry_code(refused, write, tmp_path):
    torch_file = evil_file(tmp_path, "evil.pth", key="netG_state_dict")
    assert "evil.pth" in refused("mine", write(with_weights(torch_file, tmp_path / "root")))
    plain = evil_file(tmp_path, "plain.pkl", key="netG_state_dict").rename(tmp_path / "plain.pth")
    assert "plain.pth" in refused("mine", write(with_weights(plain, tmp_path / "root")))
    assert not (tmp_path / "ran").exists()


def test_root_that_cannot_be_written(refused, write, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in refused(
        "mine", write(recipe_text(tmp_path / "file" / "root", models=("dcgan", "lite0")))
    )


@pytest.mark.parametrize("root", ["nosuch://bucket/run", "s4://bucket"])
def test_root_of_an_unknown_protocol(refused, write, root):
    assert root in refused("mine", write(recipe_text(root, models=("dcgan", "lite0"))))


def test_no_images_at_all(refused, write, tmp_path):
    assert "images.source" in refused("mine", write(recipe_text(tmp_path / "root", models=("lite0", "mobilenet"))))


def from_folder(tmp_path: Path, more: str = "") -> str:
    source = f'source = "{tmp_path}/photos"\nsize = 64\n{more}'
    return recipe_text(tmp_path / "root", models=("lite0", "mobilenet"), images=source)


def test_an_empty_folder(refused, write, tmp_path):
    (tmp_path / "photos").mkdir()
    assert "has no images: it is empty" in refused("mine", write(from_folder(tmp_path)))


def test_a_folder_of_other_files(refused, write, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    assert "it holds 1 other file;" in refused("mine", write(from_folder(tmp_path)))


def test_more_images_than_there_are(refused, write, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photos" / "a.png")
    assert "has 1 images but images.count asks for 9" in refused("mine", write(from_folder(tmp_path, "count = 9")))


def test_a_source_beside_a_generator(refused, write, tmp_path):
    text = recipe_text(tmp_path / "root", models=("dcgan", "lite0"), images='source = "photos"')
    assert "leave one of them out" in refused("mine", write(text))


def test_an_unknown_option(refused, write):
    assert "--no-such" in refused("mine", "recipe.toml", "--no-such")


def test_set_that_is_no_assignment(refused, write, tmp_path):
    assert "is not key=value" in refused("mine", write(recipe_text(tmp_path / "root")), "--set", "count")


def test_zoo_of_an_unknown_model(refused):
    assert "did you mean" in refused("zoo", "timm/resnet5o")


def test_check_where_no_run_is(refused, tmp_path):
    assert "holds no run" in refused("check", tmp_path)


@pytest.mark.slow
def test_a_root_made_by_another_recipe(run, refused, write, tmp_path):
    root, _ = run
    text = recipe_text(root)
    said = refused("mine", write(text), "--set", "images.seed=1")
    assert "images.seed: 0 → 1" in said
    assert "--replace" in said
    assert "matching.neighbours: 5 → 3" in refused("mine", write(text), "--set", "matching.neighbours=3")
    said = refused("mine", write(text.replace("random:0", "random:7")))
    assert 'models.untrained.weights: "random:0" → "random:7"' in said


@pytest.mark.slow
def test_a_model_that_gives_nan(rosetta, write, tmp_path):
    package = Path(importlib.util.find_spec("gan_face_generate").origin).parent
    tensors = torch.load(package / "weights.tar", weights_only=True, map_location="cpu")
    tensors["netG_state_dict"]["main.7.bias"][[3, 9]] = float("nan")
    torch.save(tensors, tmp_path / "nan.tar")
    done = rosetta("mine", write(with_weights(tmp_path / "nan.tar", tmp_path / "root")))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = done.stderr.splitlines()[-1]
    assert "model dcgan, layer main.8: NaN or infinity in channels 3, 9 for images 0, 1, 2, 3 and more" in said
