"""Configurations of published pipelines, so that they can be built without a network.

Those of the U-Nets (Ho et al., 2020, arXiv 2006.11239) are the `config.json` and `scheduler_config.json` on the hub, as
far as they say anything; the four of 256 pixels are alike. Those of DiT (Peebles & Xie, 2023, arXiv 2212.09748) are
what the library's own conversion script writes, and the autoencoder is that of Stable Diffusion, whose two published
decoders, fine-tuned on the mean squared error and not, have one configuration. What a configuration does not say is
the library's default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """A pipeline on the hub."""

    repository: str
    """Its name there."""
    configs: Mapping[str, Config]
    """The configuration of each component, by its name in the pipeline."""
    subfolders: bool
    """Whether each component lies in a folder of its own name, instead of at the top."""


_DDPM = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "clip_sample": True,
}
_UNET = {
    "_class_name": "UNet2DModel",
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 2,
    "act_fn": "silu",
    "attention_head_dim": None,
    "center_input_sample": False,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "time_embedding_type": "positional",
}
_UNET_32 = {
    **_UNET,
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}
_UNET_256 = {
    **_UNET,
    "sample_size": 256,
    "block_out_channels": (128, 128, 256, 256, 512, 512),
    "down_block_types": (*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
}
_DIT_XL_2 = {
    "_class_name": "DiTTransformer2DModel",
    "num_layers": 28,
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "patch_size": 2,
    "attention_bias": True,
    "activation_fn": "gelu-approximate",
    "num_embeds_ada_norm": 1000,
    "norm_type": "ada_norm_zero",
    "norm_elementwise_affine": False,
}
_VAE = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "sample_size": 256,
    "scaling_factor": 0.18215,
}
_DDIM = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "clip_sample": False,
    "prediction_type": "epsilon",
}


def _ddpm(name: str, unet: Config) -> Published:
    return Published(f"google/{name}", {"unet": unet, "scheduler": _DDPM}, subfolders=False)


def _dit(size: int) -> Published:
    transformer = {**_DIT_XL_2, "sample_size": size // 8}
    configs = {"transformer": transformer, "vae": _VAE, "scheduler": _DDIM}
    return Published(f"facebook/DiT-XL-2-{size}", configs, subfolders=True)


PUBLISHED: Mapping[str, Published] = {
    "ddpm-bedroom-256": _ddpm("ddpm-bedroom-256", _UNET_256),
    "ddpm-cat-256": _ddpm("ddpm-cat-256", _UNET_256),
    "ddpm-celebahq-256": _ddpm("ddpm-celebahq-256", _UNET_256),
    "ddpm-church-256": _ddpm("ddpm-church-256", _UNET_256),
    "ddpm-cifar10-32": _ddpm("ddpm-cifar10-32", _UNET_32),
    "dit-xl-2-256": _dit(256),
    "dit-xl-2-512": _dit(512),
}
"""By the name in a recipe."""
