"""Prompts of a recipe: out of files, out of lists, and what is wrong with either."""

from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.plan.identity import of_recipe
from rosetta import prompts
from rosetta.errors import UserError
from rosetta.model_spec import Condition, ModelSpec
from rosetta.recipe import parse_recipe
from rosetta.strict import validated

_LINES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=9)


@given(lines=st.lists(_LINES, min_size=1, max_size=5), end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
def test_lines_of_a_file_are_prompts(tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, last: bool):
    file = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    file.write_bytes(b"\xef\xbb\xbf" * last + (end.join(lines) + end * last).encode())
    assert prompts.read_prompts(str(file)) == tuple(lines)


def test_a_file_at_a_url_and_a_list_are_one_condition(tmp_path: Path):
    with fsspec.open("memory://texts/two.txt", "w") as file:
        file.write("a red house\ntwo cats\n")
    (tmp_path / "two.txt").write_text("a red house\ntwo cats")
    conditions = [Condition(prompts=one) for one in ("memory://texts/two.txt", str(tmp_path / "two.txt"))]
    assert conditions == [Condition(prompts=("a red house", "two cats"))] * 2


def test_the_words_are_part_of_a_models_identity(tmp_path: Path):
    def identity(*words: str) -> dict[str, object]:
        spec = ModelSpec(name="g", model="diffusers/sd3-medium", condition=Condition(prompts=words, steps=4))
        return of_recipe(spec, "0" * 64)

    assert identity("a", "b") == identity("a", "b")
    assert len({str(identity(*words)) for words in (("a", "b"), ("b", "a"), ("a b",), ("a",))}) == 4
    stored = identity("a", "b")["condition"]
    assert stored == {"steps": 4, "prompts": prompts.digest(["a", "b"])}
    assert "prompts" not in of_recipe(ModelSpec(name="g", model="dcgan/digiface"), "0" * 64)


def test_a_recipe_keeps_the_prompts_themselves(tmp_path: Path):
    (tmp_path / "two.txt").write_text('a "red" house\nzwei Kätzchen\n')
    text = (
        'name = "x"\nroot = "runs/x"\n[images]\ncount = 8\n[[models]]\nname = "g"\nmodel = "diffusers/sd3-medium"\n'
        f'condition = {{ prompts = "{tmp_path}/two.txt" }}\n[[models]]\nname = "d"\nmodel = "timm/test_resnet"\n'
    )
    recipe = parse_recipe(text, "x")
    (tmp_path / "two.txt").unlink()
    assert parse_recipe(recipe.to_toml(), "x").models[0].condition.prompts == ('a "red" house', "zwei Kätzchen")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no such file; correct the path, or list the prompts themselves, as \['"),
        (b"", "is empty; write one prompt on each line"),
        (b"\n", "line 1 is blank"),
        (b"a\n \t\nb\n", "line 2 is blank; remove it"),
        (b"a\n\n", "line 2 is blank"),
        (b"a\xff\n", r"is not UTF-8 text \(byte 1\)"),
        (b"a" * ((1 << 24) + 1), "has more than 16 MiB"),
    ],
)
def test_files_that_hold_no_prompts(tmp_path: Path, content: bytes | None, message: str):
    file = tmp_path / "prompts.txt"
    if content is not None:
        file.write_bytes(content)
    _refused({"prompts": str(file)}, message)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "prompts: "),
        (["a", " "], "prompts: one of the prompts is blank"),
        ([3], "prompts"),
        (3, "prompts: 3 is not a list"),
        ("s3://key:word@bucket/prompts.txt", "holds credentials"),
        ("nosuch://x", "cannot be read"),
        (".", "cannot be read: IsADirectoryError"),
    ],
)
def test_values_that_are_no_prompts(value: object, message: str):
    _refused({"prompts": value}, message)


def _refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        validated(Condition, data, "condition")
    assert "\n" not in str(caught.value)
