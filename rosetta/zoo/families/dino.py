"""DINO (Caron et al., 2021, arXiv 2104.14294): the ResNet-50 that was trained without labels.

Its vision transformers are in timm, as `timm/vit_base_patch16_224.dino` say.
"""

import torch
from torch import nn

from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture, Family, State
from rosetta.zoo.families.timm import RESNET_STAGES
from rosetta.zoo.lean_import import without_compiler
from rosetta.zoo.preprocessing import Preprocessing

_PUBLISHED = {
    "resnet50": "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
}


class DINO(Family):
    """The family `dino`."""

    name = "dino"
    description = "networks that DINO trained without labels: ResNet-50 (the vision transformers are in timm)"
    libraries = ("torchvision",)
    fetches = True
    state_keys = ("teacher",)
    """Of the two networks that a full checkpoint holds it is the teacher that the paper evaluates."""

    def names(self) -> list[str]:
        """The networks whose weights are known to exist."""
        return sorted(_PUBLISHED)

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        with without_compiler():
            from torchvision.models import resnet50

        self.require_known(name)
        module = resnet50(weights=None)
        module.fc = nn.Identity()  # there are no labels to classify into
        if pretrained:
            with self.building(name, pretrained):
                weights = torch.hub.load_state_dict_from_url(
                    _PUBLISHED[name], map_location="cpu", progress=False, weights_only=True
                )
                module.load_state_dict(weights)
        return Architecture(module, Preprocessing((224, 224), "bicubic"), layers=RESNET_STAGES)
