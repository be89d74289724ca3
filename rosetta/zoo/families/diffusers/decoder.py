"""Decoders of autoencoders as generators of what standard normal latents decode to.

    z ─► · std / scaling_factor + mean ─► decoder ─► image

They are scaled as the library's pipelines scale what they denoise. Such latents have the spread of an encoder's but not
what is between their positions, so that images are textures and not photographs: good for what a decoder's channels
paint, not for what a diffusion model composes.
"""

import inspect
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture
from rosetta.zoo.families.diffusers.pipeline import library, modern
from rosetta.zoo.weights.checkpoint import read_tensors
from rosetta.zoo.weights.source import Folder

NAME = "vae-custom"
"""Of an autoencoder whose configuration is that of its folder."""
CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC", "VQModel")
"""Classes of the library that decode maps of latents."""
_SIZE = 256
"""Side of the images, in pixels, where a configuration names none."""
_MOST_SIDE = 8192
_MOST_JSON = 1 << 20
_CONFIG, _TENSORS = "config.json", "diffusion_pytorch_model.safetensors"
_ONLY_ENCODING = ("encoder", "quant_conv")


class Decoder(nn.Module):
    """The half of an autoencoder that makes images.

    Parameters
    ----------
    vae
        An autoencoder of the library; it loses what only encodes.
    channels, height, width
        Of its latents.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, vae: Any, channels: int, height: int, width: int) -> None:
        super().__init__()
        for part in _ONLY_ENCODING:
            if getattr(vae, part, None) is not None:
                setattr(vae, part, None)
        self.vae, self.shape = vae, (channels, height, width)
        settled = vae.config
        mean, std = getattr(settled, "latents_mean", None), getattr(settled, "latents_std", None)
        if mean is None or std is None:
            mean, std = getattr(settled, "shift_factor", None) or 0.0, 1.0
        for name, values in (("mean", mean), ("std", std)):
            each = torch.as_tensor(values, dtype=torch.float32).expand(channels).clone()
            self.register_buffer(name, each[:, None, None], persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """(image, channel · y · x) standard normal → (image, rgb, y, x), in −1..1 but for what it oversteps."""
        latents = z.unflatten(1, self.shape) * self.std / self.vae.config.scaling_factor + self.mean
        images: Tensor = self.vae.decode(latents, return_dict=False)[0]
        return images


def files(folder: Folder) -> tuple[str, ...]:
    """The files that are read of an autoencoder's folder, or of the `vae` in a pipeline's.

    Raises
    ------
    UserError
        There is no autoencoder in it, or its tensors are a pickle.
    """
    inside = next((inside for inside in ("", "vae/") if folder.has(f"{inside}{_CONFIG}")), None)
    if inside is None:
        raise UserError(
            f"weights {folder.text!r}: there is no {_CONFIG} in it, nor in a folder vae; give the folder that "
            "save_pretrained of an autoencoder wrote"
        )
    pickled = f"{inside}{_TENSORS.replace('.safetensors', '.bin')}"
    if folder.has(pickled) and not folder.has(f"{inside}{_TENSORS}"):
        raise UserError(
            f"weights {folder.text!r}: {pickled} is a pickle, and only .safetensors are read; load the autoencoder "
            "once and save it again with save_pretrained"
        )
    return f"{inside}{_CONFIG}", f"{inside}{_TENSORS}"


def build_from(folder: Folder, condition: Condition) -> tuple[Architecture, dict[str, Tensor]]:
    """The decoder in a folder as a generator, with its tensors.

    Raises
    ------
    UserError
        As :func:`files`; or the library cannot build it, or it is told what only a diffusion model takes.
    """
    origin = f"weights {folder.text!r}"
    for name in condition.given:
        if name not in ("bound", "classes"):
            raise UserError(f"diffusers/{NAME} takes no condition.{name}; remove it (it takes bound)")
    config_file, tensors_file = files(folder)
    vae, size = _built(_config(folder, config_file), origin)
    channels, scale, layers = _described(vae)
    height, width = (side // scale for side in size)
    if not height or not width:
        raise UserError(f"{origin}: sample_size is {list(size)}, less than the {scale} pixels of a latent; correct it")
    architecture = Architecture(
        Decoder(vae, channels, height, width),
        latent=channels * height * width,
        image_size=(height * scale, width * scale),
        layers=tuple(f"vae.decoder.{layer}" for layer in layers),
    )
    tensors = modern(read_tensors(folder.file(tensors_file)))
    kept = {name: tensor for name, tensor in tensors.items() if name.partition(".")[0] not in _ONLY_ENCODING}
    return architecture, {f"vae.{name}": tensor for name, tensor in kept.items()}


def _built(config: Mapping[str, Any], origin: str) -> tuple[Any, tuple[int, int]]:
    """An autoencoder without its weights, and the height and width of its images."""
    named = config.get("_class_name")
    if named not in CLASSES:
        raise UserError(
            f"{origin} are of class {named!r}, which is not known here; an autoencoder can be {' or '.join(CLASSES)}"
        )
    kind = getattr(library(), str(named))
    known = inspect.signature(kind.__init__).parameters
    size = config.get("sample_size", known["sample_size"].default) if "sample_size" in known else _SIZE
    sides = tuple(size) if isinstance(size, list) else (size, size)
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= _MOST_SIDE for side in sides):
        raise UserError(f"{origin}: sample_size is {size!r}, not from 1 to {_MOST_SIDE} pixels; correct it")
    colours = [config.get(name, 3) for name in ("in_channels", "out_channels")]
    if colours != [3, 3]:
        raise UserError(f"{origin}: its images have {colours[-1]} channels; only RGB models can be mined")
    try:
        return kind(**{name: value for name, value in config.items() if name in known}), (sides[0], sides[1])
    except Exception as error:  # settings that do not go together raise anything
        raise UserError(f"{origin}: diffusers cannot build its autoencoder: {error}") from None


def _described(vae: Any) -> tuple[int, int, list[str]]:
    """Channels of the latents, pixels along a latent's side, and paths of the blocks of the decoder."""
    settled, kind = vae.config, type(vae).__name__
    if kind == "AutoencoderTiny":
        scale = settled.upsampling_scaling_factor ** (len(settled.num_decoder_blocks) - 1)
        parts = vae.decoder.layers.named_children()
        return settled.latent_channels, scale, [f"layers.{at}" for at, part in parts if hasattr(part, "fuse")]
    if kind == "AutoencoderDC":
        return settled.latent_channels, 2 ** (len(settled.decoder_block_out_channels) - 1), ["up_blocks.*"]
    channels = getattr(settled, "vq_embed_dim", None) or settled.latent_channels
    return channels, 2 ** (len(settled.block_out_channels) - 1), ["mid_block", "up_blocks.*"]


def _config(folder: Folder, name: str) -> dict[str, Any]:
    with folder.file(name).open() as stream:
        content = stream.read(_MOST_JSON + 1)
    try:
        data = json.loads(content) if len(content) <= _MOST_JSON else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise UserError(f"weights {folder.text!r}: {name} is no JSON object; copy or save the autoencoder again")
    return data
