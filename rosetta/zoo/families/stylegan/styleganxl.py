"""StyleGAN-XL (Sauer et al., 2022, arXiv 2202.00273): StyleGAN3-T with a class, grown from a small stem.

A stem is trained at 16 × 16; each later stage takes off what is sampled critically and puts layers for twice the
resolution in its place. Modules and tensors have the names that they have in the published checkpoints (`G_ema`).
"""

from collections.abc import Iterator, Mapping
from typing import TypedDict

import torch
from torch import Tensor, nn

from rosetta.zoo.families.stylegan.arguments import (
    COUNT,
    FEW,
    IN_FILE,
    Honoured,
    Irrelevant,
    Table,
    Told,
    agreeing,
    given,
    near,
    require_shapes,
)
from rosetta.zoo.families.stylegan.fit import FoundLayer, channel_base, compare, layers_in, mapping_layers, shape_of
from rosetta.zoo.families.stylegan.modulation import MAPPING_RATE, Dense, normalise
from rosetta.zoo.families.stylegan.schedule import PUBLISHED as PUBLISHED_BANDS
from rosetta.zoo.families.stylegan.schedule import Bands, Step, extend, schedule
from rosetta.zoo.families.stylegan.stylegan3 import GENERATOR, MAPPING, SYNTHESIS, told_bands, told_filtering
from rosetta.zoo.families.stylegan.synthesis import OUTPUT_SCALE, Filtering, Synthesis, filters_of
from rosetta.zoo.weights.statedict import MisfitError

_IMAGENET = 1000
"""Its classes."""
Stage = tuple[int, int]
"""Side of its images in pixels, and layers before to-RGB."""


class Arguments(TypedDict, total=False):
    """What :class:`StyleGANXL` takes; what is left out has its default."""

    resolution: int
    stem_resolution: int
    stem_layers: int
    head_layers: int | tuple[Stage, ...]
    channel_base: int
    channel_max: int
    z_dim: int
    w_dim: int
    c_dim: int
    embeddings: int
    embedding_dim: int
    mapping_layers: int
    mapping_rate: float
    output_scale: float
    bands: Bands
    filtering: Filtering


PUBLISHED: dict[str, Arguments] = {
    f"imagenet-{resolution}": Arguments(resolution=resolution) for resolution in (16, 32, 64, 128, 256, 512, 1024)
}
"""The released generators of ImageNet's classes, by resolution. Those of FFHQ, Pokémon and CIFAR-10 have other layers,
which are read off their files."""


class StyleGANXL(nn.Module):
    """A generator of images of a class, or of no class.

    Parameters
    ----------
    resolution
        Side of its images in pixels, a power of two.
    stem_resolution, stem_layers
        Of the stem: side of its images, and layers before to-RGB.
    head_layers
        Layers before to-RGB that each later stage puts on where each doubles the resolution, or else the stages.
    channel_base, channel_max
        A layer has `channel_base / (2 · cutoff)` channels, but never more than `channel_max`.
    z_dim, w_dim, c_dim
        Length of latents and of styles, and number of classes; 0 where there are none.
    embeddings, embedding_dim
        How many classes have an embedding, `c_dim` if left out, and its length: mean features of a class's photographs
        in a classifier (EfficientNet-lite0), taken before training and kept with the weights. Those of ImageNet's
        thousand classes are there even in networks of fewer classes or none.
    mapping_layers, mapping_rate
        How many layers the mapping has, and their learning rate relative to the rest.
    output_scale
        From what to-RGB puts out to images in −1..1.
    bands, filtering
        Of the stem. Later stages take its last stopband, margin, kernel and kind of filter, and the rest as published.
    psi
        Truncation: styles go from the mean of their class (0) to what the mapping makes of the latents (1).
    """

    def __init__(
        self,
        resolution: int,
        *,
        stem_resolution: int = 16,
        stem_layers: int = 10,
        head_layers: int | tuple[Stage, ...] = 7,
        channel_base: int = 65536,
        channel_max: int = 1024,
        z_dim: int = 64,
        w_dim: int = 512,
        c_dim: int = 1000,
        embeddings: int | None = None,
        embedding_dim: int = 320,
        mapping_layers: int = 2,
        mapping_rate: float = MAPPING_RATE,
        output_scale: float = OUTPUT_SCALE,
        bands: Bands = PUBLISHED_BANDS,
        filtering: Filtering = Filtering(),
        psi: float = 1.0,
    ) -> None:
        super().__init__()
        steps, stem = schedule(stem_resolution, stem_layers, channel_base, channel_max, bands), stem_resolution
        if isinstance(head_layers, int):
            head_layers = _doubling(stem_resolution, resolution, head_layers)
        kept = stem_layers - bands.critical if head_layers else len(steps)
        for side, layers in head_layers:
            steps, stem = extend(steps, side, layers, channel_base, channel_max, bands), side
        if stem != resolution:
            raise ValueError(f"a stem of {stem_resolution} pixels never grows to {resolution} by doubling")
        self.resolution, self.z_dim, self.classes = resolution, z_dim, c_dim or None
        self.mapping = ClassMapping(
            z_dim,
            w_dim,
            c_dim,
            embeddings,
            embedding_dim,
            1 + len(steps),
            mapping_layers,
            mapping_rate,
            psi,
        )
        head = _of_heads(filtering)
        self.synthesis = Synthesis(
            tuple((step, filtering if place < kept else head) for place, step in enumerate(steps)), w_dim, output_scale
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Paths of the synthesis layers, whose outputs are maps, in forward order."""
        return tuple(f"synthesis.{name}" for name in self.synthesis.names)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """(image, z) standard normal and classes, as :class:`ClassMapping` takes them → (image, rgb, y, x) in −1..1."""
        images: Tensor = self.synthesis(self.mapping(z, c))
        return images


class ClassMapping(nn.Module):
    """From latents and classes to styles: both normalised, layers, truncation towards the mean of the class."""

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        c_dim: int,
        embeddings: int | None,
        embedding_dim: int,
        styles: int,
        layers: int,
        rate: float,
        psi: float,
    ) -> None:
        super().__init__()
        self.styles, self.classes, self.layers, self.psi = styles, c_dim, layers, psi
        self.embed = nn.Embedding(embeddings or c_dim or _IMAGENET, embedding_dim)
        self.embed_proj = Dense(embedding_dim, z_dim, activation="lrelu") if c_dim else None
        for layer in range(layers):
            inputs = w_dim if layer else z_dim * (2 if c_dim else 1)
            self.add_module(f"fc{layer}", Dense(inputs, w_dim, activation="lrelu", rate=rate))
        self.register_buffer("w_avg", torch.zeros(c_dim, w_dim) if c_dim else torch.zeros(w_dim))

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
        for layer in range(self.layers):
            w = self.get_submodule(f"fc{layer}")(w)
        return mean.lerp(w, self.psi)[:, None].repeat(1, self.styles, 1)

    def _indices(self, z: Tensor, c: Tensor | None) -> Tensor:
        """(image,) indices."""
        if c is not None and c.shape == (len(z), self.classes):
            return c.argmax(1)
        if c is not None and c.shape == (len(z),) and not c.is_floating_point():
            return c
        told = "left out" if c is None else f"{c.dtype} {tuple(c.shape)}"
        raise ValueError(f"classes are {told}, not ({len(z)}, {self.classes}) or integers ({len(z)},)")


MAPPING_OF_CLASSES: Table = {**MAPPING, "rand_embedding": IN_FILE}
"""What becomes of the arguments of StyleGAN-XL's `MappingNetwork`."""
STEM: Table = {**GENERATOR, "mapping_kwargs": MAPPING_OF_CLASSES}
"""And of its `Generator`, which is a stem."""
SUPERRES: Table = {
    "img_resolution": Honoured("resolution", COUNT),
    "path_stem": Irrelevant("names the file that the stem was taken from"),
    "head_layers": Honoured("head_layers", COUNT),
    "up_factor": Honoured("up_factor", FEW),
    **dict.fromkeys(
        (name for name in GENERATOR if name != "img_resolution"), Irrelevant("taken and never used; the stem decides")
    ),
}
"""And of its `SuperresGenerator`, a stage that is put on."""


def recognise(state: Mapping[str, Tensor]) -> Arguments:
    """Which generator a state dict is of.

    Returns
    -------
    Arguments
        All of them; the channel base is the least that gives this network. `psi` is no part of the weights. What no
        tensor tells is as the file says, or else as published.

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
    seen = {
        "z_dim": shape_of(state, "mapping.embed_proj.weight", 2, "StyleGAN-XL")[0] if conditional else inputs,
        "w_dim": w_dim,
        "c_dim": shape_of(state, "mapping.w_avg", 2, "StyleGAN-XL")[0] if conditional else 0,
        "mapping_layers": mapping_layers(state),
    }
    grown = _gap(layers) is not None
    root = given(state, "", SUPERRES if grown else STEM)
    stem = agreeing(Told() if grown else root, given(state, "synthesis", SYNTHESIS))
    mapping = agreeing(Told() if grown else root, given(state, "mapping", MAPPING_OF_CLASSES))
    require_shapes(stem, **seen)
    require_shapes(mapping, **seen)
    filtering = told_filtering(state, stem, layers[0].name)
    arguments = Arguments(
        **seen,  # type: ignore[typeddict-item]
        resolution=layers[-1].size,
        channel_base=stem.get("channel_base", channel_base(layers)),
        channel_max=stem.get("channel_max", layers[0].channels),
        embeddings=embeddings,
        embedding_dim=embedding,
        mapping_rate=mapping.get("mapping_rate", MAPPING_RATE),
        output_scale=stem.get("output_scale", OUTPUT_SCALE),
        bands=told_bands(stem),
        filtering=filtering,
    )
    first, *later = _stages(state, layers, arguments)
    require_shapes(stem, resolution=first[0], layers=first[1])
    if later:
        before = [first, *later][-2][0]
        side, count = later[-1]
        require_shapes(root, resolution=side, head_layers=count, up_factor=side // before)
    arguments.update(stem_resolution=first[0], stem_layers=first[1], head_layers=tuple(later))
    compare(lambda: StyleGANXL(**arguments), state, "StyleGAN-XL")
    return arguments


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


def _stages(state: Mapping[str, Tensor], layers: list[FoundLayer], arguments: Arguments) -> list[Stage]:
    """The stem and the stages on it whose layers have the names, and the filters, of those in a file.

    Raises
    ------
    MisfitError
        There are none.
    """
    bands, head, kept = arguments["bands"], _of_heads(arguments["filtering"]), _gap(layers)
    widths, last = (arguments["channel_base"], arguments["channel_max"]), layers[-1]

    def agree(steps: tuple[Step, ...], filtering: Filtering, done: int) -> bool:
        """Whether steps are the first layers of the file; `done` of them are known to be."""
        if [step.name for step in steps[done:]] != [layer.name for layer in layers[done : len(steps)]]:
            return False
        return all(_filters_agree(state, step, filtering) for step in steps[done:])

    def put_on(steps: tuple[Step, ...], side: int) -> Iterator[list[Stage]]:
        """The stages that lead from a network of a resolution to that of the file."""
        done = sum(not step.critical for step in steps)
        for higher in (side << power for power in range(1, (last.size // side).bit_length())):
            for count in range(PUBLISHED_BANDS.critical + 1, len(layers) - done):
                grown, whole = extend(steps, higher, count, *widths, bands), higher == last.size
                certain = grown if whole else tuple(step for step in grown if not step.critical)
                if (len(certain) == len(layers)) == whole and agree(certain, head, done):
                    rest = iter([[]]) if whole else put_on(grown, higher)
                    yield from ([(higher, count), *more] for more in rest)

    try:
        if kept is None:  # the network is a stem
            return [(last.size, last.index)]
        for side in (1 << power for power in range(4, last.size.bit_length() - 1)):
            stem = schedule(side, kept + bands.critical, *widths, bands)
            if agree(stem[:kept], arguments["filtering"], 0):
                found = next(put_on(stem, side), None)
                if found is not None:
                    return [(side, kept + bands.critical), *found]
    except (ValueError, ArithmeticError) as error:
        raise MisfitError(f"they are of no StyleGAN-XL generator that exists: {error}") from None
    raise MisfitError("they are no StyleGAN-XL generator's: no stem and stages have layers of these names and filters")


def _filters_agree(state: Mapping[str, Tensor], step: Step, filtering: Filtering) -> bool:
    for kind, taps in zip(("up", "down"), filters_of(step, filtering), strict=True):
        held = state.get(f"synthesis.{step.name}.{kind}_filter")
        if (held is None) != (taps is None) or (held is not None and taps is not None and not near(held, taps)):
            return False
    return True
