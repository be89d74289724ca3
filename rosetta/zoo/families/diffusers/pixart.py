"""PixArt-Σ and PixArt-α, of which the former came later."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rosetta.zoo.families.diffusers.kind import SOLVER, T5, Classes, Kind, Texts, config_of, same


class PixArt(Kind):
    """PixArt-Σ (Chen et al., 2024, arXiv 2403.04692): a DiT with attention to the prompt. It was trained on noise."""

    pipeline = "PixArtSigmaPipeline"
    classes: ClassVar[Classes] = {
        # The second is the class that it was first published with.
        "transformer": {
            "PixArtTransformer2DModel": "PixArtTransformer2DModel",
            "Transformer2DModel": "PixArtTransformer2DModel",
        },
        "vae": same("AutoencoderKL"),
        "scheduler": same(SOLVER),
    }
    encoders: ClassVar = {"text_encoder": "T5EncoderModel"}
    crosses = True
    tokenizers: ClassVar = {"tokenizer": T5}

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        return {"prompt": (self.words, transformer["caption_channels"]), "mask": (self.words,)}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool, device: torch.device) -> dict[str, Tensor]:
        """See :class:`Kind`.

        Prompts are in lower case but not cleaned of links and tags, for which the library needs a package that may not
        be there.
        """
        prompt, mask, _, _ = pipeline.encode_prompt(
            list(prompts), False, device=device, clean_caption=False, max_sequence_length=self.words
        )
        return {"prompt": prompt, "mask": mask}

    def predict(self, transformer: nn.Module, noisy: Tensor, time: Tensor, texts: Texts, guidance: float) -> Tensor:
        """See :class:`Kind`."""
        said: Tensor = transformer(
            noisy,
            encoder_hidden_states=texts["prompt"],
            encoder_attention_mask=texts["mask"],
            timestep=time,
            added_cond_kwargs=self.added(transformer, noisy),
            return_dict=False,
        )[0]
        return said[:, : noisy.shape[1]]

    def added(self, transformer: nn.Module, noisy: Tensor) -> dict[str, Tensor | None]:
        """What else the transformer is given."""
        return {"resolution": None, "aspect_ratio": None}


class PixArtAlpha(PixArt):
    """PixArt-α (Chen et al., 2024, arXiv 2310.00426): shorter prompts, and at 1024 pixels it is given the size."""

    pipeline = "PixArtAlphaPipeline"
    words = 120

    def added(self, transformer: nn.Module, noisy: Tensor) -> dict[str, Tensor | None]:
        """See :class:`PixArt`."""
        if config_of(transformer)["sample_size"] != 128:
            return super().added(transformer, noisy)
        images, _, height, width = noisy.shape
        size = torch.tensor([8.0 * height, 8.0 * width], device=noisy.device, dtype=noisy.dtype)
        return {"resolution": size.expand(images, 2), "aspect_ratio": noisy.new_full((images, 1), height / width)}
