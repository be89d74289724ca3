"""Whether what a checkpoint lacks, or has too much of, matters to the layers that are looked at.

A file without a classification head is as good as one with it, while no captured layer depends on the head. What
depends on what is found out by running the network: the tensors that the file lacks are set to 0, then to NaN, and the
maps of an image are compared. Tensors that a file has beyond the network's own cannot be tried so. Where they belong
to a part that the captured layers come after, the file's network is another one: a deeper ResNet has all tensors of a
shallower one.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from rosetta.zoo.weights.fitting import Fit

Look = Callable[[], Mapping[str, Tensor]]
"""Runs the network on one image, always the same; maps by layer."""

_TRAINING_ONLY = re.compile(
    r"fc|mask_token|queue\w*|n_averaged|prototypes|logit_scale|text_\w+|\w*loss\w*"
    r"|(?:\w+_)?(?:head|heads|decoder|predictor|prediction|projector|projection_head|classifier)(?:_\w+)?"
)
"""Names at the top of a network that have no part in the maps before them: heads, decoders and what only a loss needs.
"""


def missed(fit: Fit, module: nn.Module, look: Look) -> tuple[str, str] | None:
    """The first captured layer that needs a tensor which the file lacks, and the first such tensor.

    What is lacking is NaN afterwards, so that whatever uses it in spite of this shows.

    Parameters
    ----------
    fit
        Of the file and the module; its tensors are loaded.
    module
        Where it runs.
    look
        Runs it; see :data:`Look`.
    """
    tensors = module.state_dict()
    lacking = {name: tensors[name] for name in fit.lacking}
    if not lacking:
        return None
    _fill(lacking.values(), 0.0)
    known = look()
    layer = _changed(lacking.values(), known, look)
    if layer is None:
        return None
    # Halving finds the first such tensor: NaN in those before it changes nothing.
    low, high = 0, len(lacking)
    while high - low > 1:
        middle = (low + high) // 2
        _fill(lacking.values(), 0.0)
        changes = _changed([*lacking.values()][:middle], known, look)
        low, high = (low, middle) if changes else (middle, high)
    return layer, list(lacking)[low]


def surplus(fit: Fit, order: Sequence[str], paths: Collection[str], captured: Collection[str] | None) -> str | None:
    """The first tensor under the prefix that shows the file's network to be another one, if any does.

    Parameters
    ----------
    fit
        Of the file and the network.
    order
        Paths of the modules that ran, in the order in which they finished.
    paths
        Of all modules.
    captured
        Those that are looked at; None: what the whole network returns is, too.
    """
    if captured is None:
        return next(iter(fit.left), None)
    last = max(place for place, path in enumerate(order) if path in captured)
    before = {above for path in order[: last + 1] for above in _above(path)}

    def owner(name: str) -> str:
        return next((path for path in reversed(_above(name)[:-1]) if path in paths), "")

    places = {name: place for place, name in enumerate(fit.given)}
    needed = [places[name] for name in fit.taken if owner(name) in before]
    # safetensors keep no order, so that nothing there comes after the network.
    after = max(needed, default=-1) if fit.entry.ordered else len(places)
    for name in fit.left:
        inside = owner(name)
        if inside and inside in before:
            return name
        if not inside and places[name] < after and not _TRAINING_ONLY.fullmatch(name.partition(".")[0]):
            return name
    return None


def _above(path: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`."""
    words = path.split(".")
    return [".".join(words[:count]) for count in range(1, len(words) + 1)]


def _fill(tensors: Iterable[Tensor], value: float) -> None:
    with torch.no_grad():
        for tensor in tensors:
            tensor.fill_(value)


def _changed(tensors: Iterable[Tensor], known: Mapping[str, Tensor], look: Look) -> str | None:
    """The first layer whose map is another once these tensors are NaN."""
    _fill(tensors, torch.nan)
    seen = look()
    return next((layer for layer, maps in known.items() if not torch.equal(maps, seen[layer])), None)
