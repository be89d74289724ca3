"""Which axis holds the channels, where a tensor's shape alone does not tell: 64 channels on 64 × 64, say."""

from collections.abc import Mapping

from torch import nn

_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.Upsample, nn.PixelShuffle)
_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm)


def is_channels_last(part: nn.Module) -> bool | None:
    """Whether a module works on the last axis; None where its class does not tell.

    Libraries derive norms over the second axis from those over the last, and call them so: `LayerNorm2d`.
    """
    if isinstance(part, _FIRST) or "2d" in type(part).__name__ or getattr(part, "data_format", "") == "channels_first":
        return False
    return True if isinstance(part, _LAST) else None


def surroundings_say(path: str, known: Mapping[str, bool]) -> bool | str | None:
    """What modules that are known say of another, whose tensors have the same shape.

    Parameters
    ----------
    path
        Of the other module.
    known
        Whether channels are last, by path.

    Returns
    -------
    bool, str or None
        Of the modules inside it, else inside its parent, and so on: whether channels are last, or why that is open;
        None where nothing is known anywhere.
    """
    while True:
        found = {last for other, last in known.items() if not path or f"{other}.".startswith(f"{path}.")}
        if len(found) == 1:
            return found.pop()
        if found:
            return "has its channels in the second axis or in the last, which its shape does not tell"
        if not path:
            return None
        path = path.rpartition(".")[0]
