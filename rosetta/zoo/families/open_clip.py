"""Image towers of OpenCLIP (Radford et al., 2021; Ilharco et al., 2021; SigLIP: Zhai et al., 2023)."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from torch import nn

from rosetta.errors import UserError, nearest
from rosetta.model_spec import Condition
from rosetta.units import Grid
from rosetta.zoo.architecture import Architecture, OptionFamily, State
from rosetta.zoo.families.timm import RESNET_STAGES, Timm, describe, is_saved, require_saved
from rosetta.zoo.families.token_orders import layouts_of
from rosetta.zoo.lean_import import without_compiler
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.options import Options
from rosetta.zoo.preprocessing import Preprocessing, differing, require_patches

_MLP_ACTIVATIONS = ("transformer.resblocks.*.mlp.gelu",)
_SAVED = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
"""Files of weights that the library takes before any other; both are of tensors alone."""
_FORCED = frozenset({"force_quick_gelu", "force_patch_dropout"})
"""Keywords of `create_model` that are about the image tower."""
_RESNET_CELL = 32
"""Pixels in a cell of a ResNet's last map."""
_VISUAL, _TRUNK = "visual.", "trunk."
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
"""The least text tower: the library builds none without, and the real ones are large or need further libraries."""


class OpenCLIP(OptionFamily):
    """The family `open_clip`; imports the library, which is optional, only when used.

    A name is the library's, `ViT-B-16` say, and may be followed by the tag of published weights, `ViT-B-16.openai`.
    The tag decides the colours that the tower wants and whether its activations are QuickGELUs, for weights from a
    file as well. Without one, the colours are those that all published weights of the name share, else the library's
    default.
    """

    name = "open_clip"
    description = "image towers of OpenCLIP, as names of timm are given; pip install 'rosetta-mine[clip]'"
    libraries = ("open_clip_torch", "timm")
    fetches = True

    def names(self) -> list[str]:
        """Towers of the installed release, without tags; empty where it is not installed."""
        try:
            return sorted(_library().list_models())
        except UserError:
            return []

    def construct(
        self, name: str, state: State | None, pretrained: bool, condition: Condition, options: Options
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.OptionFamily.construct`."""
        library = _library()
        if is_saved(name):
            require_saved(name, "open_clip_config.json", _SAVED)
            options.require(f"open_clip/{name}", _FORCED, weights_tell=True)
            with self.building(name, pretrained, options=options):
                whole = library.create_model(
                    name, load_weights=pretrained, force_image_size=options.size, **options.values
                )
            saved: nn.Module = whole.visual
            return _describe(saved, [dict(getattr(saved, "preprocess_cfg", {}))])
        base, tag, published = self._published(name, pretrained)
        config = _configured(library, base, options)
        size = _accepted(f"open_clip/{base}", config["vision_cfg"], options.size)
        if tag and "quick_gelu" not in options.values.keys() | _forced(options):
            config["quick_gelu"] = bool(published[0].get("quick_gelu")) or config["quick_gelu"]
        with self.building(name if pretrained else base, pretrained, options=options):
            if pretrained:
                whole = library.create_model(
                    base,
                    pretrained=tag,
                    force_quick_gelu=config["quick_gelu"],
                    force_image_size=size,
                    **(_with_size(config, size) if options.values else {}),
                )
                tower: nn.Module = whole.visual
            else:
                tower = _tower(library, config, size)
        described = _describe(tower, published)
        return replace(described, published=f"open_clip/{name}") if tag else described

    def with_text(self, name: str, pretrained: bool) -> tuple[nn.Module, Preprocessing, Any]:
        """A whole model: its module with both towers, what is done to its images, and its tokenizer.

        Raises
        ------
        UserError
            As :meth:`construct`, or its tokenizer cannot be had.
        """
        library = _library()
        if is_saved(name):
            require_saved(name, "open_clip_config.json", _SAVED)
            base, published = name, None
            quick: dict[str, Any] = {}
        else:
            base, tag, published = self._published(name, pretrained)
            quick_gelu = bool(library.get_model_config(base).get("quick_gelu"))
            quick = {"force_quick_gelu": quick_gelu or bool(tag and published[0].get("quick_gelu"))}
            quick |= {"pretrained": tag} if pretrained else {}
        with self.building(name, pretrained), _quiet():
            module = library.create_model(base, load_weights=pretrained, pretrained_text=False, **quick)
        if published is None:
            published = [dict(getattr(module.visual, "preprocess_cfg", {}))]
        try:
            tokenizer = library.get_tokenizer(base)
        except Exception as error:  # of a library that reads it from the network
            raise UserError(
                f"open_clip/{name}: its tokenizer cannot be had ({type(error).__name__}); go online once, or name a "
                "model with the tokenizer of CLIP"
            ) from None
        return module, _preprocessing(module.visual, published), tokenizer

    def _published(self, name: str, pretrained: bool) -> tuple[str, str, list[Mapping[str, Any]]]:
        """A name without its tag, the tag, and what is known of the published weights that it may stand for."""
        library = _library()
        base, _, tag = name.partition(".")
        self.require_known(base)
        tags = library.list_pretrained_tags_by_model(base)
        if tag and tag not in tags:
            raise UserError(f"open_clip/{name}: no tag {tag!r}{nearest(tag, tags) or f'; it has {sorted(tags)}'}")
        if pretrained and not tag:
            example = (
                f"; name it with a tag, for example open_clip/{base}.{tags[0]}" if tags else "; give a file as weights"
            )
            raise UserError(f"open_clip/{base} has no weights of its own{example}")
        return base, tag, [library.get_pretrained_cfg(base, each) for each in ([tag] if tag else tags)]

    def translate(self, module: nn.Module, state: State) -> State:
        """Position embeddings at the size of the tower, as the library resamples them."""
        trunk = getattr(module, "trunk", None)
        if isinstance(trunk, nn.Module):  # a network of timm
            inside = {name.removeprefix(_TRUNK): value for name, value in state.items() if name.startswith(_TRUNK)}
            beside = {name: value for name, value in state.items() if not name.startswith(_TRUNK)}
            return beside | {f"{_TRUNK}{name}": value for name, value in Timm().translate(trunk, inside).items()}
        whole = {f"{_VISUAL}{name}": value for name, value in state.items()}
        try:
            _library().model.resize_pos_embed(whole, SimpleNamespace(visual=module))
        except (RuntimeError, ValueError):  # of another tower; the caller says in what they differ
            return state
        return {name.removeprefix(_VISUAL): value for name, value in whole.items()}

    def prepare(self, architecture: Architecture, stated: Mapping[str, Any]) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.prepare`; the size is that of the tower as it was built."""
        patch: Any = getattr(architecture.module, "patch_size", None)
        if "size" in stated and patch is not None:
            require_patches(stated["size"], patch)
        return super().prepare(architecture, stated)

    def unsure(self, name: str) -> tuple[str, ...]:
        """See :meth:`rosetta.zoo.architecture.Family.unsure`; a tag settles it."""
        base, _, tag = name.partition(".")
        library = _library()
        if is_saved(name):
            return ()
        tags = [] if tag else library.list_pretrained_tags_by_model(base)
        return differing(_colours([library.get_pretrained_cfg(base, each) for each in tags]))


@contextmanager
def _quiet() -> Iterator[None]:
    """The library does not warn that a model has the weights that were asked for: random ones."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _library() -> Any:
    try:
        with without_compiler():
            import open_clip
    except ImportError as error:
        raise UserError(f"open_clip cannot be imported ({error}); pip install 'rosetta-mine[clip]'") from None
    return open_clip


def _configured(library: Any, name: str, options: Options) -> dict[str, Any]:
    """The library's configuration of an image tower with a recipe's options in it, by keywords of `create_model`.

    Raises
    ------
    UserError
        The configuration has no such fields.
    """
    config = library.get_model_config(name)
    model = f"open_clip/{name}"
    options.require(model, {"embed_dim", "quick_gelu", "vision_cfg", *_FORCED}, weights_tell=True)
    given = options.values.get("vision_cfg", {})
    if not isinstance(given, Mapping):
        raise UserError(f"{model}: options.vision_cfg is {given!r}; it must be a table of fields")
    Options(given).require(f"{model} (vision_cfg)", set(vars(library.CLIPVisionCfg())), weights_tell=True)
    found = {
        "embed_dim": config["embed_dim"],
        "quick_gelu": config.get("quick_gelu", False),
        **options.values,
        "vision_cfg": {**config["vision_cfg"], **given},
    }
    forced = {name: found.pop(f"force_{name}") for name in _forced(options)}
    if "patch_dropout" in forced:
        found["vision_cfg"]["patch_dropout"] = forced.pop("patch_dropout")
    return found | forced


def _forced(options: Options) -> set[str]:
    return {name.removeprefix("force_") for name in options.values if name in _FORCED}


def _accepted(model: str, vision: Mapping[str, Any], size: Grid | None) -> Grid | int | None:
    """A size as the library takes it.

    Raises
    ------
    UserError
        The tower does not take it.
    """
    if size is None or not isinstance(vision.get("layers"), list | tuple):
        return size
    if size[0] != size[1] or size[0] % _RESNET_CELL:  # what pools a ResNet's last map counts its cells
        raise UserError(f"{model} takes square images of a multiple of {_RESNET_CELL}; state such a size")
    return size[0]


def _with_size(config: Mapping[str, Any], size: Grid | int | None) -> dict[str, Any]:
    image = {} if size is None else {"image_size": size}
    return {**config, "vision_cfg": {**config["vision_cfg"], **image, "timm_model_pretrained": False}}


def _tower(library: Any, config: Mapping[str, Any], size: Grid | int | None) -> nn.Module:
    """A tower without weights."""
    # This fails where a tower wants a newer timm than the installed one, say.
    tower: nn.Module = library.CLIP(**_with_size(config, size), text_cfg=_NO_TEXT).visual
    resize: Any = getattr(tower, "set_input_size", None)
    if size is not None and resize is not None:
        resize(size)
    return tower


def _describe(tower: nn.Module, published: list[Mapping[str, Any]]) -> Architecture:
    """A tower with its preprocessing, default layers and traits."""
    preprocessing = _preprocessing(tower, published)
    trunk = getattr(tower, "trunk", None)
    if isinstance(trunk, nn.Module):  # a network of timm under a head of the library's
        inside = describe(trunk, preprocessing.size)
        preferred = tuple(tuple(f"trunk.{glob}" for glob in some) for some in inside.preferred)
        return Architecture(tower, preprocessing, preferred=preferred, traits=inside.traits.below("trunk"))
    if all(hasattr(tower, stage) for stage in RESNET_STAGES):
        return Architecture(tower, preprocessing, layers=RESNET_STAGES)
    rows, columns = tower.grid_size  # type: ignore[misc]
    declared = layouts_of(tower)
    if getattr(tower, "attn_pool", None) is not None:  # CoCa's; what follows it are its queries, too
        declared["exceptions"]["ln_post"] = declared["exceptions"].get("attn_pool", {})
    traits = Traits(prefix_tokens=1, token_grid=(int(rows), int(columns)), **declared)
    return Architecture(tower, preprocessing, layers=_MLP_ACTIVATIONS, traits=traits)


def _colours(published: list[Mapping[str, Any]]) -> set[Preprocessing]:
    """The different preprocessings of published weights, their sizes aside."""
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    configs = (merge_preprocess_dict(PreprocessCfg(), each) for each in published)
    return {
        Preprocessing.published((1, 1), config["interpolation"], config["mean"], config["std"]) for config in configs
    }


def _preprocessing(tower: nn.Module, published: list[Mapping[str, Any]]) -> Preprocessing:
    # What the library does beside it, cropping and padding, is left out: see Preprocessing.
    found = _colours(published)
    (usual,) = found if len(found) == 1 else _colours([{}])
    size: Any = tower.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return replace(usual, size=(int(height), int(width)))
