"""Sana of NVIDIA (Xie et al., 2024, arXiv 2410.10629)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rosetta.zoo.families.diffusers.kind import FLOW, SOLVER, Classes, Kind, Texts, config_of, same


class Sana(Kind):
    """Sana of NVIDIA: linear attention, and MLPs that are convolutions."""

    pipeline = "SanaPipeline"
    classes: ClassVar[Classes] = {
        "transformer": same("SanaTransformer2DModel"),
        "vae": same("AutoencoderDC"),
        "scheduler": same(SOLVER, FLOW),
    }
    encoders: ClassVar = {"text_encoder": "Gemma2Model"}
    crosses = True
    tokenizers: ClassVar = {"tokenizer": frozenset({"GemmaTokenizer", "GemmaTokenizerFast"})}

    def layers(self, transformer: Any) -> tuple[str, ...]:
        """See :class:`Kind`."""
        return ("transformer_blocks.*.ff.conv_point@in",)

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        return {"prompt": (self.words, transformer["caption_channels"]), "mask": (self.words,)}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool, device: torch.device) -> dict[str, Tensor]:
        """See :class:`Kind`; prompts follow the instruction that the library's pipeline puts before them."""
        instruction = None if plain else self.default("complex_human_instruction")
        prompt, mask, _, _ = pipeline.encode_prompt(
            list(prompts),
            False,
            device=device,
            max_sequence_length=self.words,
            complex_human_instruction=instruction,
        )
        return {"prompt": prompt, "mask": mask}

    def predict(self, transformer: nn.Module, noisy: Tensor, time: Tensor, texts: Texts, guidance: float) -> Tensor:
        """See :class:`Kind`."""
        said: Tensor = transformer(
            noisy,
            encoder_hidden_states=texts["prompt"],
            encoder_attention_mask=texts["mask"],
            timestep=time * config_of(transformer)["timestep_scale"],
            return_dict=False,
        )[0]
        return said[:, : noisy.shape[1]]

    def encode_images(self, vae: Any, images: Tensor) -> Tensor:
        """See :class:`Kind`."""
        latents: Tensor = vae.encode(images, return_dict=False)[0]
        return latents * vae.config.scaling_factor

    def decode(self, vae: Any, latents: Tensor) -> Tensor:
        """See :class:`Kind`."""
        images: Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return images
