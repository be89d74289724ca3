"""Any classification model of torchvision."""

from collections.abc import Mapping

from torch import Tensor, nn

from rosetta.errors import UserError, nearest
from rosetta.recipe import Condition
from rosetta.units import Grid
from rosetta.zoo.architecture import UNCONDITIONAL, Architecture, Family
from rosetta.zoo.families.timm import RESNET_STAGES
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.preprocessing import Preprocessing, as_rgb, known_interpolation

_MLP_ACTIVATIONS = ("encoder.layers.*.mlp.1",)


class Torchvision(Family):
    """The family `torchvision`; imports the library only when used."""

    description = "any classification model of torchvision, by its name there"
    libraries = ("torchvision",)
    fetches = True

    def names(self) -> list[str]:
        """Classification models of the installed release."""
        from torchvision import models

        return sorted(models.list_models(module=models))

    def build(
        self, name: str, state: Mapping[str, Tensor] | None, pretrained: bool, condition: Condition = UNCONDITIONAL
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        from torchvision import models

        if name not in self.names():
            raise UserError(f"torchvision has no classification model {name!r}{nearest(name, self.names())}")
        try:
            module: nn.Module = models.get_model(
                name,
                weights="DEFAULT" if pretrained else None,
                progress=False,
                **_quick_start(name, pretrained),
            )
        except Exception as error:
            if not pretrained:
                raise UserError(f"torchvision cannot build {name!r}: {error}") from None
            raise UserError(
                f"torchvision/{name}: its pretrained weights cannot be had ({type(error).__name__}); "
                "go online once, or give a local file as weights"
            ) from None
        if state is not None and (classes := _classes(module, state)) is not None:
            module = models.get_model(name, weights=None, num_classes=classes, **_quick_start(name, pretrained=False))
        vit = isinstance(module, models.VisionTransformer)
        return Architecture(
            module,
            _preprocessing(name),
            preferred=(RESNET_STAGES,) if isinstance(module, models.ResNet) else (_MLP_ACTIVATIONS,),
            traits=Traits(prefix_tokens=1, token_grid=_grid(module)) if vit else Traits(),
        )


def _preprocessing(name: str) -> Preprocessing:
    from torchvision import models

    transforms = models.get_model_weights(name).DEFAULT.transforms()
    (side,) = transforms.crop_size
    return Preprocessing(
        (side, side),
        known_interpolation(transforms.interpolation.value),
        as_rgb(transforms.mean),
        as_rgb(transforms.std),
    )


def _grid(module: nn.Module) -> Grid:
    side = int(module.image_size) // int(module.patch_size)  # type: ignore[arg-type]
    return side, side


def _quick_start(name: str, pretrained: bool) -> dict[str, bool]:
    # These two warn about their initialisation unless told that it is wanted.
    return {"init_weights": True} if name in ("googlenet", "inception_v3") and not pretrained else {}


def _classes(module: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """The number of classes of a fine-tuned checkpoint, where it is not the usual one."""
    head, usual = list(module.state_dict().items())[-1]
    given = state.get(head)
    differs = given is not None and given.ndim == 1 and given.shape != usual.shape
    return given.shape[0] if given is not None and differs else None
