"""Configurations of published pipelines, so that they can be built without a network.

Those of the U-Nets (Ho et al., 2020, arXiv 2006.11239) are the `config.json` and `scheduler_config.json` on the hub, as
far as they say anything; the four of 256 pixels are alike. Those of DiT (Peebles & Xie, 2023, arXiv 2212.09748) are
what the library's own conversion script writes, and the autoencoder is that of Stable Diffusion, whose two published
decoders, fine-tuned on the mean squared error and not, have one configuration. What a configuration does not say is
the library's default.

Those with prompts are what the library's scripts of conversion write (`convert_flux_to_diffusers.py`,
`convert_flux2_to_diffusers.py`, `convert_sd3_to_diffusers.py`, `convert_sana_to_diffusers.py` with the autoencoder of
`convert_dcae_to_diffusers.py`, and `convert_pixart_sigma_to_diffusers.py`). The autoencoder of Flux.1 and the lengths
of its prompts are those of its publisher's own code, as is it that steps of schnell are not shifted. Sizes of
Flux.2-klein are `Klein4BParams` and `Klein9BParams` of its publisher's code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    pipeline: str | None = None
    """The library's class, of one with prompts."""
    index: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the pipeline itself."""
    words: int | None = None
    """Most tokens of a prompt, where they are not those of the library's pipeline."""
    steps: int | None = None
    """Of denoising, where it was distilled to few."""


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


_FLUX_VAE = {
    **_VAE,
    "latent_channels": 16,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
_SD3_VAE = {**_FLUX_VAE, "scaling_factor": 1.5305, "shift_factor": 0.0609}
_SDXL_VAE = {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025}
_SHIFTED = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}
_FLUX = {
    "_class_name": "FluxTransformer2DModel",
    "num_layers": 19,
    "num_single_layers": 38,
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "in_channels": 64,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "patch_size": 1,
}
_KLEIN = {
    "_class_name": "Flux2Transformer2DModel",
    "in_channels": 128,
    "attention_head_dim": 128,
    "mlp_ratio": 3.0,
    "axes_dims_rope": (32, 32, 32, 32),
    "rope_theta": 2000,
    "guidance_embeds": False,
}
_SD3 = {
    "_class_name": "SD3Transformer2DModel",
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 24,
    "num_attention_heads": 24,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}
_STAGES = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
_DC_AE = {
    "_class_name": "AutoencoderDC",
    "latent_channels": 32,
    "encoder_block_types": _STAGES,
    "decoder_block_types": _STAGES,
    "downsample_block_type": "conv",
    "upsample_block_type": "interpolate",
    "scaling_factor": 0.41407,
}
_SOLVER = {"_class_name": "DPMSolverMultistepScheduler"}
_PIXART = {
    "_class_name": "PixArtTransformer2DModel",
    "sample_size": 128,
    "caption_channels": 4096,
    "interpolation_scale": 2,
    "use_additional_conditions": False,
}


def _flux(name: str, dev: bool) -> Published:
    scheduler = _SHIFTED if dev else {**_SHIFTED, "shift": 1.0, "use_dynamic_shifting": False}
    configs = {"transformer": {**_FLUX, "guidance_embeds": dev}, "vae": _FLUX_VAE, "scheduler": scheduler}
    words, steps = (None, None) if dev else (256, 4)
    return Published(f"black-forest-labs/{name}", configs, True, "FluxPipeline", words=words, steps=steps)


def _klein(size: str, layers: int, single: int, heads: int, words: int, base: bool) -> Published:
    depths = {"num_layers": layers, "num_single_layers": single, "num_attention_heads": heads}
    transformer = {**_KLEIN, **depths, "joint_attention_dim": words}
    vae: Config = {"_class_name": "AutoencoderKLFlux2"}
    configs: dict[str, Config] = {"transformer": transformer, "vae": vae, "scheduler": _SHIFTED}
    name = f"black-forest-labs/FLUX.2-klein-{'base-' if base else ''}{size}"
    index = {"is_distilled": not base}
    return Published(name, configs, True, "Flux2KleinPipeline", index, steps=None if base else 4)


def _sana(size: str, pixels: int) -> Published:
    heads, cross, layers = {"600M": (36, (16, 72), 28), "1600M": (70, (20, 112), 20)}[size]
    transformer = {
        "_class_name": "SanaTransformer2DModel",
        "sample_size": pixels // 32,
        "num_layers": layers,
        "num_attention_heads": heads,
        "num_cross_attention_heads": cross[0],
        "cross_attention_head_dim": cross[1],
        "cross_attention_dim": cross[0] * cross[1],
    }
    flow = {"use_flow_sigmas": True, "flow_shift": 3.0, "prediction_type": "flow_prediction"}
    configs = {"transformer": transformer, "vae": _DC_AE, "scheduler": {**_SOLVER, **flow}}
    return Published(f"Efficient-Large-Model/Sana_{size}_{pixels}px_diffusers", configs, True, "SanaPipeline")


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
    "flux-1-dev": _flux("FLUX.1-dev", True),
    "flux-1-schnell": _flux("FLUX.1-schnell", False),
    "flux-2-klein-4b": _klein("4B", 5, 20, 24, 7680, False),
    "flux-2-klein-9b": _klein("9B", 8, 24, 32, 12288, False),
    "flux-2-klein-base-4b": _klein("4B", 5, 20, 24, 7680, True),
    "flux-2-klein-base-9b": _klein("9B", 8, 24, 32, 12288, True),
    "pixart-sigma-xl-2-1024": Published(
        "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
        {"transformer": _PIXART, "vae": _SDXL_VAE, "scheduler": _SOLVER},
        True,
        "PixArtSigmaPipeline",
    ),
    "sana-1600m-1024": _sana("1600M", 1024),
    "sana-1600m-512": _sana("1600M", 512),
    "sana-600m-1024": _sana("600M", 1024),
    "sana-600m-512": _sana("600M", 512),
    "sd3-medium": Published(
        "stabilityai/stable-diffusion-3-medium-diffusers",
        {
            "transformer": _SD3,
            "vae": _SD3_VAE,
            "scheduler": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
        },
        True,
        "StableDiffusion3Pipeline",
    ),
}
"""By the name in a recipe."""
