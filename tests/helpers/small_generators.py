"""Small style-based generators of classes with random weights, in files as they are published."""

from pathlib import Path

import torch
from nvidia_files import persistent, pickled

from rosetta.zoo.families.stylegan import stylegan2_nvidia, styleganxl
from rosetta.zoo.families.stylegan.modulation import widths


def save_stylegan2_of_classes(folder: Path) -> Path:
    """16 × 16 pixels, 9 classes."""
    torch.manual_seed(0)
    sizes = {"z_dim": 8, "w_dim": 16, "c_dim": 9}
    config = stylegan2_nvidia.Config(resolution=16, widths=widths(16, 256, 16), **sizes, mapping_layers=2)
    net = stylegan2_nvidia.Generator(config)
    told = {"img_resolution": 16, "img_channels": 3, "mapping_kwargs": {"num_layers": 2}}
    told |= {"synthesis_kwargs": {"channel_base": 256, "channel_max": 16, "num_fp16_res": 4, "conv_clamp": 256}}
    (folder / "stylegan2.pkl").write_bytes(pickled({"G_ema": persistent(net.state_dict(), {**sizes, **told})}))
    return folder / "stylegan2.pkl"


def save_styleganxl(folder: Path) -> Path:
    """32 × 32 pixels, 5 classes."""
    torch.manual_seed(0)
    small = {"channel_base": 512, "channel_max": 32, "z_dim": 8, "w_dim": 16, "c_dim": 5, "embedding": 4}
    net = styleganxl.StyleGANXL(styleganxl.Config(resolution=32, stem_layers=6, head_layers=5, **small))
    (folder / "styleganxl.pkl").write_bytes(pickled({"G_ema": persistent(net.state_dict())}))
    return folder / "styleganxl.pkl"
