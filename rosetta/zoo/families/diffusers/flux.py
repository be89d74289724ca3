"""Flux.1 and Flux.2-klein of Black Forest Labs: text and image in two streams, then in one sequence."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rosetta.zoo.families.diffusers.kind import (
    CLIP,
    FLOW,
    T5,
    Classes,
    Kind,
    Texts,
    config_of,
    same,
    shift_of,
    text_then_image,
)


class Flux(Kind):
    """Flux.1 of Black Forest Labs: blocks of two streams, then of one, in which text and image are one sequence."""

    pipeline = "FluxPipeline"
    classes: ClassVar[Classes] = {
        "transformer": same("FluxTransformer2DModel"),
        "vae": same("AutoencoderKL"),
        "scheduler": same(FLOW),
    }
    encoders: ClassVar = {"text_encoder": "CLIPTextModel", "text_encoder_2": "T5EncoderModel"}
    tokenizers: ClassVar = {"tokenizer": CLIP, "tokenizer_2": T5}
    words, packs, side, text_first = 512, 2, 128, True

    def latents(self, channels: int, height: int, width: int) -> tuple[int, int, int]:
        """See :class:`Kind`; they are packed only for the transformer."""
        return channels // 4, height, width

    def layers(self, transformer: Any) -> tuple[str, ...]:
        """See :class:`Kind`."""
        places = {
            "transformer_blocks.*.ff.net.2@in": transformer.transformer_blocks,
            "single_transformer_blocks.*.act_mlp": transformer.single_transformer_blocks,
        }
        return tuple(place for place, blocks in places.items() if len(blocks))

    def exceptions(self, transformer: nn.Module, tokens: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """See :class:`Kind`."""
        yield from super().exceptions(transformer, tokens)
        for path, _ in transformer.named_modules():
            if re.fullmatch(r"single_transformer_blocks\.\d+", path):
                yield from self._single_block(path, tokens)
            elif path.startswith("single_transformer_blocks."):
                yield path, {"prefix_tokens": tokens}
                yield f"{path}@pattern", {"sequences": False}

    def _single_block(self, path: str, tokens: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return text_then_image(path)

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        pooled = (transformer["pooled_projection_dim"],)
        return {"prompt": (self.words, transformer["joint_attention_dim"]), "pooled": pooled}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool, device: torch.device) -> dict[str, Tensor]:
        """See :class:`Kind`."""
        prompt, pooled, _ = pipeline.encode_prompt(list(prompts), None, device=device, max_sequence_length=self.words)
        return {"prompt": prompt, "pooled": pooled}

    def set_timesteps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """See :class:`Kind`."""
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift_of(self.module, scheduler, tokens))

    def predict(self, transformer: nn.Module, noisy: Tensor, time: Tensor, texts: Texts, guidance: float) -> Tensor:
        """See :class:`Kind`."""
        images, channels, height, width = noisy.shape
        prompt = texts["prompt"]
        said = transformer(
            hidden_states=self.made._pack_latents(noisy.contiguous(), images, channels, height, width),
            timestep=time.to(noisy.dtype) / 1000,
            guidance=noisy.new_full((images,), guidance) if self.embeds_guidance(config_of(transformer)) else None,
            pooled_projections=texts["pooled"],
            encoder_hidden_states=prompt,
            txt_ids=prompt.new_zeros(prompt.shape[1], 3),
            img_ids=self.made._prepare_latent_image_ids(images, height // 2, width // 2, noisy.device, noisy.dtype),
            return_dict=False,
        )[0]
        unpacked: Tensor = self.made._unpack_latents(said, height, width, 1)
        return unpacked

    def embeds_guidance(self, transformer: Mapping[str, Any]) -> bool:
        """See :class:`Kind`."""
        return bool(transformer["guidance_embeds"])

    def takes_guidance(self, index: Mapping[str, Any]) -> bool:
        """See :class:`Kind`."""
        return False


class Flux2Klein(Flux):
    """Flux.2-klein: gated MLPs, and text and image in one tensor from the first block of one stream on."""

    pipeline = "Flux2KleinPipeline"
    classes: ClassVar[Classes] = {
        "transformer": same("Flux2Transformer2DModel"),
        "vae": same("AutoencoderKLFlux2"),
        "scheduler": same(FLOW),
    }
    encoders: ClassVar = {"text_encoder": "Qwen3ForCausalLM"}
    tokenizers: ClassVar = {"tokenizer": frozenset({"Qwen2Tokenizer", "Qwen2TokenizerFast"})}

    def latents(self, channels: int, height: int, width: int) -> tuple[int, int, int]:
        """See :class:`Kind`; noise is drawn for packed ones."""
        return channels, height // 2, width // 2

    def layers(self, transformer: Any) -> tuple[str, ...]:
        """See :class:`Kind`."""
        places = {
            "transformer_blocks.*.ff.linear_out@in": transformer.transformer_blocks,
            "single_transformer_blocks.*.attn.mlp_act_fn": transformer.single_transformer_blocks,
        }
        return tuple(place for place, blocks in places.items() if len(blocks))

    def _single_block(self, path: str, tokens: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        yield path, {"prefix_tokens": tokens}

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        return {"prompt": (self.words, transformer["joint_attention_dim"])}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool, device: torch.device) -> dict[str, Tensor]:
        """See :class:`Kind`."""
        return {"prompt": pipeline.encode_prompt(list(prompts), device=device, max_sequence_length=self.words)[0]}

    def set_timesteps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """See :class:`Kind`."""
        shift = self.module.compute_empirical_mu(image_seq_len=tokens, num_steps=steps)
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift)

    def predict(self, transformer: nn.Module, noisy: Tensor, time: Tensor, texts: Texts, guidance: float) -> Tensor:
        """See :class:`Kind`."""
        said: Tensor = transformer(
            hidden_states=self.made._pack_latents(noisy),
            timestep=time.to(noisy.dtype) / 1000,
            guidance=None,
            encoder_hidden_states=texts["prompt"],
            txt_ids=self.made._prepare_text_ids(texts["prompt"][:1]).to(noisy.device),
            img_ids=self.made._prepare_latent_ids(noisy[:1]).to(noisy.device),
            return_dict=False,
        )[0]
        return said.transpose(1, 2).reshape(noisy.shape)

    def encode_images(self, vae: Any, images: Tensor) -> Tensor:
        """See :class:`Kind`."""
        mean, deviation = _statistics(vae)
        latents: Tensor = self.made._patchify_latents(vae.encode(images, return_dict=False)[0].mean)
        return (latents - mean) / deviation

    def decode(self, vae: Any, latents: Tensor) -> Tensor:
        """See :class:`Kind`."""
        mean, deviation = _statistics(vae)
        images: Tensor = vae.decode(self.made._unpatchify_latents(latents * deviation + mean), return_dict=False)[0]
        return images

    def embeds_guidance(self, transformer: Mapping[str, Any]) -> bool:
        """See :class:`Kind`."""
        return False

    def takes_guidance(self, index: Mapping[str, Any]) -> bool:
        """See :class:`Kind`."""
        return not index.get("is_distilled")


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """(1, channel, 1, 1) mean and deviation of packed latents."""
    mean, variance = (values.view(1, -1, 1, 1) for values in (vae.bn.running_mean, vae.bn.running_var))
    return mean, torch.sqrt(variance + vae.config.batch_norm_eps)
