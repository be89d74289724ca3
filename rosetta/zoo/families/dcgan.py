"""DCGAN (Radford et al., 2016), the 64 × 64 generator."""

from itertools import pairwise

from torch import Tensor, nn

from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture, Family, State

LATENT = 100
_WIDTHS = (512, 256, 128, 64)


class Generator(nn.Module):
    """Five transposed convolutions from a latent to an image.

    The module names are those of the checkpoint: `main.0` is the first convolution; `main.2`, `main.5`,
    `main.8` and `main.11` are the ReLU outputs, on grids of 4, 8, 16 and 32 positions a side.
    """

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.ConvTranspose2d(LATENT, _WIDTHS[0], 4, 1, 0, bias=False)]
        for width, narrower in pairwise((*_WIDTHS, 3)):
            parts += [
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.ConvTranspose2d(width, narrower, 4, 2, 1, bias=False),
            ]
        self.main = nn.Sequential(*parts, nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        """(image, 100) standard normal → (image, rgb, 64, 64) in −1..1."""
        images: Tensor = self.main(latents[:, :, None, None])
        return images


class DCGAN(Family):
    """The family `dcgan`."""

    name = "dcgan"
    description = "DCGAN generators of 64 × 64 images, defined here"
    generators = True
    state_keys = ("netG_state_dict",)

    def names(self) -> list[str]:
        """The generators whose weights are known to exist."""
        return ["digiface"]

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        self.require_known(name)
        if pretrained:
            raise self.no_download(name, 'write weights = "package:gan_face_generate/weights.tar"')
        return Architecture(
            Generator(),
            latent=LATENT,
            image_size=(64, 64),
            layers=("main.2", "main.5", "main.8", "main.11"),
        )
