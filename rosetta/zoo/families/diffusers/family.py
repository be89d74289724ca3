"""Diffusion pipelines of diffusers (Ho et al., 2020; Song et al., 2021; DiT: Peebles & Xie, 2023; flow matching: Esser
et al., 2024).
"""

from collections.abc import Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any

from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture, FolderFamily, State
from rosetta.zoo.families.diffusers import consistency, decoder, saved
from rosetta.zoo.families.diffusers.kind import Kind
from rosetta.zoo.families.diffusers.kinds import KINDS
from rosetta.zoo.families.diffusers.pipeline import CLASSES, Make, Pipeline, make_pipeline, settings
from rosetta.zoo.families.diffusers.prompted import Origin, describe
from rosetta.zoo.families.diffusers.published import PUBLISHED, Config, Published
from rosetta.zoo.families.diffusers.sampling import (
    STEPS,
    Generator,
    Observer,
    looks_of,
    require_trained,
    timesteps_of,
)
from rosetta.zoo.families.diffusers.texts import encoders, from_folder, invented, stamp
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.preprocessing import Preprocessing
from rosetta.zoo.weights.source import Folder

CUSTOM = "custom"
"""The name of a pipeline whose configuration is that of its folder."""
_HALF = (0.5, 0.5, 0.5)
_OF_MAKING = ("bound", "steps", "guidance")
"""Conditions that mean nothing to a model that looks at images."""
_OF_PROMPTS = ("prompts", "size")
"""Those of pipelines with prompts alone."""
_OF_NO_ACCOUNT = frozenset({("vae", "sample_size"), ("vae", "force_upcast"), ("vae", "downsample_block_type")})
"""Settings that change nothing here."""


class Diffusers(FolderFamily):
    """The family `diffusers`; imports the library, which is optional, only when used.

    With a timestep, a model looks at images; else it makes them. Default layers are, of a U-Net, what its blocks give,
    and of a transformer, the activations inside its MLPs. A block on the way down gives two things, so there it is the
    last module inside that is taken. Pipelines with prompts are in :mod:`rosetta.zoo.families.diffusers.prompted`.
    """

    name = "diffusers"
    description = (
        "diffusion models of diffusers in both roles: U-Nets, DiT, Flux, Stable Diffusion 3, Sana, PixArt, "
        "consistency models and decoders; pip install 'rosetta-mine[diffusion]'"
    )
    libraries = ("diffusers", "transformers")
    generators = True
    conditions = frozenset({"classes", "bound", "steps", "guidance", "timestep", "prompts", "size"})
    fetches = True

    def names(self) -> list[str]:
        """Pipelines whose configuration is known, `custom`, and `vae-custom`, a decoder alone."""
        return sorted([*PUBLISHED, CUSTOM, decoder.NAME])

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        self.require_known(name)
        published = PUBLISHED.get(name)
        if published is None:
            raise UserError(
                f"diffusers/{name} has no configuration of its own; give the folder of a saved "
                f"{'autoencoder' if name == decoder.NAME else 'pipeline'} as weights"
            )
        make = partial(self._download, name, published) if pretrained else None
        origin = f"diffusers/{name}"
        if published.pipeline is not None:
            return self._prompted(name, published, condition, make)
        return _describe(make_pipeline(published.configs, origin, make), origin, condition)

    def files(self, name: str, folder: Folder) -> tuple[str, ...]:
        """See :meth:`rosetta.zoo.architecture.FolderFamily.files`."""
        return decoder.files(folder) if name == decoder.NAME else saved.files(folder)

    def build_from(self, name: str, folder: Folder, condition: Condition) -> tuple[Architecture, dict[str, Tensor]]:
        """See :meth:`rosetta.zoo.architecture.FolderFamily.build_from`.

        A folder under a published name must have its configuration, in all that decides what the model does.
        """
        self.require_known(name)
        if name == decoder.NAME:
            return decoder.build_from(folder, condition)
        if consistency.is_one(folder):
            return consistency.build_from(name, folder, condition, _block_outputs)
        published = PUBLISHED.get(name)
        configs = saved.read_configs(folder)
        origin, kind = f"weights {folder.text!r}", saved.kind_of(folder)
        if published is not None:
            _require_alike(configs, published.configs, f"diffusers/{name}", origin, kind)
        if kind is not None:
            kind, index = _kind(kind, published), saved.read_index(folder)
            steps, texts = published.steps if published else None, stamp(kind, folder)
            source = Origin(origin, index, configs, steps=steps, texts=texts)
            encode = partial(encoders, kind, partial(from_folder, kind, folder), origin)
            return describe(kind, source, condition, encode), saved.read_state(folder)
        architecture = _describe(make_pipeline(configs, origin), f"diffusers/{name}", condition)
        return architecture, saved.read_state(folder)

    def _prompted(self, name: str, published: Published, condition: Condition, make: Make | None) -> Architecture:
        """A published pipeline with prompts, from the hub or with random weights."""
        origin, kind = f"diffusers/{name}", _kind(KINDS[str(published.pipeline)], published)

        def fetch() -> Any:
            with self.building(name, True, "the folder of a saved pipeline"):
                return kind.made.from_pretrained(
                    published.repository, transformer=None, vae=None, torch_dtype="auto", trust_remote_code=False
                )

        encode = invented if make is None else partial(encoders, kind, fetch, origin)
        source = Origin(origin, published.index, published.configs, make, published.steps)
        return describe(kind, source, condition, encode)

    def _download(self, name: str, published: Published, part: str, kind: Any, chosen: dict[str, Any]) -> nn.Module:
        """A component from the hub, by the library's own ways."""
        inside = {"subfolder": part} if published.subfolders else {}
        with self.building(name, True, "the folder of a saved pipeline"):
            module: nn.Module = kind.from_pretrained(published.repository, low_cpu_mem_usage=False, **inside)
        return module


def _kind(kind: Kind, published: Published | None) -> Kind:
    """A kind with the prompts of a published pipeline."""
    if published is None or published.words is None:
        return kind
    kind = copy(kind)
    kind.words = published.words
    return kind


def _describe(pipeline: Pipeline, origin: str, condition: Condition) -> Architecture:
    """A pipeline in the role that a recipe gives it."""
    kind, (channels, height, width) = pipeline.kind, pipeline.shape
    for field in _OF_PROMPTS:
        if getattr(condition, field) is not None:
            raise UserError(f"{origin} makes images without prompts, of one size; remove condition.{field}")
    known, named = pipeline.classes, condition.classes or ()
    traits = Traits()
    layers = tuple(f"{kind}.{path}" for path in _block_outputs(pipeline.denoiser)) if kind == "unet" else ()
    if kind == "transformer":
        settled: Any = pipeline.denoiser.config
        patch = int(settled.patch_size)
        traits = Traits(prefix_tokens=0, token_grid=(height // patch, width // patch))
        layers = (f"{kind}.transformer_blocks.*.ff.net.0",)
    if condition.timestep is not None:
        _require_look(condition, pipeline, origin)
        return Architecture(
            Observer(pipeline, *looks_of(condition), named[0] if named else None),
            Preprocessing(pipeline.image_size, "bicubic", _HALF, _HALF),
            indexed=True,
            layers=layers,
            traits=traits,
        )
    if condition.guidance is not None and known is None:
        raise UserError(f"{origin} knows no classes to be guided to; remove condition.guidance")
    steps = timesteps_of(pipeline, condition.steps or STEPS, origin)
    return Architecture(
        Generator(pipeline, steps, condition.guidance or 1.0),
        latent=channels * height * width,
        classes=known,
        image_size=pipeline.image_size,
        layers=layers,
        traits=traits,
    )


def _block_outputs(unet: Any) -> Iterator[str]:
    """Paths of the modules that give what the blocks of a U-Net give, as single tensors."""
    for place, block in enumerate(unet.down_blocks):
        lists = ("downsamplers", "attentions", "resnets")
        last = next((name for name in lists if getattr(block, name, None)), None)
        if last is not None:
            yield f"down_blocks.{place}.{last}.{len(getattr(block, last)) - 1}"
    if unet.mid_block is not None:
        yield "mid_block"
    yield from (f"up_blocks.{place}" for place in range(len(unet.up_blocks)))


def _require_look(condition: Condition, pipeline: Pipeline, origin: str) -> None:
    """
    Raises
    ------
    UserError
        What the recipe says does not go with looking at images.
    """
    for field in _OF_MAKING:
        if getattr(condition, field) is not None:
            raise UserError(
                f"{origin}: condition.{field} is about making images, and condition.timestep about looking at them; "
                "remove one of the two"
            )
    require_trained(condition, pipeline.scheduler, origin)
    named = condition.classes or ()
    if named and pipeline.classes is None:
        raise UserError(f"{origin} knows no classes; remove condition.classes")
    if len(named) > 1:
        raise UserError(
            f"{origin}: condition.classes names {len(named)}, but every image is looked at as one; name one"
        )
    if named and pipeline.classes is not None and named[0] >= pipeline.classes:
        raise UserError(f"{origin}: condition.classes has {named[0]}, but its classes are 0 to {pipeline.classes - 1}")


def _require_alike(
    configs: Mapping[str, Config], published: Mapping[str, Config], model: str, origin: str, kind: Kind | None
) -> None:
    """
    Raises
    ------
    UserError
        A folder holds another pipeline than it is said to.
    """
    if set(configs) != set(published):
        raise UserError(
            f"{origin} have the components {', '.join(configs)}, but {model} has {', '.join(published)}; "
            f"name the model diffusers/{CUSTOM}"
        )
    for part in published:
        classes = CLASSES if kind is None else kind.classes
        (_, mine), (_, theirs) = (
            settings(part, config[part], text, classes) for config, text in ((configs, origin), (published, model))
        )
        for name, value in theirs.items():
            if mine[name] != value and (part, name) not in _OF_NO_ACCOUNT:
                raise UserError(
                    f"{origin} are not of {model}: the {name} of its {part} is {mine[name]!r}, not {value!r}; "
                    f"name the model diffusers/{CUSTOM}"
                )
