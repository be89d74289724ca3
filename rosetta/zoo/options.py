"""What a recipe passes to the constructor of a model: which names it takes, and which this project decides itself."""

import inspect
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from rosetta.errors import UserError, nearest
from rosetta.units import Grid

_WEIGHTS = "the model's `weights` say which"
_SIZE = "state `size` in the model's table"
_PLACES = "`layers` choose what is looked at"
_COLOURS = "state `mean`, `std` and `interpolation` in the model's table"
_DEVICE = "`compute.device` says where, and models run in float32"
_CODE = "code that comes with a model never runs"
_CLASSES = ("num_classes", "num_labels")
_CHANNELS = ("in_chans", "num_channels")
_RGB = 3
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_DECIDED = {
    **dict.fromkeys(
        ("pretrained", "checkpoint_path", "weights", "load_weights", "cache_dir", "pretrained_cfg",
         "pretrained_cfg_overlay", "pretrained_model_args", "weights_init", "init_weights", "timm_model_pretrained",
         "progress"),
        _WEIGHTS,
    ),
    **dict.fromkeys(("img_size", "image_size", "input_size", "force_image_size"), _SIZE),
    **dict.fromkeys(
        ("features_only", "out_indices", "out_features", "feature_cfg", "feature_cls", "output_hidden_states",
         "output_attentions", "output_dict", "output_tokens", "return_dict"),
        _PLACES,
    ),
    **dict.fromkeys(
        ("mean", "std", "interpolation", "image_mean", "image_std", "image_interpolation", "transform_input",
         "force_preprocess_cfg"),
        _COLOURS,
    ),
    **dict.fromkeys(
        ("device", "dtype", "torch_dtype", "precision", "jit", "scriptable", "exportable", "no_jit"), _DEVICE
    ),
    **dict.fromkeys(("trust_remote_code", "auto_map"), _CODE),
}  # fmt: skip
"""Options of libraries that would change what a recipe states elsewhere, with where that is."""


@dataclass(frozen=True)
class Options:
    """What a recipe asks of the constructor that a library builds a model with."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments, as plain values."""
    size: Grid | None = None
    """Height and width of the images that the model is to take, where the recipe states them."""

    def __str__(self) -> str:
        """As errors tell of them: nothing where there are none."""
        named = f" with options {', '.join(self.values)}" if self.values else ""
        return named + (" for images of {} × {}".format(*self.size) if self.size else "")

    def require(self, model: str, known: Set[str], weights_tell: bool) -> None:
        """Check the names before anything is built.

        Parameters
        ----------
        model
            What errors call the model.
        known
            Names that its constructor takes.
        weights_tell
            Whether there are weights that tell the number of classes.

        Raises
        ------
        UserError
            The constructor does not know one, or the project decides about it.
        """
        for name, value in self.values.items():
            why = _DECIDED.get(name)
            if name in _CHANNELS and value != _RGB:
                why = f"models see RGB images, of {_RGB} channels"
            if name in _CLASSES and weights_tell:
                why = "the weights tell the number of classes"
            if why is not None:
                raise UserError(f"{model}: options.{name} cannot be set: {why}; remove it")
            if name not in known:
                free = sorted(known - _DECIDED.keys())
                hint = nearest(name, free) or f"; it takes {', '.join(free) or 'none'}"
                raise UserError(f"{model} takes no option {name!r}{hint}")


def parameters(constructor: Callable[..., Any]) -> set[str]:
    """Names of the keyword arguments that a class or function takes and that may be left out.

    Where a class takes keywords of any name, these are those of the classes that it derives from, and the fields of the
    configuration that it takes beside them, as some classes of timm do.
    """
    names: set[str] = set()
    for function in _initialisers(constructor):
        found = inspect.signature(function).parameters.values()
        names |= {one.name for one in found if one.kind in _BY_NAME and one.default is not one.empty}
        if not takes_any(function):
            break
        for kind in _annotations(function):
            names |= {one.name for one in fields(kind)} if is_dataclass(kind) else set()
    return names - {"cfg"}


def takes_any(function: Callable[..., Any]) -> bool:
    """Whether a function takes keyword arguments of any name."""
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in inspect.signature(function).parameters.values())


def _initialisers(constructor: Callable[..., Any]) -> list[Callable[..., Any]]:
    """A function itself; of a class its `__init__`, then those of the classes that it derives from."""
    if not isinstance(constructor, type):
        return [constructor]
    return [vars(kind)["__init__"] for kind in constructor.__mro__ if "__init__" in vars(kind)]


def _annotations(function: Callable[..., Any]) -> list[Any]:
    """Types of the parameters, and those inside an optional one; none where they are not to be had."""
    try:
        hints: list[Any] = [*get_type_hints(function).values()]
    except (NameError, TypeError):
        return []
    return [part for kind in hints for part in (get_args(kind) or (kind,))]
