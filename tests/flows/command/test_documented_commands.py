"""What README and docs show runs as it stands: the command's lines, the README's Python, and names of deployments."""

import json
import re
import shlex
import shutil
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaged import recipe_text
from PIL import Image

from rosetta.naming.vocabulary import shipped
from storage.artifacts.dictionary import dictionary_of
from storage.filesystem.root import Root

REPOSITORY = Path(__file__).parents[3]
DOCUMENTS = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/*.md")), REPOSITORY / "deployments/README.md"]
_SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
_COMMENT = re.compile(r"\s+#.*$")
SHORTER = {
    "invert": {"--steps": ["1"]},
    "edit": {"--steps": ["1"]},
    "ablate": {"--images": ["1"], "--random": ["3"]},
    "ablate --silence": {"--images": ["1"], "--sets": ["3"]},
    "label": {"--weights": ["random:0"], "--replace": []},
    "study": {"--plan": []},
}
"""Options of what would take minutes, or weights that are not here, where a line does not give them itself."""
SMALLER = {"open_clip/ViT-B-32.laion2b_s34b_b79k": "open_clip/ViT-S-32", "200": "4", "new:32": "new:2"}
"""In place of what would take minutes."""


def lines(document: Path) -> list[list[str]]:
    """The lines of each shell block, continued ones joined, without comments."""
    blocks = _SHELL.findall(document.read_text(encoding="utf-8"))
    return [[_COMMENT.sub("", line) for line in block.replace("\\\n", " ").splitlines()] for block in blocks]


BLOCKS = [
    pytest.param(commands, id=f"{document.relative_to(REPOSITORY)}-{number}")
    for document in DOCUMENTS
    for number, block in enumerate(lines(document))
    # What a script trains for 40 minutes is not here; tests/deployments/test_second_generator.py trains a tiny one.
    if not any(line.startswith("python ") for line in block)
    if (commands := [line for line in block if line.startswith("rosetta ") and "s3://" not in line])
]


@pytest.fixture(scope="module")
def workplace(run, tmp_path_factory) -> Path:
    """A folder as the documents take it: the mined run of faces, some photos, and a recipe of the reader's own."""
    folder = tmp_path_factory.mktemp("workplace")
    shutil.copytree(run[0], folder / "runs/faces")
    (folder / "deployments").symlink_to(REPOSITORY / "deployments")
    (folder / "photos").mkdir()
    for seed in range(16):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"photos/{seed:02}.png")
    (folder / "words.txt").write_text("\n".join(shipped()[:40]))
    Image.fromarray(np.random.default_rng(16).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / "cat.jpg")
    dictionary = dictionary_of(Root(str(folder / "runs/faces")))
    note = {"concept": 0, "name": "nose", "when": "2026-11-27T10:00:00Z"}
    for author in ("ada", "bo"):
        whole = {"format": "rosetta-notes", "version": 1, "dictionary": dictionary, "author": author, "notes": [note]}
        (folder / f"notes-{author}.json").write_text(json.dumps(whole))
    (folder / "photos.toml").write_text(
        recipe_text("runs/photos", ("lite0", "mobilenet", "untrained"), 'source = "photos"')
    )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_every_line_of_the_command_works(rosetta, workplace, monkeypatch, block):
    monkeypatch.chdir(workplace)
    for line in block:
        _, *words = shlex.split(line)
        expanded = [one for word in words for one in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]
        expanded = [SMALLER.get(word, word) for word in expanded]
        added = SHORTER.get(f"{words[0]} --silence" if "--silence" in words else words[0], {})
        more = [word for option, values in added.items() if option not in words for word in (option, *values)]
        done = rosetta(*expanded, *more)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert "Traceback" not in done.stderr, line


@pytest.mark.slow
def test_the_readme_opens_a_run_without_this_project(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    (block,) = _PYTHON.findall((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    names: dict = {}
    exec(block, names)
    assert names["pearson"].dims == ("unit_a", "unit_b")
    assert len(names["neurons"]) > 0
    assert names["lite0"]["blocks.2"].activation[7, 12].ndim == 2


@pytest.mark.slow
def test_the_examples_for_tables_answer_from_a_run(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    names: dict = {}
    for block in _PYTHON.findall((REPOSITORY / "docs/tables.md").read_text(encoding="utf-8")):
        exec(block, names)
    # Against the rows by hand: the statistics of side B, the strongest match, the layer's units, the trusted neurons.
    units, rosetta, joined = names["units"], names["rosetta"], names["of_b"]
    by_unit = {(row.model, row.unit): row.mean for row in units.itertuples()}
    assert joined["mean"].tolist() == [by_unit[row.model_b, row.unit_b] for row in joined.itertuples()]
    assert len(joined) == len(names["buddies"])
    assert joined["model"].cat.categories.tolist() == ["dcgan", "lite0", "mobilenet", "untrained"]
    for row in names["strongest"].itertuples():
        assert row.pearson == rosetta.loc[rosetta["cluster"] == row.cluster, "pearson"].max()
    assert len(names["strongest"]) == rosetta["cluster"].nunique()
    assert names["selective"]["half_share"].is_monotonic_increasing
    assert sorted(names["selective"].index) == list(range(40))
    known = ["dcgan", "lite0", "mobilenet"] if len(names["trusted"]) else []
    assert names["units_of_trusted"].columns.tolist() == known
    assert len(names["units_of_trusted"]) == names["trusted_by_concept"].sum() == len(names["trusted"]) / 3


def test_deployments_that_are_run_exist_and_take_what_they_are_given():
    described = yaml.safe_load((REPOSITORY / "deployments/prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    entrypoints = {}
    for one in described:
        module, _, name = one["entrypoint"].rpartition(".")
        flow = getattr(import_module(module), name)
        entrypoints[f"{flow.name}/{one['name']}"] = flow
    shown = [line for document in DOCUMENTS for block in lines(document) for line in block]
    shown = [shlex.split(line) for line in shown if re.match(r"prefect deployment (run|schedule ls) ", line)]
    assert len(shown) > 4
    for _, _, kind, *words in shown:
        name = words[1] if kind == "schedule" else words[0]
        taken = entrypoints[name].parameters.properties
        for option, value in pairwise(words):
            if option == "--param":
                assert value.partition("=")[0] in taken, f"{name} has no parameter {value}"
