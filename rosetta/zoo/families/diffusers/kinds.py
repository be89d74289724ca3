"""Kinds of pipelines that make images of prompts: Flux, Flux.2-klein, Stable Diffusion 3, Sana, PixArt.

What they differ in: what their transformer is given and how it numbers its tokens, how steps are spaced, and what lies
between latents and images. Each method does what the library's own pipeline does at that place, with its own functions.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rosetta.zoo.families.diffusers.pipeline import library

Texts = Mapping[str, Tensor]
"""What text encoders say of prompts, by name, each (prompt, …)."""
Classes = Mapping[str, Mapping[str, str]]
"""Of each component, the classes that may be named, and the library's class that stands for each."""

FLOW, SOLVER = "FlowMatchEulerDiscreteScheduler", "DPMSolverMultistepScheduler"
_CLIP = frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})
_T5 = frozenset({"T5Tokenizer", "T5TokenizerFast"})
_OF_TEXT = re.compile(
    r"context_embedder|caption_(projection|norm)|ff_context|norm[12]_context|add_[qkv]_proj|norm_added_[qk]|to_add_out"
)
"""Modules that run on the tokens of the prompt."""
_CROSS = re.compile(r".*\.attn2\.(to_k|to_v|norm_k)")
"""And those of attention from the image to the prompt that do."""


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


class Kind:
    """One kind of pipeline."""

    pipeline: ClassVar[str]
    """The library's class, as `model_index.json` names it."""
    classes: ClassVar[Classes]
    """Networks and schedulers."""
    encoders: ClassVar[Mapping[str, str]]
    """The class of each text encoder."""
    tokenizers: ClassVar[Mapping[str, frozenset[str]]]
    """The classes that each tokenizer may have."""
    words: int = 300
    """Most tokens of a prompt; a longer one is cut, a shorter one padded."""
    optional: ClassVar[frozenset[str]] = frozenset()
    """Text encoders and tokenizers that may be missing."""
    packs: ClassVar[int] = 1
    """How many of the autoencoder's positions on a side are one of the latents', in channels."""
    side: ClassVar[int | None] = None
    """Of the autoencoder's latents, where the transformer does not say."""
    text_first: ClassVar[bool] = False
    """Whether blocks give the prompt's tokens before the image's."""

    @property
    def made(self) -> Any:
        """The library's class."""
        return getattr(library(), self.pipeline)

    @property
    def module(self) -> Any:
        """The library's module of that class, with its functions."""
        return sys.modules[self.made.__module__]

    def default(self, name: str) -> Any:
        """What the library's pipeline takes where a call does not say."""
        return inspect.signature(self.made.__call__).parameters[name].default

    def compression(self, vae: Mapping[str, Any]) -> int:
        """Pixels on a side of the autoencoder's positions, by its settings."""
        return 2 ** (len(vae.get("encoder_block_out_channels") or vae["block_out_channels"]) - 1)

    def latents(self, channels: int, height: int, width: int) -> tuple[int, int, int]:
        """Shape of latents, by the transformer's channels and the autoencoder's positions."""
        return channels, height, width

    def layers(self, transformer: Any) -> tuple[str, ...]:
        """Places of MLP neurons: what goes into the second projection."""
        return ("transformer_blocks.*.ff.net.2@in",)

    def exceptions(self, transformer: nn.Module, tokens: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Places where sequences are not the image's tokens alone, and how they differ.

        Parameters
        ----------
        tokens
            How many tokens a prompt has.
        """
        for path, _ in transformer.named_modules():
            if _CROSS.fullmatch(path) or any(_OF_TEXT.fullmatch(part) for part in path.split(".")):
                yield path, {"sequences": False}
            elif self.text_first and re.fullmatch(r"transformer_blocks\.\d+", path):
                yield from _text_then_image(path)
            elif self.text_first and re.fullmatch(r"transformer_blocks\.\d+\.attn", path):
                yield f"{path}@1", {"sequences": False}

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes of what text encoders say of a prompt, by the transformer's settings, as far as they are its own."""
        raise NotImplementedError

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool) -> dict[str, Tensor]:
        """What the pipeline's text encoders say of prompts.

        Parameters
        ----------
        plain
            Whether it is what guidance leads away from.
        """
        raise NotImplementedError

    def set_timesteps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """Space the steps of images of so many tokens."""
        scheduler.set_timesteps(steps)

    def predict(self, transformer: nn.Module, noisy: Tensor, time: Tensor, texts: Texts, guidance: float) -> Tensor:
        """What the transformer says of (image, channel, y, x) latents, in that shape.

        Parameters
        ----------
        time
            (image,) on the scale of the scheduler.
        texts
            Of each image's prompt.
        guidance
            The scale that the transformer is given, where it takes one.
        """
        raise NotImplementedError

    def encode_images(self, vae: Any, images: Tensor) -> Tensor:
        """(image, channel, y, x) latents of images: of an encoder's distribution, the mean."""
        mean: Tensor = vae.encode(images, return_dict=False)[0].mean
        return (mean - (vae.config.shift_factor or 0)) * vae.config.scaling_factor

    def decode(self, vae: Any, latents: Tensor) -> Tensor:
        """(image, rgb, y, x) of latents."""
        scaled = latents / vae.config.scaling_factor + (vae.config.shift_factor or 0)
        images: Tensor = vae.decode(scaled, return_dict=False)[0]
        return images

    def embeds_guidance(self, transformer: Mapping[str, Any]) -> bool:
        """Whether the transformer is given the guidance, which it was distilled with."""
        return False

    def takes_guidance(self, index: Mapping[str, Any]) -> bool:
        """Whether classifier-free guidance is for this pipeline, by its own settings."""
        return True


class Flux(Kind):
    """Flux.1 of Black Forest Labs: blocks of two streams, then of one, in which text and image are one sequence."""

    pipeline = "FluxPipeline"
    classes: ClassVar[Classes] = {
        "transformer": _same("FluxTransformer2DModel"),
        "vae": _same("AutoencoderKL"),
        "scheduler": _same(FLOW),
    }
    encoders: ClassVar = {"text_encoder": "CLIPTextModel", "text_encoder_2": "T5EncoderModel"}
    tokenizers: ClassVar = {"tokenizer": _CLIP, "tokenizer_2": _T5}
    words, packs, side, text_first = 512, 2, 128, True

    def latents(self, channels: int, height: int, width: int) -> tuple[int, int, int]:
        """See :class:`Kind`; they are packed only for the transformer."""
        return channels // 4, height, width

    def layers(self, transformer: Any) -> tuple[str, ...]:
        """See :class:`Kind`."""
        found = {
            "transformer_blocks.*.ff.net.2@in": transformer.transformer_blocks,
            "single_transformer_blocks.*.act_mlp": transformer.single_transformer_blocks,
        }
        return tuple(place for place, blocks in found.items() if len(blocks))

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
        return _text_then_image(path)

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        pooled = (transformer["pooled_projection_dim"],)
        return {"prompt": (self.words, transformer["joint_attention_dim"]), "pooled": pooled}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool) -> dict[str, Tensor]:
        """See :class:`Kind`."""
        found, pooled, _ = pipeline.encode_prompt(list(prompts), None, device="cpu", max_sequence_length=self.words)
        return {"prompt": found, "pooled": pooled}

    def set_timesteps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """See :class:`Kind`."""
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=_shift(self.module, scheduler, tokens))

    def predict(self, transformer: nn.Module, noisy: Tensor, time: Tensor, texts: Texts, guidance: float) -> Tensor:
        """See :class:`Kind`."""
        images, channels, height, width = noisy.shape
        prompt = texts["prompt"]
        said = transformer(
            hidden_states=self.made._pack_latents(noisy.contiguous(), images, channels, height, width),
            timestep=time.to(noisy.dtype) / 1000,
            guidance=noisy.new_full((images,), guidance) if self.embeds_guidance(_config(transformer)) else None,
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
        "transformer": _same("Flux2Transformer2DModel"),
        "vae": _same("AutoencoderKLFlux2"),
        "scheduler": _same(FLOW),
    }
    encoders: ClassVar = {"text_encoder": "Qwen3ForCausalLM"}
    tokenizers: ClassVar = {"tokenizer": frozenset({"Qwen2Tokenizer", "Qwen2TokenizerFast"})}

    def latents(self, channels: int, height: int, width: int) -> tuple[int, int, int]:
        """See :class:`Kind`; noise is drawn for packed ones."""
        return channels, height // 2, width // 2

    def layers(self, transformer: Any) -> tuple[str, ...]:
        """See :class:`Kind`."""
        found = {
            "transformer_blocks.*.ff.linear_out@in": transformer.transformer_blocks,
            "single_transformer_blocks.*.attn.mlp_act_fn": transformer.single_transformer_blocks,
        }
        return tuple(place for place, blocks in found.items() if len(blocks))

    def _single_block(self, path: str, tokens: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        yield path, {"prefix_tokens": tokens}

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        return {"prompt": (self.words, transformer["joint_attention_dim"])}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool) -> dict[str, Tensor]:
        """See :class:`Kind`."""
        return {"prompt": pipeline.encode_prompt(list(prompts), device="cpu", max_sequence_length=self.words)[0]}

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


class StableDiffusion3(Kind):
    """Stable Diffusion 3: text and image in streams of their own."""

    pipeline = "StableDiffusion3Pipeline"
    classes: ClassVar[Classes] = {
        "transformer": _same("SD3Transformer2DModel"),
        "vae": _same("AutoencoderKL"),
        "scheduler": _same(FLOW),
    }
    encoders: ClassVar = {
        "text_encoder": "CLIPTextModelWithProjection",
        "text_encoder_2": "CLIPTextModelWithProjection",
        "text_encoder_3": "T5EncoderModel",
    }
    tokenizers: ClassVar = {"tokenizer": _CLIP, "tokenizer_2": _CLIP, "tokenizer_3": _T5}
    optional = frozenset({"text_encoder_3", "tokenizer_3"})
    words, text_first = 256, True

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        pooled = (transformer["pooled_projection_dim"],)
        return {"prompt": (77 + self.words, transformer["joint_attention_dim"]), "pooled": pooled}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool) -> dict[str, Tensor]:
        """See :class:`Kind`."""
        found, _, pooled, _ = pipeline.encode_prompt(
            list(prompts),
            None,
            None,
            device="cpu",
            do_classifier_free_guidance=False,
            max_sequence_length=self.words,
        )
        return {"prompt": found, "pooled": pooled}

    def set_timesteps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """See :class:`Kind`."""
        shifts = scheduler.config.use_dynamic_shifting
        scheduler.set_timesteps(steps, mu=_shift(self.module, scheduler, tokens, 1.16) if shifts else None)

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


class Sana(Kind):
    """Sana of NVIDIA: linear attention, and MLPs that are convolutions."""

    pipeline = "SanaPipeline"
    classes: ClassVar[Classes] = {
        "transformer": _same("SanaTransformer2DModel"),
        "vae": _same("AutoencoderDC"),
        "scheduler": _same(SOLVER, FLOW),
    }
    encoders: ClassVar = {"text_encoder": "Gemma2Model"}
    tokenizers: ClassVar = {"tokenizer": frozenset({"GemmaTokenizer", "GemmaTokenizerFast"})}

    def layers(self, transformer: Any) -> tuple[str, ...]:
        """See :class:`Kind`."""
        return ("transformer_blocks.*.ff.conv_point@in",)

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        return {"prompt": (self.words, transformer["caption_channels"]), "mask": (self.words,)}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool) -> dict[str, Tensor]:
        """See :class:`Kind`; prompts follow the instruction that the library's pipeline puts before them."""
        instruction = None if plain else self.default("complex_human_instruction")
        found, mask, _, _ = pipeline.encode_prompt(
            list(prompts),
            False,
            device="cpu",
            max_sequence_length=self.words,
            complex_human_instruction=instruction,
        )
        return {"prompt": found, "mask": mask}

    def predict(self, transformer: nn.Module, noisy: Tensor, time: Tensor, texts: Texts, guidance: float) -> Tensor:
        """See :class:`Kind`."""
        said: Tensor = transformer(
            noisy,
            encoder_hidden_states=texts["prompt"],
            encoder_attention_mask=texts["mask"],
            timestep=time * _config(transformer)["timestep_scale"],
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


class PixArt(Kind):
    """PixArt-Σ (Chen et al., 2024, arXiv 2403.04692): a DiT with attention to the prompt. It was trained on noise."""

    pipeline = "PixArtSigmaPipeline"
    classes: ClassVar[Classes] = {
        # The second is the class that it was first published with.
        "transformer": {
            "PixArtTransformer2DModel": "PixArtTransformer2DModel",
            "Transformer2DModel": "PixArtTransformer2DModel",
        },
        "vae": _same("AutoencoderKL"),
        "scheduler": _same(SOLVER),
    }
    encoders: ClassVar = {"text_encoder": "T5EncoderModel"}
    tokenizers: ClassVar = {"tokenizer": _T5}

    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """See :class:`Kind`."""
        return {"prompt": (self.words, transformer["caption_channels"]), "mask": (self.words,)}

    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool) -> dict[str, Tensor]:
        """See :class:`Kind`.

        Prompts are in lower case but not cleaned of links and tags, for which the library needs a package that may not
        be there.
        """
        found, mask, _, _ = pipeline.encode_prompt(
            list(prompts), False, device="cpu", clean_caption=False, max_sequence_length=self.words
        )
        return {"prompt": found, "mask": mask}

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
        if _config(transformer)["sample_size"] != 128:
            return super().added(transformer, noisy)
        images, _, height, width = noisy.shape
        size = torch.tensor([8.0 * height, 8.0 * width], device=noisy.device, dtype=noisy.dtype)
        return {"resolution": size.expand(images, 2), "aspect_ratio": noisy.new_full((images, 1), height / width)}


KINDS: Mapping[str, Kind] = {
    kind.pipeline: kind for kind in (Flux(), Flux2Klein(), StableDiffusion3(), Sana(), PixArt(), PixArtAlpha())
}
"""By the class that `model_index.json` names."""


def _text_then_image(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of a block that is given the image's tokens, and gives those of the prompt before them."""
    yield path, {"sequences": False}
    yield f"{path}@in", {}
    yield f"{path}@1", {}


def _shift(module: Any, scheduler: Any, tokens: int, most: float = 1.15) -> float:
    """How far steps are shifted towards noise for images of so many tokens."""
    get = scheduler.config.get
    shift: float = module.calculate_shift(
        tokens,
        get("base_image_seq_len", 256),
        get("max_image_seq_len", 4096),
        get("base_shift", 0.5),
        get("max_shift", most),
    )
    return shift


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """(1, channel, 1, 1) mean and deviation of packed latents."""
    mean, variance = (values.view(1, -1, 1, 1) for values in (vae.bn.running_mean, vae.bn.running_var))
    return mean, torch.sqrt(variance + vae.config.batch_norm_eps)


def _config(module: nn.Module) -> Mapping[str, Any]:
    config: Mapping[str, Any] = module.config  # type: ignore[assignment]
    return config
