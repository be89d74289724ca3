"""Image models of transformers: DINOv2 and v3, CLIP, SigLIP, MAE, I-JEPA, BEiT, AIMv2, Swin, ConvNeXt and others."""

import inspect
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError, nearest
from rosetta.model_spec import Condition
from rosetta.units import Grid
from rosetta.zoo.architecture import Architecture, FolderFamily, OptionFamily, State
from rosetta.zoo.families.token_orders import layouts_of
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.options import Options
from rosetta.zoo.preprocessing import Preprocessing, require_patches
from rosetta.zoo.weights.fitting import Assignment
from rosetta.zoo.weights.source import Folder, Shards

_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_MORE_TYPES = (
    *("aimv2", "aimv2_vision_model"),
    "clip_vision_model",
    "ijepa",
    "siglip2_vision_model",
    "siglip_vision_model",
    "vit_mae",
    "yolos",
)
"""Types that look at images and classify none."""
_LAYERS = (
    ("**.layers.*.mlp.fc2@in", "**.layer.*.mlp.fc2@in"),
    ("**.layer.*.mlp.down_proj@in", "**.layers.*.ffn.down_proj@in"),
    ("encoder.layer.*.output.dense@in",),
    ("encoder.layers.*.blocks.*.output.dense@in",),
    ("encoder.layers.*.blocks.*.mlp.fc2@in",),
    ("encoder.layers.*.blocks.*.mlp.dense2@in", "encoder.block.*.*.mlp.dense2@in"),
    ("encoder.block.*.*.output.conv2@in",),
    ("encoder.stages.*",),
)
"""What the last projection of each MLP takes, as generations of the library name it; of convolutions their stages."""
_FILTERS = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""By the numbers of Pillow."""
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_RESAMPLE = "interpolate_pos_encoding"
"""What networks of the library are told where their images are of another size than their position embeddings."""
_UNUSED = ("head", "classifier", "pooler", "decoder", "text_model", "logit_scale", "logit_bias", "mask_token")
"""What a file may hold beyond the network that looks at images."""


class Transformers(OptionFamily, FolderFamily):
    """The family `transformers`; imports the library, which is optional, only when used.

    A name is a type of network as `config.json` states it, `dinov2` say, with a folder as weights; or a name of the
    hub, `facebook/dinov2-base`, or a folder's path, with weights `pretrained`. Only JSON and .safetensors are read, and
    code that comes with a model never runs. Of a model with a text tower, the image tower is taken.
    """

    name = "transformers"
    description = "image models of transformers: a type, or a name of the hub; pip install 'rosetta-mine[transformers]'"
    libraries = ("transformers",)
    fetches = True
    channels_last = False

    def names(self) -> list[str]:
        """Types of the installed release; empty where it is not installed."""
        try:
            library = _library()
        except UserError:
            return []
        return sorted({*library.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, *_MORE_TYPES})

    def construct(
        self, name: str, state: State | None, pretrained: bool, condition: Condition, options: Options
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.OptionFamily.construct`; options are fields of the configuration."""
        _library()
        from transformers import AutoConfig, AutoModel

        if pretrained:
            if name in self.names():
                remedy = f"give a folder as weights, or as the model a name of the hub, as transformers/ORG/{name}"
                raise UserError(f"transformers/{name} is a type of network and names no weights; {remedy}")
            if Path(name).is_dir():
                return self.construct_from(name, Folder(name, name), condition, options)[0]
            _require_name(name)
            with self.building(name, True, "a folder as save_pretrained writes it"):
                config = AutoConfig.from_pretrained(name, trust_remote_code=False)
            config = _changed(config, options, f"transformers/{name}")
            with self.building(name, True, "a folder as save_pretrained writes it", options):
                module, gaps = _from_pretrained(name, config)
                processor = _processor_of(name)
            _require_whole(gaps, f"transformers/{name}")
            return _with_assignment(_describe(module, processor, f"transformers/{name}"), module, gaps)
        if name in self.names():
            config, processor = AutoConfig.for_model(name), None
        elif Path(name).is_dir():
            folder = Folder(name, name)
            config, processor = _config(folder), _read_json(folder, _PROCESSOR)
        else:
            _require_name(name, self.names())
            with self.building(name, True, "a folder as save_pretrained writes it"):
                config, processor = AutoConfig.from_pretrained(name, trust_remote_code=False), _processor_of(name)
        config = _changed(config, options, f"transformers/{name}")
        with self.building(name, False, options=options):
            module = AutoModel.from_config(config, trust_remote_code=False)
        return _describe(module, processor, f"transformers/{name}")

    def prepare(self, architecture: Architecture, stated: Mapping[str, Any]) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.prepare`; the library resamples position embeddings."""
        size, module = stated.get("size"), architecture.module
        if size is not None:
            if (stride := _stride(module.config)) is not None:
                require_patches(size, stride)
            _resample(module, size)
            architecture = replace(architecture, traits=replace(architecture.traits, token_grid=_grid(module, size)))
        return super().prepare(architecture, stated)

    def files(self, name: str, folder: Folder) -> tuple[str, ...]:
        """See :meth:`rosetta.zoo.architecture.FolderFamily.files`."""
        if not folder.has(_CONFIG):
            raise UserError(f"weights {folder.text!r} have no {_CONFIG}; give a folder as save_pretrained writes it")
        beside = [_PROCESSOR] if folder.has(_PROCESSOR) else []
        if folder.has(_WEIGHTS):
            return (_CONFIG, *beside, _WEIGHTS)
        if folder.has(_INDEX):
            shards = Shards(folder.text, folder, _INDEX).files()
            return (_CONFIG, *beside, _INDEX, *(shard.text.rpartition("/")[2] for shard in shards))
        raise UserError(f"weights {folder.text!r} have no {_WEIGHTS}; save the model with safe_serialization=True")

    def build_from(self, name: str, folder: Folder, condition: Condition) -> tuple[Architecture, dict[str, Tensor]]:
        """See :meth:`rosetta.zoo.architecture.FolderFamily.build_from`."""
        return self.construct_from(name, folder, condition, Options())

    def construct_from(
        self, name: str, folder: Folder, condition: Condition, options: Options
    ) -> tuple[Architecture, dict[str, Tensor]]:
        """See :meth:`rosetta.zoo.architecture.FolderFamily.construct_from`."""
        _library()
        origin = f"weights {folder.text!r}"
        kind = str((_read_json(folder, _CONFIG) or {}).get("model_type"))
        if name in self.names() and kind not in (name, name.removesuffix("_vision_model")):
            raise UserError(f"{origin} are of a {kind}, not of transformers/{name}; name the model transformers/{kind}")
        config = _changed(_config(folder), options, f"transformers/{name}")
        with tempfile.TemporaryDirectory() as copy, self.building(name, False, options=options):
            # The library renames tensors of older releases, but only on its own way from a folder of this machine.
            module, gaps = _from_pretrained(_local(folder, self.files(name, folder), Path(copy)), config)
        _require_whole(gaps, origin)
        architecture = _with_assignment(_describe(module, _read_json(folder, _PROCESSOR), origin), module, gaps)
        return architecture, dict(architecture.module.state_dict())


def _changed(config: Any, options: Options, origin: str) -> Any:
    """A configuration with some of its fields changed; of a model with a text tower, those of the image tower.

    Raises
    ------
    UserError
        It has no such fields, or they cannot have these values.
    """
    from transformers import AutoConfig, PreTrainedConfig

    if not options.values:
        return config
    plain = config.to_dict()
    inside = plain["vision_config"] if isinstance(plain.get("vision_config"), dict) else plain
    options.require(origin, inside.keys() - PreTrainedConfig().to_dict().keys(), weights_tell=True)
    inside |= options.values
    for derived in ("stage_names", "out_features", "out_indices"):
        inside.pop(derived, None)
    try:
        return AutoConfig.for_model(plain.pop("model_type"), **plain)
    except Exception as error:  # the library checks each field in its own way
        raise UserError(f"{origin}{options}: {' '.join(str(error).split())[:200]}") from None


def _library() -> Any:
    try:
        from transformers.models.auto import modeling_auto
    except ImportError as error:
        raise UserError(
            f"transformers cannot be imported ({error}); pip install 'rosetta-mine[transformers]'"
        ) from None
    return modeling_auto


def _require_name(name: str, known: list[str] | None = None) -> None:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(
            f"transformers/{name} is no type of network, no folder and no name of the hub, ORG/NAME"
            f"{nearest(name, known or [])}"
        )


def _from_pretrained(place: str, config: Any) -> tuple[nn.Module, Mapping[str, Any]]:
    """A module with its weights, and which tensors were lacking."""
    from transformers import AutoModel
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        module, gaps = AutoModel.from_pretrained(
            place,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are refused in our own words
            output_loading_info=True,
        )
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    return module, gaps


def _require_whole(gaps: Mapping[str, Any], origin: str) -> None:
    """
    Raises
    ------
    UserError
        The network needs tensors that are not there, or are of another shape.
    """
    for kind, words in (("mismatched_keys", "have another shape for"), ("missing_keys", "lack")):
        names = [str(one[0] if isinstance(one, tuple) else one) for one in gaps.get(kind) or ()]
        names = [name for name in names if not any(part in _UNUSED for part in name.split("."))]
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise UserError(f"{origin} {words} {sorted(names)[0]}{more}; are they of another model?")


def _with_assignment(architecture: Architecture, whole: nn.Module, gaps: Mapping[str, Any]) -> Architecture:
    """With the names of the tensors that were loaded, and of those that were not, or not into the image tower."""
    own = Assignment.whole(architecture.module).used
    inside = "" if architecture.module is whole else "vision_model."
    missing = {str(name).removeprefix(inside) for name in gaps.get("missing_keys") or ()}
    beside = [name for name in Assignment.whole(whole).used if not name.startswith(inside)]
    return replace(
        architecture,
        assignment=Assignment(
            used=tuple(name for name in own if name not in missing),
            left_over=tuple(sorted(map(str, [*(gaps.get("unexpected_keys") or ()), *beside]))),
            filled_in=tuple(name for name in own if name in missing),
        ),
    )


def _local(folder: Folder, files: tuple[str, ...], copy: Path) -> str:
    """Some files of a folder, and no others for the library to find, in a folder of this machine."""
    for name in files:
        there = Path(folder.url, name)
        if "://" not in folder.url and there.is_file():
            (copy / name).symlink_to(there.resolve())
        else:
            with folder.file(name).open() as source:
                (copy / name).write_bytes(source.read())
    return str(copy)


def _config(folder: Folder) -> Any:
    """The configuration in a folder.

    Raises
    ------
    UserError
        There is none, the library knows no such type, or it asks for code of its own.
    """
    from transformers import AutoConfig

    found = _read_json(folder, _CONFIG)
    if found is None:
        raise UserError(f"weights {folder.text!r} have no {_CONFIG}; give a folder as save_pretrained writes it")
    if "auto_map" in found:
        raise UserError(f"weights {folder.text!r} come with code of their own, which is never run; use another model")
    kind = found.pop("model_type", None)
    try:
        return AutoConfig.for_model(str(kind), **found)
    except Exception as error:  # the library checks each field in its own way
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"weights {folder.text!r}: {_CONFIG} cannot be used: {reason}") from None


def _read_json(folder: Folder, name: str) -> dict[str, Any] | None:
    """What a file holds; None where there is no such file."""
    if not folder.has(name):
        return None
    with folder.file(name).open() as stream:
        try:
            found = json.load(stream)
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, dict):
        raise UserError(f"weights {folder.text!r}: {name} is no JSON object; copy the folder again")
    return found


def _processor_of(name: str) -> dict[str, Any] | None:
    from transformers import AutoImageProcessor

    try:
        return dict(AutoImageProcessor.from_pretrained(name, trust_remote_code=False).to_dict())
    except (OSError, ValueError):  # the model has none
        return None


def _describe(module: nn.Module, processor: Mapping[str, Any] | None, origin: str) -> Architecture:
    """A network with its preprocessing, default layers and traits."""
    tower: Any = getattr(module, "vision_model", None)
    if not isinstance(tower, nn.Module):
        tower = module
    config = tower.config
    if getattr(config, "num_channels", 3) != 3:
        raise UserError(f"{origin} takes images of {config.num_channels} channels; only RGB models can be mined")
    if config.model_type == "vit_mae":
        # In training, patches are left out and shuffled at random.
        tower.embeddings.random_masking = _all_in_order
    preprocessing = _preprocessing(processor or {}, config, origin)
    _resample(tower, preprocessing.size)
    if config.model_type.startswith("siglip2_vision"):
        tower.register_forward_pre_hook(partial(_as_patches, config.patch_size), with_kwargs=True)
    suffix = int(getattr(config, "num_detection_tokens", 0))
    traits = Traits(token_grid=_grid(tower, preprocessing.size), suffix_tokens=suffix, **layouts_of(tower))
    return Architecture(tower, preprocessing, preferred=_LAYERS, traits=traits)


def _resample(tower: nn.Module, size: Grid) -> None:
    """Let a network resample its position embeddings where images have another size than these."""
    takes = inspect.signature(tower.forward).parameters
    if _RESAMPLE in takes and size != _pair(getattr(tower.config, "image_size", None)):
        tower.forward = partial(tower.forward, **{_RESAMPLE: True})


def _grid(tower: nn.Module, size: Grid) -> Grid | None:
    """The grid of patches of images of a size."""
    stride = _stride(tower.config)
    return None if stride is None else (size[0] // stride[0], size[1] // stride[1])


def _stride(config: Any) -> Grid | None:
    """Pixels from one patch to the next, of a network whose patches have one size; they overlap in some (Hiera)."""
    return _pair(getattr(config, "patch_stride", None)) or _pair(getattr(config, "patch_size", None))


def _as_patches(
    side: int, _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[()], dict[str, Any]]:
    """What SigLIP 2 takes of images (image, rgb, y, x) that all have one size: their patches, none of them hidden."""
    (images,) = arguments
    count, _, height, width = images.shape
    rows, columns = height // side, width // side
    patches = images[:, :, : rows * side, : columns * side].unflatten(3, (columns, side)).unflatten(2, (rows, side))
    values = patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
    # The library resizes its position embeddings by these numbers, which are not to lie on a device without values.
    shapes = torch.tensor([[rows, columns]], device="cpu").expand(count, 2)
    return (), {**named, "pixel_values": values, "pixel_attention_mask": None, "spatial_shapes": shapes}


def _all_in_order(tokens: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """What ViTMAE's masking gives where nothing is masked."""
    order = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[0], -1)
    return tokens, torch.zeros(order.shape, device=tokens.device), order


def _preprocessing(processor: Mapping[str, Any], config: Any, origin: str) -> Preprocessing:
    """What the publisher does to images but for cropping, see :class:`rosetta.zoo.preprocessing.Preprocessing`."""
    if processor.get("do_rescale") is False or abs(255 * float(processor.get("rescale_factor", 1 / 255)) - 1) > 1e-3:
        raise UserError(f"{origin}: {_PROCESSOR} scales pixels to another range than 0 to 1; such models are not taken")
    cropped = processor.get("crop_size") if processor.get("do_center_crop", "crop_size" in processor) else None
    size = _pair(cropped) or _pair(processor.get("size")) or _pair(getattr(config, "image_size", None)) or (224, 224)
    mean, std = (tuple(processor.get(name) or values) for name, values in _IMAGENET.items())
    if processor.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    number = processor.get("resample", 2)
    if number not in _FILTERS:
        raise UserError(
            f"{origin}: {_PROCESSOR} asks for the filter {number}; state interpolation in the model's table"
        )
    return Preprocessing.published(size, _FILTERS[number], mean, std)


def _pair(value: Any) -> Grid | None:
    """A size as the library's files state it."""
    if isinstance(value, Mapping):
        edge = value.get("shortest_edge")
        value = (value.get("height", edge), value.get("width", edge))
    if isinstance(value, int):
        value = (value, value)
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(side, int) for side in value):
        return int(value[0]), int(value[1])
    return None
