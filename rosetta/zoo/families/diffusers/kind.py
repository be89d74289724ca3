"""What a kind of pipeline that makes images of prompts does in its own way.

Kinds differ in what their transformer is given and how it numbers its tokens, how steps are spaced, and what lies
between latents and images. Each method does what the library's own pipeline does at that place, with its own functions.
"""

import inspect
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.zoo.families.diffusers.pipeline import library

Texts = Mapping[str, Tensor]
"""What text encoders say of prompts, by name, each (prompt, …)."""
Classes = Mapping[str, Mapping[str, str]]
"""Of each component, the classes that may be named, and the library's class that stands for each."""

FLOW, SOLVER = "FlowMatchEulerDiscreteScheduler", "DPMSolverMultistepScheduler"
"""Schedulers."""
CLIP = frozenset({"CLIPTokenizer", "CLIPTokenizerFast"})
"""Classes of a tokenizer."""
T5 = frozenset({"T5Tokenizer", "T5TokenizerFast"})
"""Classes of another."""
_OF_TEXT = re.compile(
    r"context_embedder|caption_(projection|norm)|ff_context|norm[12]_context|add_[qkv]_proj|norm_added_[qk]|to_add_out"
)
"""Modules that run on the tokens of the prompt."""
_CROSS = re.compile(r".*\.attn2\.(to_k|to_v|norm_k)")
"""And those of attention from the image to the prompt that do."""


def same(*names: str) -> dict[str, str]:
    """Classes that stand for themselves."""
    return {name: name for name in names}


class Kind(ABC):
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
    crosses: ClassVar[bool] = False
    """Whether the image attends to the prompt in layers of their own."""

    @property
    def made(self) -> Any:
        """The library's class.

        Raises
        ------
        UserError
            The installed release does not have it.
        """
        made = getattr(library(), self.pipeline, None)
        if made is None:
            raise UserError(f"the installed diffusers have no {self.pipeline}; install a newer release")
        return made

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
            if (self.crosses and _CROSS.fullmatch(path)) or any(_OF_TEXT.fullmatch(part) for part in path.split(".")):
                yield path, {"sequences": False}
            elif self.text_first and re.fullmatch(r"transformer_blocks\.\d+", path):
                yield from text_then_image(path)
            elif self.text_first and re.fullmatch(r"transformer_blocks\.\d+\.attn", path):
                yield f"{path}@1", {"sequences": False}

    @abstractmethod
    def texts_of(self, transformer: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes of what text encoders say of a prompt, by the transformer's settings, as far as they are its own."""

    @abstractmethod
    def encode(self, pipeline: Any, prompts: Sequence[str], plain: bool, device: torch.device) -> dict[str, Tensor]:
        """What the pipeline's text encoders say of prompts.

        Parameters
        ----------
        plain
            Whether it is what guidance leads away from.
        device
            Where the text encoders are.
        """

    def set_timesteps(self, scheduler: Any, steps: int, tokens: int) -> None:
        """Space the steps of images of so many tokens."""
        scheduler.set_timesteps(steps)

    @abstractmethod
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


def text_then_image(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of a block that is given the image's tokens, and gives those of the prompt before them."""
    yield path, {"sequences": False}
    yield f"{path}@in", {}
    yield f"{path}@1", {}


def shift_of(module: Any, scheduler: Any, tokens: int, most: float = 1.15) -> float:
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


def config_of(module: nn.Module) -> Mapping[str, Any]:
    """A network's settings."""
    config: Mapping[str, Any] = module.config  # type: ignore[assignment]
    return config
