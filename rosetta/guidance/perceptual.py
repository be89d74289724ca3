"""Distances between images in the features of a network."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.guidance.latent import Rendering
from rosetta.guidance.objective import Measure
from rosetta.zoo.model import Model
from rosetta.zoo.weights.checkpoint import read_tensors
from rosetta.zoo.weights.source import FromFile, FromLibrary, FromSeed, parse_weights

_BACKBONES = {"alex": "alexnet", "squeeze": "squeezenet1_1", "vgg": "vgg16"}
_TINY = 1e-10


def feature_distance(model: Model, target: Tensor) -> Measure:
    """A perceptual `L_rec` from any discriminative model of the zoo.

    At each position of each captured layer the features are scaled to length 1; the squared distance of two such
    vectors is averaged over positions, then over layers. This is LPIPS (Zhang et al., 2018) with equal weights instead
    of its learnt ones, and is not called LPIPS for that reason.

    Parameters
    ----------
    target
        (image, rgb, y, x) in 0…1. Its features are computed once.
    """
    with torch.no_grad():
        wanted = {name: _unit_length(maps) for name, maps in model.look(target).items()}

    def measure(rendering: Rendering) -> Tensor:
        seen = model.look(rendering.images)
        return torch.stack([_distance(_unit_length(seen[name]), maps) for name, maps in wanted.items()]).mean(0)

    return measure


def require_trained(model: Model, text: str) -> None:
    """
    Raises
    ------
    UserError
        A model that is to judge makes images, or has random weights.
    """
    if model.is_generator:
        raise UserError(f"judge {text!r} is a generator, which looks at no images; name a discriminative model")
    if isinstance(parse_weights(model.spec.weights), FromSeed):
        raise UserError(f"judge {text!r} has random weights, in whose features distances say little; give trained ones")


class Lpips:
    """LPIPS (Zhang et al., 2018) version 0.1, with the linear weights that its package ships.

    Parameters
    ----------
    text
        `<net>:<weights>`: alex, squeeze or vgg, and the weights of that backbone as torchvision publishes them: a
        path, a URL, `package:…`, or `pretrained` for torchvision's own download.
    """

    def __init__(self, text: str) -> None:
        import lpips

        self.net, _, weights = text.partition(":")
        if self.net not in _BACKBONES or not weights:
            raise UserError(
                f"lpips {text!r} is not <net>:<weights>; write alex:, squeeze: or vgg: and torchvision's weights, "
                "like alex:weights/alexnet-owt-7be5be79.pth"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torchvision, about how the package builds its backbone
            self._module: nn.Module = lpips.LPIPS(net=self.net, pretrained=False, pnet_rand=True, verbose=False)
        # The package's own loader would unpickle with an old torch; its weights are read as all others are.
        heads = FromFile("package:lpips", str(Path(lpips.__file__).with_name("weights") / "v0.1" / f"{self.net}.pth"))
        for name, tensor in read_tensors(heads).items():
            self._module.get_parameter(name).data.copy_(tensor)
        self._module.requires_grad_(False).eval()
        _load_backbone(self._module, self._state(weights), text)

    def __call__(self, images: Tensor, target: Tensor) -> Tensor:
        """(image,) distances of (image, rgb, y, x) in 0…1; differentiable."""
        self._module.to(images.device)
        distances: Tensor = self._module(images * 2 - 1, target * 2 - 1)
        return distances.flatten()

    def measure(self, target: Tensor) -> Measure:
        """As `L_rec`."""

        def measure(rendering: Rendering) -> Tensor:
            repeats = len(rendering.images) // len(target)
            return self(rendering.images, target.repeat(repeats, 1, 1, 1))

        return measure

    def _state(self, weights: str) -> Mapping[str, Tensor]:
        source = parse_weights(weights)
        if isinstance(source, FromFile):
            return read_tensors(source)
        if not isinstance(source, FromLibrary):
            raise UserError(f"lpips {self.net}:{weights} has random weights, which make no LPIPS; give trained ones")
        from torchvision.models import get_model_weights

        try:
            state: Mapping[str, Tensor] = get_model_weights(_BACKBONES[self.net])["DEFAULT"].get_state_dict()
        except OSError as error:
            raise UserError(f"lpips {self.net}:pretrained cannot be downloaded ({error}); give a file") from None
        return state


def _load_backbone(module: nn.Module, state: Mapping[str, Tensor], text: str) -> None:
    """Torchvision's `features.3.weight` into the slices of the package, which keep the number: `slice2.3.weight`."""
    net = module.net
    assert isinstance(net, nn.Module)
    for name, parameter in net.named_parameters():
        theirs = "features." + name.partition(".")[2]
        if theirs not in state or state[theirs].shape != parameter.shape:
            raise UserError(f"lpips {text!r}: the weights have no {theirs} of shape {tuple(parameter.shape)}; give "
                            "those that torchvision publishes for this network")  # fmt: skip
        parameter.data.copy_(state[theirs])


def _unit_length(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(1, keepdim=True) + _TINY).sqrt()


def _distance(seen: Tensor, wanted: Tensor) -> Tensor:
    """(row,) squared distance of unit features, averaged over positions."""
    difference = seen.unflatten(0, (-1, len(wanted))) - wanted
    return difference.square().sum(2).mean((-2, -1)).flatten()
