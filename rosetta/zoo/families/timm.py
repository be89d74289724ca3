"""Any image model of timm."""

import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError, nearest
from rosetta.model_spec import Condition
from rosetta.units import Grid
from rosetta.zoo.architecture import Architecture, OptionFamily, State
from rosetta.zoo.families.token_orders import layouts_of
from rosetta.zoo.lean_import import without_compiler
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.options import Options, parameters
from rosetta.zoo.preprocessing import Preprocessing, differing, require_patches
from rosetta.zoo.weights.source import forked_rng

RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
_MLP_ACTIVATIONS = ("blocks.*.mlp.act", "encoder.blocks.*.mlp.act")
_BRANCHES = ("blocks.*.blocks.*.*.mlp.act",)
"""The same of both branches of CrossViT."""
_BACKBONES = ("patch_embed.backbone.stages.*", "patch_embed.backbone.layer[1-4]")
"""Convolutions whose maps are the patches of a transformer."""
_GATED = {"SwiGLU": "fc2", "GluMlp": "fc2", "GeGluMlp": "w2", "Gemma4GatedMlp": "down_proj"}
"""Classes of gated MLPs, with what takes their hidden units: the activation there is one factor of them only."""
_RGB = 3
_LISTS = ("SelecSls",)
"""Classes whose stages put out a list that begins with their maps."""
LOCAL_DIR = "local-dir:"
_STATES = ("EfficientViM",)
"""Classes whose sequences are of hidden states; their maps have two axes of places."""


class Timm(OptionFamily):
    """The family `timm`; imports the library only when used, as that takes seconds."""

    name = "timm"
    description = "any image model of timm, by its name there, a tag if need be, hf-hub:ORG/NAME or local-dir:PATH"
    libraries = ("timm",)
    fetches = True

    def names(self) -> list[str]:
        """Architectures of the installed release, without tags."""
        timm = _library()

        return sorted(timm.list_models())

    def construct(
        self, name: str, state: State | None, pretrained: bool, condition: Condition, options: Options
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.OptionFamily.construct`."""
        timm = _library()

        if is_saved(name):
            require_saved(name, "config.json", ("model.safetensors",))
        else:
            self._require_model(name)
        known: dict[str, Any] = {} if state is None or is_saved(name) else _classes(name, state)
        if options.values or options.size:
            with self.building(name, pretrained):
                kind = _kind(name)
            takes = parameters(kind)
            options.require(f"timm/{name}", takes, weights_tell=pretrained or state is not None)
            known |= options.values
            if options.size and "img_size" in takes and not hasattr(kind, "set_input_size"):
                known["img_size"] = options.size
        with self.building(name, pretrained, options=options):
            module: nn.Module = timm.create_model(name, pretrained=pretrained, **known)
        return describe(module)

    def _require_model(self, name: str) -> None:
        """
        Raises
        ------
        UserError
            There is no such architecture, or it has no such tag.
        """
        timm = _library()
        if not timm.is_model(name):
            raise UserError(f"timm has no model {name!r}{nearest(name, self.names())}")
        tags = {found.partition(".")[2] for found in timm.list_pretrained(f"{name.partition('.')[0]}.*")}
        tag = name.partition(".")[2]
        if tag and tag not in tags:
            raise UserError(f"timm/{name}: no tag {tag!r}{nearest(tag, tags) or f'; it has {sorted(tags)}'}")

    def translate(self, module: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The architecture's own way to read the checkpoints of its authors, where timm has one."""
        convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
        if convert is None:
            return state
        try:
            converted = convert(dict(state), module)
        except Exception:  # made for other checkpoints than this; the caller reports what differs
            return state
        return converted if isinstance(converted, Mapping) else state

    def prepare(self, architecture: Architecture, stated: Mapping[str, Any]) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.prepare`; position embeddings are resized where timm does so."""
        module = architecture.module
        embed = getattr(module, "patch_embed", None)
        if "size" in stated and isinstance(embed, _library().layers.PatchEmbed) and not embed.dynamic_img_pad:
            require_patches(stated["size"], embed.patch_size)
        resize = getattr(module, "set_input_size", None)
        if "size" in stated and resize is not None:
            try:
                resize(img_size=stated["size"])
            except Exception as error:  # patches that do not fit into it, say
                height, width = stated["size"]
                raise UserError(f"cannot take images of {height} × {width}: {error}; state another size") from None
        if "size" in stated:
            architecture = describe(module, stated["size"])
        return super().prepare(architecture, stated)

    def classes(self, name: str, module: nn.Module, count: int) -> Sequence[str] | None:
        """See :meth:`rosetta.zoo.architecture.Family.classes`; names are those of ImageNet and its subsets."""
        data = _library().data
        if getattr(module, "num_classes", 0) != count:
            return None
        subset = data.infer_imagenet_subset(module)
        names = [] if subset is None else data.ImageNetInfo(subset).label_descriptions()
        return names if len(names) == count else []

    def unsure(self, name: str) -> tuple[str, ...]:
        """See :meth:`rosetta.zoo.architecture.Family.unsure`; a tag settles it."""
        timm = _library()

        if "." in name or is_saved(name):
            return ()
        configs = (timm.get_pretrained_cfg(tagged) for tagged in timm.list_pretrained(f"{name}.*"))
        return differing(
            _preprocessing(vars(config)) for config in configs if config is not None and config.input_size[0] == _RGB
        )


def is_saved(name: str) -> bool:
    """Whether a name is that of a saved model, on the hub or in a folder, and not of an architecture."""
    return name.startswith(("hf-hub:", LOCAL_DIR))


def require_saved(name: str, config: str, weights: tuple[str, ...]) -> None:
    """
    Raises
    ------
    UserError
        The folder that a name points to has no such configuration, or none of these files of weights.
    """
    if not name.startswith(LOCAL_DIR):
        return
    folder = Path(name.removeprefix(LOCAL_DIR))
    if not (folder / config).is_file():
        raise UserError(f"{folder} has no {config}; give a folder as the library saves a model")
    if not any((folder / file).is_file() for file in weights):
        raise UserError(f"{folder} has no {weights[0]}; only .safetensors are read from a folder")


def _library() -> Any:
    with without_compiler():
        import timm
    return timm


@lru_cache(maxsize=64)
def _kind(name: str) -> type[nn.Module]:
    """The class of a model, which knows what options there are."""
    timm = _library()
    with forked_rng(None):
        try:
            with torch.device("meta"):
                return type(timm.create_model(name))
        except Exception:  # its initialisation asks for values
            return type(timm.create_model(name))


def describe(module: nn.Module, image: Grid | None = None) -> Architecture:
    """A timm module with its preprocessing and its default layers.

    Parameters
    ----------
    module
        Of timm.
    image
        Height and width of its images, where these are not those of its configuration.
    """
    config = _library().data.resolve_model_data_config(module)
    channels, height, width = config["input_size"]
    if channels != _RGB:
        raise UserError(f"timm model takes images of {channels} channels; only RGB models can be mined")
    stages = _stages(module)
    resnet = all(hasattr(module, stage) for stage in RESNET_STAGES)
    transformers = (*_gated(module), _MLP_ACTIVATIONS, _BRANCHES, (*_BACKBONES, *_MLP_ACTIVATIONS))
    if type(module).__name__ in _LISTS:
        stages = tuple(glob for stage in stages for glob in (stage, f"{stage}@0"))
    return Architecture(
        module,
        _preprocessing(config),
        published=_published(module),
        preferred=(RESNET_STAGES,) if resnet else (*transformers, stages),
        traits=traits_of(module, image or (height, width)),
    )


def _stages(module: nn.Module) -> tuple[str, ...]:
    """The modules whose outputs timm itself offers as maps."""
    return tuple(info["module"] for info in getattr(module, "feature_info", None) or () if info.get("module"))


def _published(module: nn.Module) -> str | None:
    """The name, with its tag, of the weights whose configuration a module has."""
    config: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    name, tag = config.get("architecture"), config.get("tag")
    return f"timm/{name}.{tag}" if name and tag else None


def _gated(module: nn.Module) -> list[tuple[str, ...]]:
    """The hidden units of a network's gated MLPs, as default layers; none where it has no such."""
    globs = {
        f"{re.sub(r'(?<=[.])[0-9]+(?=[.])', '*', path)}.{_GATED[type(part).__name__]}@in"
        for path, part in module.named_modules()
        if type(part).__name__ in _GATED
    }
    return [tuple(sorted(globs))] if globs else []


def _preprocessing(config: Mapping[str, Any]) -> Preprocessing:
    _, height, width = config["input_size"]
    return Preprocessing.published((height, width), config["interpolation"], config["mean"], config["std"])


def traits_of(module: nn.Module, image: Grid | None) -> Traits:
    """What a module of timm's conventions says about its tensors, given images of one size."""
    prefix = getattr(module, "num_prefix_tokens", None)
    # Transformers say so of what they return, which inside is a sequence; the others of all that they compute.
    last = getattr(module, "output_fmt", "NCHW") == "NHWC"
    declared = layouts_of(module)
    for stage in _stages(module):
        declared["exceptions"].setdefault(stage, {"channels_last": last})
    return Traits(
        channels_last=last or None,
        sequences=type(module).__name__ not in _STATES,
        prefix_tokens=prefix if isinstance(prefix, int) else None,
        token_grid=_token_grid(getattr(module, "patch_embed", None), image),
        **declared,
    )


def _token_grid(patch_embed: Any, image: Grid | None) -> Grid | None:
    """The grid of patches, where it is stated for images of this size; networks may take others than they state."""
    size, grid = (getattr(patch_embed, name, None) for name in ("img_size", "grid_size"))
    stated = (size, size) if isinstance(size, int) else size
    if not isinstance(grid, tuple | list) or len(grid) != 2 or stated is None or tuple(stated) != image:
        return None
    return int(grid[0]), int(grid[1])


def _classes(name: str, state: Mapping[str, Tensor]) -> dict[str, int]:
    """The number of classes of a fine-tuned checkpoint, where it is not the architecture's usual one."""
    timm = _library()

    config = timm.get_pretrained_cfg(name)
    classifier = getattr(config, "classifier", None)
    head = classifier[0] if isinstance(classifier, tuple | list) else classifier
    bias = state.get(f"{head}.bias")
    usual = getattr(config, "num_classes", None)
    return {"num_classes": bias.shape[0]} if bias is not None and bias.ndim == 1 and bias.shape[0] != usual else {}
