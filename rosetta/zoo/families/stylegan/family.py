"""The families `stylegan2`, `stylegan3` and `styleganxl`.

Noise, where there is any, is constant: an image is a function of its latent, and of its class where there are classes.
`custom` is a network of a user's own, read off its weights.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture, Family, State
from rosetta.zoo.families.stylegan import stylegan2, stylegan3, styleganxl
from rosetta.zoo.families.stylegan.arguments import require_settings
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.weights.statedict import MisfitError

CUSTOM = "custom"
"""The name of a network that is none of the published ones."""


class _StyleBased(Family):
    """Networks of a configuration that is published, or read off weights."""

    published: Mapping[str, Any]
    """Configurations by name; each has a `resolution`."""
    recognise: Callable[[Mapping[str, Tensor]], Any]
    """The configuration of a state dict."""
    build_net: Callable[[Any, float], Any]
    """The network of a configuration, with a truncation."""
    generators = True
    conditions = frozenset({"classes", "truncation", "bound"})

    def names(self) -> list[str]:
        """The published generators, and `custom`."""
        return sorted([*self.published, CUSTOM])

    @abstractmethod
    def file(self, name: str) -> str:
        """What the file of a published generator is called."""

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        self.require_known(name)
        if state is not None:
            config = self.recognise(state)
            if name != CUSTOM:
                self.require_same(name, config)
        elif name == CUSTOM:
            raise UserError(f"{self.name}/{CUSTOM} is read off its weights; give their file as weights")
        elif pretrained:
            raise self.no_download(name, f"give {self.file(name)} as weights")
        else:
            config = self.published[name]
        net = self.build_net(config, condition.truncation or 1.0)
        if state is not None:
            require_settings(net, state)
        # What a condition of several numbers means is not known here; one of classes has a one at the class's place.
        return Architecture(
            net,
            latent=net.z_dim,
            image_size=(net.resolution, net.resolution),
            layers=net.layer_names,
            classes=net.classes,
            traits=Traits(frames=getattr(net.synthesis, "frames", {})),
        )

    def require_same(self, name: str, config: Any) -> None:
        """
        Raises
        ------
        MisfitError
            The configuration of a file is not that of the published network.
        """
        side, known = config.resolution, self.published[name].resolution
        if side != known:
            raise MisfitError(
                f"they make images of {side} × {side}, not {known} × {known}; name it {self.name}/{CUSTOM}"
            )


class StyleGAN2(_StyleBased):
    """The family `stylegan2`.

    The layout is that of the weights; without any, the one that a network was first published in for PyTorch.
    """

    name = "stylegan2"
    description = (
        "StyleGAN2, config F: LSUN, FFHQ, AFHQ, CIFAR-10, from NVIDIA's .pkl or rosinality's .pt, defined here"
    )
    channels_last = False  # weights in rosinality's layout have five axes
    state_keys = ("g_ema",)
    beside = (stylegan2.MEAN,)
    published = stylegan2.PUBLISHED
    recognise = staticmethod(stylegan2.recognise)
    build_net = staticmethod(stylegan2.Network.build)

    def file(self, name: str) -> str:
        """Either of two."""
        return "the .pkl of NVIDIA's release, or a .pt with g_ema,"


class StyleGAN3(_StyleBased):
    """The family `stylegan3`."""

    name = "stylegan3"
    description = "StyleGAN3, configurations T and R: FFHQ, AFHQv2, MetFaces, from NVIDIA's .pkl, defined here"
    published = stylegan3.PUBLISHED
    recognise = staticmethod(stylegan3.recognise)
    build_net = stylegan3.StyleGAN3

    def file(self, name: str) -> str:
        """As NVIDIA names it."""
        return f"stylegan3-{name}x{name.rpartition('-')[2]}.pkl"

    def require_same(self, name: str, config: stylegan3.Config) -> None:
        """See the base; the name says the configuration, too."""
        super().require_same(name, config)
        rotation = config.kernel == 1
        if rotation != name.startswith("r-"):
            raise MisfitError(f"they are of configuration {'R' if rotation else 'T'}; name it stylegan3/{CUSTOM}")


class StyleGANXL(_StyleBased):
    """The family `styleganxl`."""

    name = "styleganxl"
    description = "StyleGAN-XL: ImageNet by class, 16 to 1024 pixels, from its authors' .pkl, defined here"
    published = styleganxl.PUBLISHED
    recognise = staticmethod(styleganxl.recognise)
    build_net = styleganxl.StyleGANXL

    def file(self, name: str) -> str:
        """As its authors name it."""
        return f"{name.replace('-', '')}.pkl"
