"""Any classification model of torchvision."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.units import Grid
from rosetta.zoo.architecture import Architecture, OptionFamily, State
from rosetta.zoo.families.timm import RESNET_STAGES
from rosetta.zoo.families.token_orders import layouts_of
from rosetta.zoo.lean_import import without_compiler
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.notes import say
from rosetta.zoo.options import Options, parameters
from rosetta.zoo.preprocessing import RGB, Preprocessing, differing
from rosetta.zoo.weights.source import forked_rng

_MLP_ACTIVATIONS = ("encoder.layers.*.mlp.1",)
_GOOGLE = ("googlenet", "inception_v3")
"""Networks whose published weights were trained on colours of mean and deviation 0.5. Their modules bring ImageNet's
colours there where `transform_input` is set."""
_HALF: RGB = (0.5, 0.5, 0.5)


class Torchvision(OptionFamily):
    """The family `torchvision`; imports the library only when used."""

    name = "torchvision"
    description = "any classification model of torchvision, by its name there"
    libraries = ("torchvision",)
    fetches = True

    def names(self) -> list[str]:
        """Classification models of the installed release."""
        models = _library()

        return sorted(models.list_models(module=models))

    def construct(
        self, name: str, state: State | None, pretrained: bool, condition: Condition, options: Options
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.OptionFamily.construct`."""
        models = _library()

        self.require_known(name)
        weights = models.get_model_weights(name).DEFAULT
        known = _known(name, pretrained, state is not None)
        resized: dict[str, Any] = {}
        if options.values or options.size:
            kind = _kind(name)
            options.require(f"torchvision/{name}", parameters(kind), weights_tell=pretrained or state is not None)
            known |= options.values
            if options.size is not None and options.size != _preprocessing(weights).size:
                resized = _sized(f"torchvision/{name}", kind, options.size)
        with self.building(name, pretrained, options=options):
            published = weights if pretrained and not resized else None
            module: nn.Module = models.get_model(name, weights=published, progress=False, **known, **resized)
            if pretrained and resized:  # of a published size, as the library has it
                module.load_state_dict(self.translate(module, weights.get_state_dict(progress=False, check_hash=True)))
        if state is not None and name in _GOOGLE:
            say(
                f"torchvision/{name}: weights from a file are taken to be as torchvision publishes them, with "
                "transform_input = True; if they were trained without, state mean and std beside weights"
            )
        if state is not None and (classes := _classes(module, state)) is not None:
            module = models.get_model(name, weights=None, num_classes=classes, **known, **resized)
        vit = isinstance(module, models.VisionTransformer)
        return Architecture(
            module,
            _preprocessing(weights),
            published=f"torchvision/{name}.{weights.name}",
            preferred=(RESNET_STAGES,) if isinstance(module, models.ResNet) else (_MLP_ACTIVATIONS,),
            traits=Traits(prefix_tokens=1, token_grid=_grid(module)) if vit else Traits(**layouts_of(module)),
        )

    def translate(self, module: nn.Module, state: State) -> State:
        """Position embeddings of a vision transformer at the size of the module, as the library resamples them."""
        models = _library()
        if not isinstance(module, models.VisionTransformer) or "encoder.pos_embedding" not in state:
            return state
        resample = models.vision_transformer.interpolate_embeddings
        try:
            resampled: State = resample(module.image_size, module.patch_size, OrderedDict(state))
        except (ValueError, RuntimeError):  # of another network; the caller says in what they differ
            return state
        return resampled

    def prepare(self, architecture: Architecture, stated: Mapping[str, Any]) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.prepare`; what is stated is what the network's weights see."""
        assert architecture.preprocessing is not None
        if {"mean", "std"} & stated.keys() and getattr(architecture.module, "transform_input", False):
            architecture.module.transform_input = False  # type: ignore[assignment]
            plain = replace(architecture.preprocessing, mean=_HALF, std=_HALF)
            architecture = replace(architecture, preprocessing=plain)
        return super().prepare(architecture, stated)

    def classes(self, name: str, module: nn.Module, count: int) -> Sequence[str] | None:
        """See :meth:`rosetta.zoo.architecture.Family.classes`."""
        names: list[str] = _library().get_model_weights(name).DEFAULT.meta["categories"]
        return names if len(names) == count else []

    def unsure(self, name: str) -> tuple[str, ...]:
        """See :meth:`rosetta.zoo.architecture.Family.unsure`."""
        models = _library()

        return differing(map(_preprocessing, models.get_model_weights(name)))


def _library() -> Any:
    with without_compiler():
        from torchvision import models
    return models


def _preprocessing(weights: Any) -> Preprocessing:
    """Of published weights, without the crop."""
    transforms = weights.transforms()
    (side,) = transforms.crop_size
    return Preprocessing.published((side, side), transforms.interpolation.value, transforms.mean, transforms.std)


def _grid(module: nn.Module) -> Grid:
    side = int(module.image_size) // int(module.patch_size)  # type: ignore[arg-type]
    return side, side


@lru_cache(maxsize=64)
def _kind(name: str) -> type[nn.Module]:
    """The class of a network, which knows what options there are."""
    with forked_rng(None), torch.device("meta"):
        return type(_library().get_model(name, weights=None, **_known(name, False, False)))


def _sized(model: str, kind: type[nn.Module], size: Grid) -> dict[str, Any]:
    """What a network whose tensors depend on the size of its images is to be built with."""
    models = _library()
    if kind is models.MaxVit:
        return {"input_size": size}
    if kind is not models.VisionTransformer:
        return {}
    if size[0] != size[1]:
        raise UserError(f"{model} takes square images, not {size[0]} × {size[1]}; state one side as size")
    return {"image_size": size[0]}


def _known(name: str, pretrained: bool, from_file: bool) -> dict[str, bool]:
    """What two networks of Google's are to be built with; with published weights, torchvision itself sees to it."""
    if name not in _GOOGLE or pretrained:
        return {}
    # They warn about their initialisation unless told that it is wanted.
    return {"init_weights": True, "transform_input": from_file}


def _classes(module: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """The number of classes of a fine-tuned checkpoint, where it is not the usual one."""
    head, usual = list(module.state_dict().items())[-1]
    given = state.get(head)
    differs = given is not None and given.ndim == 1 and given.shape != usual.shape
    return given.shape[0] if given is not None and differs else None
