"""Globs over module paths."""

import pytest

from rosetta.errors import UserError
from rosetta.zoo.maps.globs import compile_glob, select

PATHS = ["layer1", "layer1.0", "layer1.0.conv1", "layer2", "blocks.0.mlp.act", "blocks.11.mlp.act", "act"]


@pytest.mark.parametrize(
    ("glob", "matched"),
    [
        ("layer*", ["layer1", "layer2"]),
        ("layer?", ["layer1", "layer2"]),
        ("layer[2-9]", ["layer2"]),
        ("layer[!2]", ["layer1"]),
        ("layer1.**", ["layer1.0", "layer1.0.conv1"]),
        ("**.act", ["blocks.0.mlp.act", "blocks.11.mlp.act", "act"]),
        ("blocks.*.mlp.act", ["blocks.0.mlp.act", "blocks.11.mlp.act"]),
        ("blocks.?.mlp.act", ["blocks.0.mlp.act"]),
        ("*", ["layer1", "layer2", "act"]),
        ("**", PATHS),
        ("l**1", ["layer1", "layer1.0.conv1"]),
        ("layer1?0", []),
        ("layer1[!x]0", []),
        ("layer[z-a]", []),
        ("layer[1", []),
    ],
)
def test_matches(glob: str, matched: list[str]) -> None:
    assert [path for path in PATHS if compile_glob(glob).fullmatch(path)] == matched


@pytest.mark.parametrize(("glob", "hint"), [("layr1", "'layer1'"), ("zzz", "begin with layer1, layer2, act")])
def test_nothing_matched_names_what_is_near(glob: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"'net': no module matches the layer '{glob}'.*{hint}"):
        select(["layer1", glob], PATHS, "net")


def test_no_globs_at_all() -> None:
    with pytest.raises(UserError, match="layers is empty"):
        select([], PATHS, "net")
