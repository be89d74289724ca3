"""Tiny autoencoders and a consistency model, saved as diffusers saves them."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderTiny,
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    UNet2DModel,
    VQModel,
)
from torch import nn

_BLOCKS: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "sample_size": 16,
    "scaling_factor": 0.3,
}
AUTOENCODERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "kl": (AutoencoderKL, _BLOCKS),
    "shifted kl": (AutoencoderKL, {**_BLOCKS, "shift_factor": 0.5, "use_post_quant_conv": False}),
    "kl of moments": (
        AutoencoderKL,
        {**_BLOCKS, "latents_mean": (0.1, 0.2, -0.3, 0.4), "latents_std": (1.0, 2.0, 0.5, 1.5)},
    ),
    "tiny": (
        AutoencoderTiny,
        {
            "encoder_block_out_channels": (8, 8),
            "decoder_block_out_channels": (8, 8),
            "num_encoder_blocks": (1, 1),
            "num_decoder_blocks": (2, 1),
        },
    ),
    "dc": (
        AutoencoderDC,
        {
            "latent_channels": 4,
            "attention_head_dim": 4,
            "encoder_block_out_channels": (8, 16),
            "decoder_block_out_channels": (8, 16),
            "encoder_block_types": ("ResBlock", "EfficientViTBlock"),
            "decoder_block_types": ("ResBlock", "EfficientViTBlock"),
            "encoder_layers_per_block": (1, 1),
            "decoder_layers_per_block": (1, 1),
            "encoder_qkv_multiscales": ((), (5,)),
            "decoder_qkv_multiscales": ((), (5,)),
            "scaling_factor": 0.4,
        },
    ),
    "vq": (VQModel, {**_BLOCKS, "latent_channels": 3, "num_vq_embeddings": 32, "vq_embed_dim": 5}),
}
"""By kind: the library's class, and its settings."""
UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "resnet_time_scale_shift": "scale_shift",
    "num_class_embeds": 7,
}
"""Blocks as the published networks have them."""


def _wide(module: nn.Module, seed: int) -> Any:
    """Weights large enough that all counts."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn = torch.randn(parameter.shape, generator=random)
            if parameter.ndim > 1:
                parameter.copy_(drawn * (1.5 / parameter[0].numel() ** 0.5))
            else:
                parameter.copy_(drawn * 0.1 + ("norm" in name and name.endswith("weight")))
    return module.eval()


def autoencoder(kind: str, **changes: Any) -> Any:
    """16 × 16 pixels, or for those whose configuration names no size 256 × 256, from half as many latents a side."""
    made, settings = AUTOENCODERS[kind]
    return _wide(made(**{**settings, **changes}), 3)


def save_autoencoder(folder: Path, kind: str, **changes: Any) -> Path:
    """Alone."""
    autoencoder(kind, **changes).save_pretrained(folder)
    return folder


def consistency_pipeline(schedule: dict[str, Any] | None = None, **changes: Any) -> ConsistencyModelPipeline:
    """16 × 16 pixels, 7 classes."""
    unet = _wide(UNet2DModel(**{**UNET, **changes}), 4)
    pipeline = ConsistencyModelPipeline(unet, CMStochasticIterativeScheduler(**(schedule or {})))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_consistency(folder: Path, schedule: dict[str, Any] | None = None, **changes: Any) -> Path:
    """As a pipeline."""
    consistency_pipeline(schedule, **changes).save_pretrained(folder)
    return folder
