"""docs/stores.md: each question is answered the same from a run and with plain xarray."""

import re
from pathlib import Path

import finished
import numpy as np
import pytest
import xarray as xr

TEXT = (Path(__file__).parents[1] / "docs/stores.md").read_text(encoding="utf-8")
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
OPENING, QUESTIONS = TEXT.split("## Eight questions")
TITLED = {
    part.partition("\n")[0]: _PYTHON.findall(part) for part in QUESTIONS.partition("\n## ")[0].split("\n### ")[1:]
}
SPOTS = {"lite0": "d", "dcgan": "g", "143": "0", '"cat"': "1", '"dog"': "0", "label=": "class_=", '"label"': '"class"'}
"""Names in the run of spots that stand for those of the document."""


def of_spots(code: str) -> str:
    for name, here in SPOTS.items():
        code = code.replace(name, here)
    return code.replace("sel(class_=1)", 'sel({"class": 1})').replace("sel(class_=0)", 'sel({"class": 0})')


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The names of the section that opens a run, in the folder where it lies."""
    folder = tmp_path_factory.mktemp("work")
    finished.write(folder / "runs/faces")
    names: dict = {"scores": np.arange(finished.IMAGES) % 7}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in _PYTHON.findall(OPENING):
            exec(of_spots(block), names)
        yield names


def test_there_are_eight_and_each_takes_three_lines():
    assert len(TITLED) == 8
    for blocks in TITLED.values():
        assert [block.count("\n") for block in blocks] == [3, 3]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("question", TITLED)
def test_both_answers_are_the_same(opened, question):
    answers = []
    for block in TITLED[question]:
        names = dict(opened)
        exec(of_spots(block), names)
        answers.append({name: value for name, value in names.items() if value is not opened.get(name)})
    trees = {name for one in answers for name, value in one.items() if isinstance(value, xr.Dataset | xr.DataTree)}
    both = (answers[0].keys() & answers[1].keys()) - trees
    assert both
    for name in both:
        ours, plain = answers[0][name], answers[1][name]
        if isinstance(ours, dict):
            assert ours == pytest.approx(plain, rel=1e-6)
        elif isinstance(ours, str):
            assert ours == plain
        else:
            np.testing.assert_allclose(np.asarray(ours), np.asarray(plain), rtol=1e-5)


def test_the_answers_are_those_of_the_spots(opened):
    names = dict(opened)
    for blocks in TITLED.values():
        exec(of_spots(blocks[0]), names)
    assert names["unit"] == 0
    np.testing.assert_array_equal(names["maps"], finished.maps_of("d")["early"][:, 0])
    assert isinstance(names["units"], xr.Dataset)
