"""The family `pmf`: one-step generators of ImageNet's classes in pixels, without a decoder."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture, Family, State
from rosetta.zoo.families.pmf.network import TOKENS, Config, PixelMeanFlow, Sampling
from rosetta.zoo.families.stylegan.fit import compare, shape_of
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.weights.statedict import MisfitError

CUSTOM = "custom"
"""The name of a network that is none of the published ones."""
_BASE = Config(side=16, patch=16, hidden=768, heads=12, shared=8, own=8, mlp=2048, bottleneck=128)
_LARGE = replace(_BASE, hidden=1024, heads=16, shared=24, mlp=2730)
_HUGE = replace(_BASE, hidden=1280, heads=16, shared=40, mlp=3416, bottleneck=256)
PUBLISHED: Mapping[str, tuple[Config, Sampling]] = {
    "b-16": (_BASE, Sampling(1.0, 7.5, (0.1, 0.8))),
    "l-16": (_LARGE, Sampling(1.0, 7.0, (0.2, 0.7))),
    "h-16": (_HUGE, Sampling(2.0, 7.0, (0.2, 0.6))),
    "b-32": (replace(_BASE, patch=32), Sampling(2.0, 6.5, (0.1, 0.7))),
    "l-32": (replace(_LARGE, patch=32), Sampling(4.0, 7.5, (0.2, 0.6))),
    "h-32": (replace(_HUGE, patch=32), Sampling(4.0, 5.5, (0.1, 0.6))),
}
"""By size and patch: the networks of the authors' PyTorch release, and how they are sampled there."""
_FIRST = "x_embedder.proj1.weight"
_ONLY_TRAINING = ("v_heads.", "v_final_layer.")
_ARCHITECTURE = "pixel MeanFlow"


class PMF(Family):
    """The family `pmf`."""

    name = "pmf"
    description = "pixel MeanFlow, one step from noise to pixels: ImageNet by class, 256 and 512 pixels, defined here"
    generators = True
    conditions = frozenset({"classes", "bound", "guidance", "interval", "noise"})

    def names(self) -> list[str]:
        """The published generators, and `custom`."""
        return sorted([*PUBLISHED, CUSTOM])

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`.

        Layers are the hidden units of all MLPs on the way to the image. Weights do not tell how a network was
        sampled: for `custom` noise and guidance are 1 unless the recipe states them.
        """
        self.require_known(name)
        config, sampling = PUBLISHED.get(name, (None, Sampling()))
        if state is not None:
            read = recognise(state)
            if config is not None:
                _require_same(read, config)
            config = read
        elif config is None:
            raise UserError(f"pmf/{CUSTOM} is read off its weights; give their file as weights")
        elif pretrained:
            raise self.no_download(name, f"give pMF-{name.upper()}.pt of the authors' PyTorch release as weights")
        sampling = _stated(sampling, condition)
        return Architecture(
            PixelMeanFlow(config, sampling),
            latent=3 * config.size**2,
            scale=sampling.noise,
            classes=config.classes,
            image_size=(config.size, config.size),
            layers=("shared_blocks.*.mlp.w2@in", "u_heads.*.mlp.w2@in"),
            traits=Traits(prefix_tokens=sum(config.tokens), token_grid=(config.side, config.side)),
        )

    def translate(self, module: nn.Module, state: State) -> State:
        """Under the names of the module, without what it has no use for."""
        return _of_network(state)


def recognise(state: Mapping[str, Tensor]) -> Config:
    """The sizes of the network that a state dict is of.

    Raises
    ------
    MisfitError
        It is of another architecture; the message names what differs first.
    """
    prefix = next((name.removesuffix(_FIRST) for name in state if f".{name}".endswith(f".{_FIRST}")), "")
    state = _of_network({name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)})

    def shape(name: str, axes: int) -> tuple[int, ...]:
        return shape_of(state, name, axes, _ARCHITECTURE)

    bottleneck, _, patch, _ = shape(_FIRST, 4)
    _, length, hidden = shape("pos_embed", 3)
    tokens = tuple(shape(f"{kind}_tokens", 3)[1] for kind in TOKENS)
    shared, own = (_count(state, blocks) for blocks in ("shared_blocks", "u_heads"))
    first = "shared_blocks.0" if shared else "u_heads.0"
    config = Config(
        side=round(max(length - sum(tokens), 0) ** 0.5),
        patch=patch,
        hidden=hidden,
        heads=hidden // (shape(f"{first}.attn.q_norm.weight", 1)[0] or 1),
        shared=shared,
        own=own,
        mlp=shape(f"{first}.mlp.w1.weight", 2)[0],
        bottleneck=bottleneck,
        classes=shape("y_embedder.embedding_table.weight", 2)[0] - 1,
        tokens=tokens,
        frequencies=shape("h_embedder.mlp.0.weight", 2)[1],
    )
    compare(lambda: PixelMeanFlow(config, Sampling()), state, _ARCHITECTURE)
    return config


def _count(state: Mapping[str, Tensor], blocks: str) -> int:
    """How many blocks of a kind there are."""
    return len({name.split(".")[1] for name in state if name.startswith(f"{blocks}.")})


def _of_network(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the release's wrappers, what is computed anew, and what only training needs."""
    return {
        name.replace("._flax_linear.", ".").replace("._flax_embedding.", "."): tensor
        for name, tensor in state.items()
        if name != "rope_freqs" and not name.startswith(_ONLY_TRAINING)
    }


def _require_same(read: Config, published: Config) -> None:
    """
    Raises
    ------
    MisfitError
        The network of a file is not the published one; training code rounds the width of MLPs in two ways.
    """
    for field, what in (("hidden", "numbers a token"), ("shared", "shared blocks"), ("own", "blocks of its own")):
        if getattr(read, field) != getattr(published, field):
            raise MisfitError(
                f"they have {getattr(read, field)} {what}, not {getattr(published, field)}; name it pmf/{CUSTOM}"
            )
    if (read.patch, read.size) != (published.patch, published.size):
        raise MisfitError(
            f"they make images of {read.size} × {read.size} from patches of {read.patch} × {read.patch}, not "
            f"{published.size} × {published.size} from {published.patch} × {published.patch}; name it pmf/{CUSTOM}"
        )


def _stated(sampling: Sampling, condition: Condition) -> Sampling:
    """A sampling with what a recipe states.

    Raises
    ------
    UserError
        The interval ends before it starts.
    """
    interval = condition.interval or sampling.interval
    if interval[0] > interval[1]:
        raise UserError(f"condition.interval is {list(interval)}; give the start before the end")
    return Sampling(condition.noise or sampling.noise, condition.guidance or sampling.guidance, interval)
