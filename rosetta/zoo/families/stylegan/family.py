"""The families `stylegan2`, `stylegan3` and `styleganxl`.

Noise, where there is any, is constant: an image is a function of its latent, and of its class where there are classes.
`custom` is a network of a user's own, read off its weights.
"""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from rosetta.errors import UserError, nearest
from rosetta.recipe import Condition
from rosetta.zoo.architecture import UNCONDITIONAL, Architecture, Family
from rosetta.zoo.families.stylegan import stylegan2, stylegan2_nvidia, stylegan2_rosinality, stylegan3, styleganxl
from rosetta.zoo.families.stylegan.arguments import require_settings
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.weights.nvidia_modules import SETTINGS, NetworkState
from rosetta.zoo.weights.statedict import MisfitError

CUSTOM = "custom"
"""The name of a network that is none of the published ones."""
_MEAN = "latent_avg"
"""The mean style, beside the state dict in files of rosinality's layout."""


class StyleGAN2(Family):
    """The family `stylegan2`."""

    description = (
        "StyleGAN2, config F: LSUN, FFHQ, AFHQ, CIFAR-10, from NVIDIA's .pkl or rosinality's .pt, defined here"
    )
    generators = True
    conditions = frozenset({"classes", "truncation", "bound"})
    channels_last = False  # weights in rosinality's layout have five axes
    state_key = "g_ema"
    beside = (_MEAN, SETTINGS)

    def names(self) -> list[str]:
        """The published generators, and `custom`."""
        return sorted([*stylegan2.PUBLISHED, CUSTOM])

    def build(
        self, name: str, state: Mapping[str, Tensor] | None, pretrained: bool, condition: Condition = UNCONDITIONAL
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`.

        The layout is that of the weights; without any, the one that a network was first published in for PyTorch.
        """
        _require_known("stylegan2", name, self.names())
        psi = condition.truncation or 1.0
        net: stylegan2.Generator
        if state is None:
            _require_file("stylegan2", name, pretrained, "the .pkl of NVIDIA's release, or a .pt with g_ema,")
            found = stylegan2.PUBLISHED[name]
            if found.converted:
                net = stylegan2_rosinality.Generator(found.resolution, psi=psi)
            else:
                net = stylegan2_nvidia.Generator(
                    found.resolution, c_dim=found.classes, mapping_layers=found.mapping_layers, psi=psi
                )
        else:
            mean = _mean(state)
            weights = NetworkState({key: tensor for key, tensor in state.items() if key != _MEAN})
            layout, side = stylegan2.layout_of_state(weights)
            if name != CUSTOM:
                _require_size("stylegan2", name, side, stylegan2.PUBLISHED[name].resolution)
            # NVIDIA's layout holds the mean among its weights.
            net = stylegan2.generator_for(weights, psi=psi, **(mean if layout == "rosinality" else {}))
            require_settings(net, weights)
        classes = net.classes if isinstance(net, stylegan2_nvidia.Generator) else None
        return _describe(net, net.z_dim, net.resolution, net.layer_names, classes)


class StyleGAN3(Family):
    """The family `stylegan3`."""

    beside = (SETTINGS,)
    description = "StyleGAN3, configurations T and R: FFHQ, AFHQv2, MetFaces, from NVIDIA's .pkl, defined here"
    generators = True
    conditions = frozenset({"classes", "truncation", "bound"})

    def names(self) -> list[str]:
        """The published generators, and `custom`."""
        return sorted([*stylegan3.PUBLISHED, CUSTOM])

    def build(
        self, name: str, state: Mapping[str, Tensor] | None, pretrained: bool, condition: Condition = UNCONDITIONAL
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        _require_known("stylegan3", name, self.names())
        if state is None:
            _require_file("stylegan3", name, pretrained, _pickle(f"stylegan3-{name}"))
            found = stylegan3.PUBLISHED[name]
        else:
            state = NetworkState(state)
            found = stylegan3.recognise(state)
            if name != CUSTOM:
                _require_size("stylegan3", name, found["resolution"], stylegan3.PUBLISHED[name]["resolution"])
                _require_configuration(name, found["filtering"].kernel == 1)
        net = stylegan3.StyleGAN3(**found, psi=condition.truncation or 1.0)
        if state is not None:
            require_settings(net, state)
        # What a condition of several numbers means is not known here; one of classes has a one at the class's place.
        return _describe(net, net.z_dim, net.resolution, net.layer_names, classes=found.get("c_dim", 0) or None)


class StyleGANXL(Family):
    """The family `styleganxl`."""

    beside = (SETTINGS,)
    description = "StyleGAN-XL: ImageNet by class, 16 to 1024 pixels, from its authors' .pkl, defined here"
    generators = True
    conditions = frozenset({"classes", "truncation", "bound"})

    def names(self) -> list[str]:
        """The published generators, and `custom`."""
        return sorted([*styleganxl.PUBLISHED, CUSTOM])

    def build(
        self, name: str, state: Mapping[str, Tensor] | None, pretrained: bool, condition: Condition = UNCONDITIONAL
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        _require_known("styleganxl", name, self.names())
        if state is None:
            _require_file("styleganxl", name, pretrained, f"{name.replace('-', '')}.pkl")
            found = styleganxl.PUBLISHED[name]
        else:
            state = NetworkState(state)
            found = styleganxl.recognise(state)
            if name != CUSTOM:
                _require_size("styleganxl", name, found["resolution"], styleganxl.PUBLISHED[name]["resolution"])
        net = styleganxl.StyleGANXL(**found, psi=condition.truncation or 1.0)
        if state is not None:
            require_settings(net, state)
        return _describe(net, net.z_dim, net.resolution, net.layer_names, classes=net.classes)


def _describe(
    net: nn.Module, latent: int, resolution: int, layers: tuple[str, ...], classes: int | None = None
) -> Architecture:
    return Architecture(
        net,
        latent=latent,
        image_size=(resolution, resolution),
        layers=layers,
        classes=classes,
        traits=Traits(frames=getattr(net.synthesis, "frames", {})),
    )


def _mean(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The mean style that lies beside a state dict in rosinality's layout, if one does."""
    mean, bias = state.get(_MEAN), state.get("style.1.bias")
    if mean is not None and bias is not None and mean.numel() != bias.numel():
        raise MisfitError(f"{_MEAN!r} beside them is {tuple(mean.shape)}, not one style of {bias.numel()} numbers")
    return {} if mean is None else {"truncation_latent": mean.float()}


def _pickle(name: str) -> str:
    """The file of a generator as NVIDIA names it."""
    return f"{name}x{name.rpartition('-')[2]}.pkl"


def _require_known(family: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        hint = nearest(name, known) or f"; it has {', '.join(known)}"
        raise UserError(f"{family} has no model {name!r}{hint}")


def _require_file(family: str, name: str, pretrained: bool, file: str) -> None:
    if name == CUSTOM:
        raise UserError(f"{family}/{CUSTOM} is read off its weights; give their file as weights")
    if pretrained:
        raise UserError(f"{family}/{name} has no weights that a library would download; give {file} as weights")


def _require_size(family: str, name: str, side: int, wanted: int) -> None:
    if side != wanted:
        raise MisfitError(f"they make images of {side} × {side}, not {wanted} × {wanted}; name it {family}/{CUSTOM}")


def _require_configuration(name: str, rotation: bool) -> None:
    if rotation != name.startswith("r-"):
        raise MisfitError(f"they are of configuration {'R' if rotation else 'T'}; name it stylegan3/{CUSTOM}")
