"""Image towers of OpenCLIP (Radford et al., 2021; Ilharco et al., 2021; SigLIP: Zhai et al., 2023)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from rosetta.errors import UserError, nearest
from rosetta.model_spec import Condition
from rosetta.zoo.architecture import Architecture, Family, State
from rosetta.zoo.families.timm import RESNET_STAGES, describe, is_saved, require_saved, traits_of
from rosetta.zoo.families.token_orders import layouts_of
from rosetta.zoo.lean_import import without_compiler
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.preprocessing import Preprocessing, differing

_MLP_ACTIVATIONS = ("transformer.resblocks.*.mlp.gelu",)
_SAVED = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
"""Files of weights that the library takes before any other; both are of tensors alone."""
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
"""The least text tower: the library builds none without, and the real ones are large or need further libraries."""


class OpenCLIP(Family):
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

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.Family.build`."""
        library = _library()
        if is_saved(name):
            require_saved(name, "open_clip_config.json", _SAVED)
            with self.building(name, pretrained):
                saved: nn.Module = library.create_model(name, load_weights=pretrained).visual
            return _describe(saved, [dict(getattr(saved, "preprocess_cfg", {}))])
        base, _, tag = name.partition(".")
        self.require_known(base)
        tags = library.list_pretrained_tags_by_model(base)
        if tag and tag not in tags:
            raise UserError(f"open_clip/{name}: no tag {tag!r}{nearest(tag, tags) or f'; it has {sorted(tags)}'}")
        if pretrained and not tag:
            example = f"; name it with a tag, open_clip/{base}.{tags[0]} say" if tags else "; give a file as weights"
            raise UserError(f"open_clip/{base} has no weights of its own{example}")
        published = [library.get_pretrained_cfg(base, each) for each in ([tag] if tag else tags)]
        quick = bool(tag and published[0].get("quick_gelu"))
        with self.building(name if pretrained else base, pretrained):
            if pretrained:
                tower: nn.Module = library.create_model(base, pretrained=tag, force_quick_gelu=quick).visual
            else:
                tower = _tower(library, base, quick)
        return _describe(tower, published)

    def unsure(self, name: str) -> tuple[str, ...]:
        """See :meth:`rosetta.zoo.architecture.Family.unsure`; a tag settles it."""
        base, _, tag = name.partition(".")
        library = _library()
        if is_saved(name):
            return ()
        tags = [] if tag else library.list_pretrained_tags_by_model(base)
        return differing(_colours([library.get_pretrained_cfg(base, each) for each in tags]))


def _library() -> Any:
    try:
        with without_compiler():
            import open_clip
    except ImportError as error:
        raise UserError(f"open_clip cannot be imported ({error}); pip install 'rosetta-mine[clip]'") from None
    return open_clip


def _tower(library: Any, name: str, quick: bool) -> nn.Module:
    """A tower without weights; `quick` where its weights want QuickGELU though the name does not say so."""
    config = library.get_model_config(name)
    vision = {**config["vision_cfg"], "timm_model_pretrained": False}
    quick = quick or config.get("quick_gelu", False)
    # This fails where a tower wants a newer timm than the installed one, say.
    tower: nn.Module = library.CLIP(config["embed_dim"], vision, _NO_TEXT, quick_gelu=quick).visual
    return tower


def _describe(tower: nn.Module, published: list[Mapping[str, Any]]) -> Architecture:
    """A tower with its preprocessing, default layers and traits."""
    preprocessing = _preprocessing(tower, published)
    trunk = getattr(tower, "trunk", None)
    if isinstance(trunk, nn.Module):  # a network of timm under a head of the library's
        inside = describe(trunk)
        preferred = tuple(tuple(f"trunk.{glob}" for glob in some) for some in inside.preferred)
        traits = traits_of(trunk, preprocessing.size)  # which is not always that of timm's configuration
        return Architecture(tower, preprocessing, preferred=preferred, traits=traits.below("trunk"))
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
