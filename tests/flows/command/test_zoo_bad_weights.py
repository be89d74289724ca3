"""Weights that do not belong, through the command: one line, exit 2, nothing written and nothing run."""

from pathlib import Path

import pytest
import torch
from command import refused
from damage import evil_file
from diffusion_folders import save_unet
from nvidia_files import persistent, pickled
from packaged import recipe_text

from rosetta.zoo.families.stylegan.stylegan3 import Config, StyleGAN3


def _stylegan3(folder: Path) -> Path:
    net = StyleGAN3(Config(resolution=16, channel_base=256, channel_max=8, layers=6, z_dim=4, w_dim=4))
    (folder / "net.pkl").write_bytes(pickled({"G_ema": persistent(net.state_dict())}))
    return folder / "net.pkl"


def _odd(folder: Path) -> Path:
    net = StyleGAN3(Config(resolution=16, channel_base=256, channel_max=8, layers=6, z_dim=4, w_dim=4))
    (folder / "odd.pkl").write_bytes(
        pickled({"G_ema": persistent(net.state_dict(), {"num_layers": 6, "attention": 3})})
    )
    return folder / "odd.pkl"


def _short(folder: Path) -> Path:
    content = _stylegan3(folder).read_bytes()
    (folder / "short.pkl").write_bytes(content[: len(content) // 2])
    return folder / "short.pkl"


def _other(folder: Path) -> Path:
    torch.save({"conv1.weight": torch.zeros(4, 3, 3, 3)}, folder / "resnet.pth")
    return folder / "resnet.pth"


@pytest.mark.parametrize(
    ("model", "weights", "words"),
    [
        ("stylegan2/lsun-cat", _other, ["resnet.pth", "do not fit stylegan2/lsun-cat", "no StyleGAN2 generator's"]),
        ("stylegan3/t-ffhqu-256", _stylegan3, ["net.pkl", "16 × 16, not 256 × 256", "stylegan3/custom"]),
        ("stylegan3/custom", _odd, ["odd.pkl", "given attention = 3, an argument that is not known here", "python:"]),
        ("styleganxl/imagenet-64", _stylegan3, ["net.pkl", "no StyleGAN-XL's: it has an embedding of classes"]),
        ("biggan/deep-128", _other, ["resnet.pth", "do not fit biggan/deep-128", "first difference"]),
        ("diffusers/ddpm-cat-256", _other, ["resnet.pth", "model_index.json"]),
        ("diffusers/ddpm-cat-256", lambda folder: save_unet(folder / "unet"), ["not of diffusers/ddpm-cat-256"]),
        ("stylegan3/custom", _short, ["short.pkl", "damaged, truncated or no pickle"]),
        ("stylegan3/custom", lambda _: "http://127.0.0.1:9/net.pkl", ["http://127.0.0.1:9/net.pkl", "cannot be"]),
        ("stylegan3/custom", lambda folder: evil_file(folder, "evil.pkl"), ["evil.pkl", "carries code (posix.mkdir)"]),
        ("stylegan2/custom", lambda folder: evil_file(folder, "evil.pt"), ["evil.pt", "carries code (posix.mkdir)"]),
        ("stylegan2/lsun-cats", lambda _: "random:0", ["did you mean 'lsun-cat'"]),
        ("diffusers/dit-xl-256", lambda _: "random:0", ["did you mean 'dit-xl-2-256'"]),
    ],
)
def test_what_does_not_belong(here, tmp_path, model, weights, words):
    recipe = tmp_path / "bad.toml"
    text = recipe_text(tmp_path / "root", models=("lite0",))
    entry = f'[[models]]\nname = "g"\nmodel = "{model}"\nweights = "{weights(tmp_path)}"\n'
    recipe.write_text(text.replace("[compute]", f"{entry}[compute]"))
    refused(here("mine", recipe), *words)
    assert not (tmp_path / "root").exists()
    assert not (tmp_path / "ran").exists()
