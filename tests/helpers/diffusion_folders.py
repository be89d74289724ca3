"""Tiny pipelines, saved as diffusers saves them."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    UNet2DModel,
)
from torch import nn

UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": None,
    "norm_eps": 1e-6,
}
VAE: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "sample_size": 12,
    "scaling_factor": 0.3,
}
DIT: dict[str, Any] = {
    "sample_size": 6,
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 4,
    "out_channels": 8,
}


def _wide(module: nn.Module, seed: int) -> Any:
    """Weights large enough that timestep, class and noise all count."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn = torch.randn(parameter.shape, generator=random)
            if parameter.ndim > 1:
                parameter.copy_(drawn * (1.5 / parameter[0].numel() ** 0.5))
            else:
                parameter.copy_(drawn * 0.1 + ("norm" in name and name.endswith("weight")))
    return module.eval()


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def unet_pipeline(**changes: Any) -> DDIMPipeline:
    """8 × 8 pixels, two blocks a way, without a class."""
    unet = _wide(UNet2DModel(**{**UNET, **changes}), 0)
    return _quiet(DDIMPipeline(unet, DDPMScheduler(num_train_timesteps=100, clip_sample=True)))


def dit_pipeline(**changes: Any) -> DiTPipeline:
    """12 × 12 pixels through latents of 6 × 6, two blocks, 1000 classes."""
    transformer = _wide(DiTTransformer2DModel(**{**DIT, **changes}), 1)
    vae = _wide(AutoencoderKL(**VAE), 2)
    return _quiet(DiTPipeline(transformer, vae, DDIMScheduler(num_train_timesteps=100, clip_sample=False)))


def save_unet(folder: Path, **changes: Any) -> Path:
    """As a DDPM pipeline, which is what is published."""
    pipeline = unet_pipeline(**changes)
    DDPMPipeline(pipeline.unet, DDPMScheduler(num_train_timesteps=100, clip_sample=True)).save_pretrained(folder)
    return folder


def save_dit(folder: Path, **changes: Any) -> Path:
    """With its decoder."""
    dit_pipeline(**changes).save_pretrained(folder)
    return folder
