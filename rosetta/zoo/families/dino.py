"""DINO (Caron et al., 2021, arXiv 2104.14294): the ResNet-50 that was trained without labels.

Its vision transformers are in timm, as `timm/vit_base_patch16_224.dino` say.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rosetta.errors import UserError, nearest
from rosetta.recipe import Condition
from rosetta.zoo.architecture import UNCONDITIONAL, Architecture, Family
from rosetta.zoo.families.timm import RESNET_STAGES
from rosetta.zoo.preprocessing import Preprocessing

_PUBLISHED = {
    "resnet50": "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
}


class DINO(Family):
    """The family `dino`."""

    description = "networks that DINO trained without labels: ResNet-50 (the vision transformers are in timm)"
    libraries = ("torchvision",)
    fetches = True
    state_key = "teacher"
    """Of the two networks that a full checkpoint holds it is the teacher that the paper evaluates."""

    def names(self) -> list[str]:
        """The networks whose weights are known to exist."""
        return sorted(_PUBLISHED)

    def build(
        self, name: str, state: Mapping[str, Tensor] | None, pretrained: bool, condition: Condition = UNCONDITIONAL
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        from torchvision.models import resnet50

        if name not in _PUBLISHED:
            raise UserError(f"dino has no model {name!r}{nearest(name, self.names()) or '; it has resnet50'}")
        module = resnet50(weights=None)
        module.fc = nn.Identity()  # there are no labels to classify into
        if pretrained:
            try:
                weights = torch.hub.load_state_dict_from_url(
                    _PUBLISHED[name], map_location="cpu", progress=False, weights_only=True
                )
                module.load_state_dict(weights)
            except Exception as error:
                raise UserError(
                    f"dino/{name}: its pretrained weights cannot be had ({type(error).__name__}); "
                    "go online once, or give a local file as weights"
                ) from None
        return Architecture(module, Preprocessing((224, 224), "bicubic"), layers=RESNET_STAGES)
