"""Tiny pipelines with prompts, with random weights and tokenizers of single letters."""

from collections.abc import Callable, Mapping
from functools import cache
from string import ascii_lowercase
from typing import Any

import diffusers
import torch
import transformers
from diffusion_folders import _quiet, _wide

_VAE: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "latent_channels": 4,
}
_TEMPLATE = (
    "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}a{% endif %}"
)


def _numbered(*tokens: str) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


def _clip_words() -> Any:
    vocab = _numbered("<|startoftext|>", "<|endoftext|>", *ascii_lowercase, *(f"{one}</w>" for one in ascii_lowercase))
    return transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _t5_words() -> Any:
    scores = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -2.0, **dict.fromkeys(ascii_lowercase, -3.0)}
    return transformers.T5Tokenizer(vocab=list(scores.items()), extra_ids=0)


def _gemma_words() -> Any:
    vocab = _numbered("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *ascii_lowercase)
    return transformers.GemmaTokenizer(vocab=vocab, merges=[])


def _qwen_words() -> Any:
    vocab = _numbered("<|endoftext|>", "<|user|>", "Ġ", *ascii_lowercase)
    words = transformers.Qwen2Tokenizer(vocab=vocab, merges=[])
    words.chat_template = _TEMPLATE
    return words


def _clip(width: int, projected: bool, seed: int) -> Any:
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    config = transformers.CLIPTextConfig(
        vocab_size=54,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=32,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return _wide(kind(config), seed)


def _t5(seed: int) -> Any:
    config = transformers.T5Config(
        vocab_size=30, d_model=32, d_ff=32, d_kv=8, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu"
    )
    return _wide(transformers.T5EncoderModel(config), seed)


def _flux(**changes: Any) -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_wide(diffusers.AutoencoderKL(**_VAE, scaling_factor=0.4, shift_factor=0.1), 1),
        text_encoder=_clip(32, False, 2),
        tokenizer=_clip_words(),
        text_encoder_2=_t5(3),
        tokenizer_2=_t5_words(),
        transformer=_wide(transformer, 4),
    )


def _klein() -> Any:
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=8,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    qwen = transformers.Qwen3Config(
        vocab_size=29,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    vae = _wide(diffusers.AutoencoderKLFlux2(**_VAE), 1)
    random = torch.Generator().manual_seed(9)
    vae.bn.running_mean.copy_(torch.randn(16, generator=random))
    vae.bn.running_var.copy_(torch.rand(16, generator=random) + 0.5)
    return diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=vae,
        text_encoder=_wide(transformers.Qwen3ForCausalLM(qwen), 2),
        tokenizer=_qwen_words(),
        transformer=_wide(transformer, 4),
    )


def _sd3() -> Any:
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )
    return diffusers.StableDiffusion3Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_wide(diffusers.AutoencoderKL(**_VAE, scaling_factor=0.4, shift_factor=0.1), 1),
        text_encoder=_clip(16, True, 2),
        tokenizer=_clip_words(),
        text_encoder_2=_clip(16, True, 3),
        tokenizer_2=_clip_words(),
        text_encoder_3=_t5(5),
        tokenizer_3=_t5_words(),
        transformer=_wide(transformer, 4),
    )


def _sana() -> Any:
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        sample_size=16,
    )
    gemma = transformers.Gemma2Config(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    vae = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        upsample_block_type="interpolate",
        scaling_factor=0.4,
    )
    return diffusers.SanaPipeline(
        tokenizer=_gemma_words(),
        text_encoder=_wide(transformers.Gemma2Model(gemma), 2),
        vae=_wide(vae, 1),
        transformer=_wide(transformer, 4),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction"
        ),
    )


def _pixart(alpha: bool = False) -> Any:
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=32,
        use_additional_conditions=False,
    )
    kind = diffusers.PixArtAlphaPipeline if alpha else diffusers.PixArtSigmaPipeline
    return kind(
        tokenizer=_t5_words(),
        text_encoder=_t5(3),
        vae=_wide(diffusers.AutoencoderKL(**_VAE, scaling_factor=0.4), 1),
        transformer=_wide(transformer, 4),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


_MAKERS: Mapping[str, Callable[[], Any]] = {
    "flux": _flux,
    "klein": _klein,
    "sd3": _sd3,
    "sana": _sana,
    "pixart": _pixart,
    "alpha": lambda: _pixart(True),
}
SIZES = {"flux": (12, 16), "klein": (12, 16), "sd3": (16, 24), "sana": (32, 32), "pixart": (16, 16), "alpha": (16, 16)}
"""Of images, height and width."""
GRIDS = {"flux": (3, 4), "klein": (3, 4), "sd3": (4, 6), "sana": (16, 16), "pixart": (4, 4), "alpha": (4, 4)}
"""Of the image's tokens."""


@cache
def prompted(name: str) -> Any:
    """A pipeline, made once."""
    return _quiet(_MAKERS[name]())
