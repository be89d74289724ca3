"""Any classification model of torchvision."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from rosetta.model_spec import Condition
from rosetta.units import Grid
from rosetta.zoo.architecture import Architecture, Family, State
from rosetta.zoo.families.timm import RESNET_STAGES
from rosetta.zoo.families.token_orders import layouts_of
from rosetta.zoo.lean_import import without_compiler
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.notes import say
from rosetta.zoo.preprocessing import RGB, Preprocessing, differing

_MLP_ACTIVATIONS = ("encoder.layers.*.mlp.1",)
_GOOGLE = ("googlenet", "inception_v3")
"""Networks whose published weights were trained on colours of mean and deviation 0.5. Their modules bring ImageNet's
colours there where `transform_input` is set."""
_HALF: RGB = (0.5, 0.5, 0.5)


class Torchvision(Family):
    """The family `torchvision`; imports the library only when used."""

    name = "torchvision"
    description = "any classification model of torchvision, by its name there"
    libraries = ("torchvision",)
    fetches = True

    def names(self) -> list[str]:
        """Classification models of the installed release."""
        models = _library()

        return sorted(models.list_models(module=models))

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        models = _library()

        self.require_known(name)
        options = _options(name, pretrained, state is not None)
        with self.building(name, pretrained):
            weights = "DEFAULT" if pretrained else None
            module: nn.Module = models.get_model(name, weights=weights, progress=False, **options)
        if state is not None and name in _GOOGLE:
            say(
                f"torchvision/{name}: weights from a file are taken to be as torchvision publishes them, with "
                "transform_input = True; if they were trained without, state mean and std beside weights"
            )
        if state is not None and (classes := _classes(module, state)) is not None:
            module = models.get_model(name, weights=None, num_classes=classes, **options)
        vit = isinstance(module, models.VisionTransformer)
        return Architecture(
            module,
            _preprocessing(models.get_model_weights(name).DEFAULT),
            preferred=(RESNET_STAGES,) if isinstance(module, models.ResNet) else (_MLP_ACTIVATIONS,),
            traits=Traits(prefix_tokens=1, token_grid=_grid(module)) if vit else Traits(**layouts_of(module)),
        )

    def prepare(self, architecture: Architecture, stated: Mapping[str, Any]) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.prepare`; what is stated is what the network's weights see."""
        assert architecture.preprocessing is not None
        if {"mean", "std"} & stated.keys() and getattr(architecture.module, "transform_input", False):
            architecture.module.transform_input = False  # type: ignore[assignment]
            plain = replace(architecture.preprocessing, mean=_HALF, std=_HALF)
            architecture = replace(architecture, preprocessing=plain)
        return super().prepare(architecture, stated)

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


def _options(name: str, pretrained: bool, from_file: bool) -> dict[str, bool]:
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
