"""Stable Diffusion 3 (Esser et al., 2024, arXiv 2403.03206)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rosetta.zoo.families.diffusers.kind import CLIP, FLOW, T5, Classes, Kind, Texts, same, shift_of


class StableDiffusion3(Kind):
    """Stable Diffusion 3: text and image in streams of their own."""

    pipeline = "StableDiffusion3Pipeline"
    classes: ClassVar[Classes] = {
        "transformer": same("SD3Transformer2DModel"),
        "vae": same("AutoencoderKL"),
        "scheduler": same(FLOW),
    }
    encoders: ClassVar = {
        "text_encoder": "CLIPTextModelWithProjection",
        "text_encoder_2": "CLIPTextModelWithProjection",
        "text_encoder_3": "T5EncoderModel",
    }
    tokenizers: ClassVar = {"tokenizer": CLIP, "tokenizer_2": CLIP, "tokenizer_3": T5}
    optional = frozenset({"text_encoder_3", "tokenizer_3"})
    words, text_first = 256, True

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        pooled = (transformer["pooled_projection_dim"],)
        return {"prompt": (77 + self.words, transformer["joint_attention_dim"]), "pooled": pooled}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool, device: torch.device) -> dict[str, Tensor]:
        """See :class:`Kind`."""
        prompt, _, pooled, _ = pipeline.encode_prompt(
            list(prompts),
            None,
            None,
            device=device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.words,
        )
        return {"prompt": prompt, "pooled": pooled}

    def set_timesteps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """See :class:`Kind`."""
        shifts = scheduler.config.use_dynamic_shifting
        scheduler.set_timesteps(steps, mu=shift_of(self.module, scheduler, tokens, 1.16) if shifts else None)

    def predict(self, transformer: nn.Module, noisy: Tensor, time: Tensor, texts: Texts, guidance: float) -> Tensor:
        """See :class:`Kind`."""
        said: Tensor = transformer(
            hidden_states=noisy,
            timestep=time,
            encoder_hidden_states=texts["prompt"],
            pooled_projections=texts["pooled"],
            return_dict=False,
        )[0]
        return said
