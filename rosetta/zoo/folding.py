"""Batch normalisation folded into the convolutions before it: the same function, with fewer passes over memory.

Values differ from those of the network as it was by rounding, so what is stored of a model's maps never comes from a
folded one.
"""

from collections import Counter
from collections.abc import Collection, Iterator

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

_FORWARD = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class _Tracer(fx.Tracer):
    """Libraries derive their layers from torch's; these, too, are seen whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*_FORWARD, *_TRANSPOSED, _BatchNorm)) or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norms(module: nn.Module, keep: Collection[str] = ()) -> int:
    """Fold each batch normalisation of fixed statistics that alone follows a convolution, in place.

    Parameters
    ----------
    keep
        Paths of modules whose own inputs or outputs are read: neither these nor what they are in is folded.

    Returns
    -------
    int
        How many were folded; none of a network that cannot be traced, as its path depends on values.
    """
    try:
        graph = _Tracer().trace(module)
    except Exception:  # the module is anybody's code, and meets proxies instead of tensors
        return 0
    pairs = [pair for pair in _pairs(graph, keep) if _fits(*map(module.get_submodule, pair))]
    for pair in pairs:
        _fold(module, *pair)
    return len(pairs)


def _pairs(graph: fx.Graph, keep: Collection[str]) -> Iterator[tuple[str, str]]:
    """Paths of a module and of the one that alone takes what it gives; both run once, and nobody else reads them."""
    called = Counter(node.target for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    for node in graph.nodes:
        before = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        pair = str(before.target), str(node.target)
        alone = len(before.users) == 1 and all(called[path] == 1 and path not in read for path in pair)
        if alone and not any(f"{path}.".startswith(tuple(f"{one}." for one in pair)) for path in keep):
            yield pair


def _fits(convolution: nn.Module, norm: nn.Module) -> bool:
    if not isinstance(convolution, (*_FORWARD, *_TRANSPOSED)) or not isinstance(norm, _BatchNorm):
        return False
    hooks = (convolution._forward_hooks, convolution._forward_pre_hooks, norm._forward_hooks, norm._forward_pre_hooks)
    if norm.training or norm.running_mean is None or any(hooks) or is_parametrized(convolution):
        return False
    from timm.layers import BatchNormAct2d, Conv2dSame

    # A class derived from torch's may do more, such as standardise its weights. Of these it is known what they do.
    return _runs_as(convolution, *_FORWARD, *_TRANSPOSED, Conv2dSame) and _runs_as(norm, _BatchNorm, BatchNormAct2d)


def _runs_as(module: nn.Module, *kinds: type[nn.Module]) -> bool:
    return any(type(module).forward is kind.forward for kind in kinds)


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    old = module.get_submodule(norm)
    conv = module.get_submodule(convolution)
    assert isinstance(old, _BatchNorm)
    fused = fuse_conv_bn_eval(conv, old, transpose=isinstance(conv, _TRANSPOSED))  # type: ignore[type-var]
    module.set_submodule(convolution, fused.requires_grad_(False))
    own = type(old).forward is not _BatchNorm.forward
    module.set_submodule(norm, nn.Sequential(old.drop, old.act) if own else nn.Identity())  # type: ignore[arg-type]
