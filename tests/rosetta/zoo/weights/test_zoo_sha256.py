"""The digest that a recipe states for its weights."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from nvidia_files import Call, pickled

from rosetta import zoo
from rosetta.errors import UserError
from rosetta.model_spec import ModelSpec
from rosetta.recipe import parse_recipe
from rosetta.zoo.families.dcgan import Generator
from rosetta.zoo.weights.published_sha256 import PUBLISHED
from rosetta.zoo.weights.source import FromFile, parse_weights

Spec = Callable[..., ModelSpec]


def test_a_stated_sha256(spec: Spec, tmp_path: Path) -> None:
    torch.save(Generator().state_dict(), tmp_path / "net.pth")
    weights = str(tmp_path / "net.pth")
    digest = zoo.weights_sha256(spec("dcgan/digiface", weights))
    stated = spec("dcgan/digiface", weights, sha256=digest)
    assert zoo.load(stated).weights_sha256 == zoo.weights_sha256(stated) == digest
    content = bytearray((tmp_path / "net.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "net.pth").write_bytes(content)
    for call in (zoo.load, zoo.weights_sha256):
        with pytest.raises(UserError, match=rf"have the SHA-256 \w{{64}}, but {digest} is stated; copy or download"):
            call(stated)


def test_a_wrong_digest_is_told_before_the_file_is_parsed(spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "net.pkl").write_bytes(pickled(Call(os.mkdir, str(tmp_path / "sprung"))))
    wrong = "0" * 64
    for weights in (str(tmp_path / "net.pkl"), "random:3"):
        with pytest.raises(UserError, match=rf"have the SHA-256 \w{{64}}, but {wrong} is stated"):
            zoo.load(spec("dcgan/digiface", weights, sha256=wrong))


def test_a_published_digest_is_compared_where_the_recipe_states_none(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(Generator().state_dict(), tmp_path / "net.pth")
    weights = str(tmp_path / "net.pth")
    assert isinstance(parse_weights(weights), FromFile)
    digest = zoo.weights_sha256(spec("dcgan/digiface", weights))
    monkeypatch.setattr("rosetta.zoo.loading.PUBLISHED", {weights: "f" * 64})
    with pytest.raises(UserError, match=f"but {'f' * 64} is stated"):
        zoo.load(spec("dcgan/digiface", weights))
    assert zoo.load(spec("dcgan/digiface", weights, sha256=digest)).weights_sha256 == digest


def test_published_digests_are_those_of_the_names(spec: Spec) -> None:
    for weights, digest in PUBLISHED.items():
        assert re.fullmatch(r"[0-9a-f]{64}", digest)
        assert Path(weights).stem.rpartition("-")[2] == digest[:8]
        assert zoo.weights_sha256(spec("dcgan/digiface", weights)) == digest


def test_a_recipe_states_a_digest_or_none() -> None:
    text = 'name = "x"\nroot = "x"\nmodels = [{name = "a", model = "m/a"}, {name = "b", model = "m/b"%s}]'
    assert "sha256" not in parse_recipe(text % "", "small").to_toml()
    digest = "0123456789abcdef" * 4
    stated = parse_recipe(text % f', sha256 = "{digest}"', "small")
    assert stated.models[1].sha256 == digest
    assert parse_recipe(stated.to_toml(), "again") == stated
    for wrong in (digest[1:], digest.upper(), digest + "0", "", f"sha256:{digest}"):
        with pytest.raises(UserError, match=r"models\.b\.sha256: '.*' is not a SHA-256; give the 64 lower-case"):
            parse_recipe(text % f', sha256 = "{wrong}"', "small")
