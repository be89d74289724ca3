"""StyleGAN-XL (Sauer et al., 2022, arXiv 2202.00273): StyleGAN3-T with a class, grown from a small stem.

A stem is trained at 16 × 16; each later stage takes off what is sampled critically and puts layers for twice the
resolution in its place. Modules and tensors have the names that they have in the published checkpoints (`G_ema`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from rosetta.zoo.families.stylegan import stylegan3
from rosetta.zoo.families.stylegan.arguments import Arguments, near
from rosetta.zoo.families.stylegan.fit import FoundLayer, compare, layers_in, mapping_layers, shape_of
from rosetta.zoo.families.stylegan.mapping import Mapping as BaseMapping
from rosetta.zoo.families.stylegan.mapping import MappingConfig, StyleGenerator
from rosetta.zoo.families.stylegan.modulation import Dense, normalise
from rosetta.zoo.families.stylegan.schedule import Bands, Step, extend, schedule
from rosetta.zoo.families.stylegan.signatures import STYLEGANXL, SUPERRES
from rosetta.zoo.families.stylegan.synthesis import OUTPUT_SCALE, Filtering, Synthesis, filters_of
from rosetta.zoo.weights.statedict import MisfitError

_IMAGENET = 1000
"""Its classes."""
Stage = tuple[int, int]
"""Side of its images in pixels, and layers before to-RGB."""


@dataclass(frozen=True, kw_only=True)
class Config(MappingConfig, Bands, Filtering):
    """What a generator is built with; as published for ImageNet by default.

    Bands and filtering are those of the stem. Later stages take its last stopband, margin, kernel and kind of filter,
    and the rest as published.
    """

    resolution: int
    """Side of its images in pixels, a power of two."""
    stem_resolution: int = 16
    """Side of the stem's images."""
    stem_layers: int = 10
    """Its layers before to-RGB."""
    head_layers: int | tuple[Stage, ...] = 7
    """Layers before to-RGB that each later stage puts on where each doubles the resolution, or else the stages."""
    channel_base: float = 65536
    channel_max: int = 1024
    z_dim: int = 64
    c_dim: int = 1000
    embeddings: int | None = None
    """How many classes have an embedding, `c_dim` if left out; ImageNet's thousand have one even in networks of fewer
    classes or none."""
    embedding: int = 320
    """Its length: mean features of a class's photographs in a classifier (EfficientNet-lite0), taken before training
    and kept with the weights."""
    mapping_layers: int = 2
    output_scale: float = OUTPUT_SCALE
    """From what to-RGB puts out to images in −1..1."""


PUBLISHED: dict[str, Config] = {
    **{f"imagenet-{resolution}": Config(resolution=resolution) for resolution in (16, 32, 64, 128, 256, 512)},
    "imagenet-1024": Config(resolution=1024, head_layers=(*((16 << power, 7) for power in range(1, 6)), (1024, 5))),
}
"""The released generators of ImageNet's classes, by resolution. The last stage adds five layers instead of seven, 39 in
all (section 3.2 of the paper). Those of FFHQ, Pokémon and CIFAR-10 have other layers, which are read off their files.
"""


class StyleGANXL(StyleGenerator):
    """A generator of images of a class, or of no class.

    Parameters
    ----------
    psi
        Truncation: styles go from the mean of their class (0) to what the mapping makes of the latents (1).
    """

    def __init__(self, config: Config, psi: float = 1.0) -> None:
        super().__init__(config, config.resolution)
        side, stages = config.stem_resolution, config.head_layers
        steps = schedule(side, config.stem_layers, config)
        if isinstance(stages, int):
            stages = _doubling(side, config.resolution, stages)
        kept = config.stem_layers - config.critical if stages else len(steps)
        for side, layers in stages:
            steps = extend(steps, side, layers, config)
        if side != config.resolution:
            raise ValueError(
                f"a stem of {config.stem_resolution} pixels never grows to {config.resolution} by doubling"
            )
        self.mapping = ClassMapping(config, 1 + len(steps), psi)
        head = _of_heads(config)
        self.synthesis = Synthesis(
            tuple((step, config if place < kept else head) for place, step in enumerate(steps)),
            config.w_dim,
            config.output_scale,
        )


class ClassMapping(BaseMapping):
    """From latents and classes to styles: both normalised, layers, truncation towards the mean of the class."""

    def __init__(self, config: Config, styles: int, psi: float) -> None:
        super().__init__(config, styles, psi)
        z_dim, self.classes = config.z_dim, config.c_dim
        self.embed = nn.Embedding(config.embeddings or config.c_dim or _IMAGENET, config.embedding)
        self.embed_proj = Dense(config.embedding, z_dim, activation="lrelu") if config.c_dim else None
        self._add_layers(z_dim * (2 if config.c_dim else 1), config)
        means = (config.c_dim, config.w_dim) if config.c_dim else (config.w_dim,)
        self.register_buffer("w_avg", torch.zeros(means))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Styles of latents.

        Parameters
        ----------
        z
            (image, z) standard normal.
        c
            (image, class), of which the largest counts, or (image,) indices of classes; ignored where there are none.

        Returns
        -------
        Tensor
            (image, style, w).

        Raises
        ------
        ValueError
            The classes have another shape.
        """
        w, mean = normalise(z), self.w_avg
        if self.embed_proj is not None:
            classes = self._indices(z, c)
            w, mean = torch.cat([w, normalise(self.embed_proj(self.embed(classes)))], 1), mean[classes]
        return self._styles(w, mean)

    def _indices(self, z: Tensor, c: Tensor | None) -> Tensor:
        """(image,) indices."""
        if c is not None and c.shape == (len(z), self.classes):
            return c.argmax(1)
        if c is not None and c.shape == (len(z),) and not c.is_floating_point():
            return c
        told = "left out" if c is None else f"{c.dtype} {tuple(c.shape)}"
        raise ValueError(f"classes are {told}, not ({len(z)}, {self.classes}) or integers ({len(z)},)")


def recognise(state: Mapping[str, Tensor]) -> Config:
    """Which generator a state dict is of.

    The channel base is the least that gives this network. What no tensor shows is as the file says, or else as
    published.

    Raises
    ------
    MisfitError
        It is of another architecture, or its constructor was given what is not known; the message names what differs
        first.
    """
    layers = layers_in(state, "StyleGAN-XL")
    if "mapping.embed.weight" not in state or "mapping.embed.bias" in state:
        raise MisfitError("they are no StyleGAN-XL's: it has an embedding of classes; are they StyleGAN3's?")
    embeddings, embedding = shape_of(state, "mapping.embed.weight", 2, "StyleGAN-XL")
    w_dim, inputs = shape_of(state, "mapping.fc0.weight", 2, "StyleGAN-XL")
    conditional = "mapping.embed_proj.weight" in state
    shapes = {
        "z_dim": shape_of(state, "mapping.embed_proj.weight", 2, "StyleGAN-XL")[0] if conditional else inputs,
        "w_dim": w_dim,
        "c_dim": shape_of(state, "mapping.w_avg", 2, "StyleGAN-XL")[0] if conditional else 0,
        "mapping_layers": mapping_layers(state),
    }
    # A network with stages on it says little of itself; the stem inside it says the rest.
    grown = _gap(layers) is not None
    stage = Arguments(state, {"": SUPERRES} if grown else {})
    stem = Arguments(state, {path: table for path, table in STYLEGANXL.items() if path or not grown})
    stem.require(**shapes)
    settings = stylegan3.synthesis_settings(state, layers, stem)
    settings.pop("layers", None)  # of the stem
    size = {"resolution": layers[-1].size, "embeddings": embeddings, "embedding": embedding}
    config = Config(**settings | shapes | size)
    first, *later = _stages(state, layers, config)
    stem.require(resolution=first[0], layers=first[1])
    if later:
        before = [first, *later][-2][0]
        side, count = later[-1]
        stage.require(resolution=side, head_layers=count, up_factor=side // before)
    config = replace(config, stem_resolution=first[0], stem_layers=first[1], head_layers=tuple(later))
    compare(lambda: StyleGANXL(config), state, "StyleGAN-XL")
    return config


def _doubling(stem: int, resolution: int, layers: int) -> tuple[Stage, ...]:
    """Stages of as many layers from a stem to a resolution, as far as doubling goes."""
    sides = (stem << power for power in range(1, max(resolution // stem, 1).bit_length()))
    return tuple((side, layers) for side in sides)


def _of_heads(filtering: Filtering) -> Filtering:
    """How later stages filter: the kernel and the kind of filter are the stem's."""
    return Filtering(kernel=filtering.kernel, radial=filtering.radial)


def _gap(layers: list[FoundLayer]) -> int | None:
    """How many layers of the stem are left where a stage was put on: its first index leaves out one."""
    return next((place for place, layer in enumerate(layers) if layer.index != place), None)


def _stages(state: Mapping[str, Tensor], layers: list[FoundLayer], config: Config) -> list[Stage]:
    """The stem and the stages on it whose layers have the names, and the filters, of those in a file.

    Raises
    ------
    MisfitError
        There are none.
    """
    head, kept, last = _of_heads(config), _gap(layers), layers[-1]

    def agree(steps: tuple[Step, ...], filtering: Filtering, done: int) -> bool:
        """Whether steps are the first layers of the file; `done` of them are known to be."""
        if [step.name for step in steps[done:]] != [layer.name for layer in layers[done : len(steps)]]:
            return False
        return all(_filters_agree(state, step, filtering) for step in steps[done:])

    def put_on(steps: tuple[Step, ...], side: int) -> Iterator[list[Stage]]:
        """The stages that lead from a network of a resolution to that of the file."""
        done = sum(not step.critical for step in steps)
        for higher in (side << power for power in range(1, (last.size // side).bit_length())):
            for count in range(Bands.critical + 1, len(layers) - done):
                grown, whole = extend(steps, higher, count, config), higher == last.size
                certain = grown if whole else tuple(step for step in grown if not step.critical)
                if (len(certain) == len(layers)) == whole and agree(certain, head, done):
                    rest = iter([[]]) if whole else put_on(grown, higher)
                    yield from ([(higher, count), *more] for more in rest)

    try:
        if kept is None:  # the network is a stem
            return [(last.size, last.index)]
        for side in (1 << power for power in range(4, last.size.bit_length() - 1)):
            stem = schedule(side, kept + config.critical, config)
            if agree(stem[:kept], config, 0) and (later := next(put_on(stem, side), None)) is not None:
                return [(side, kept + config.critical), *later]
    except (ValueError, ArithmeticError) as error:
        raise MisfitError(f"they are of no StyleGAN-XL generator that exists: {error}") from None
    raise MisfitError("they are no StyleGAN-XL generator's: no stem and stages have layers of these names and filters")


def _filters_agree(state: Mapping[str, Tensor], step: Step, filtering: Filtering) -> bool:
    for kind, taps in zip(("up", "down"), filters_of(step, filtering), strict=True):
        stored = state.get(f"synthesis.{step.name}.{kind}_filter")
        if (stored is None) != (taps is None) or (stored is not None and taps is not None and not near(stored, taps)):
            return False
    return True
