"""A user's own model: `python:<module>:<factory>`.

`factory()` returns a `torch.nn.Module`. It is called with the `options` of the model's table as keyword arguments,
without any if there are none. By default that is a discriminative model of
normalised images (image, rgb, y, x), looked at through its stage outputs. Attributes of the module, all
optional, say more:

`preprocessing`
    A :class:`rosetta.zoo.Preprocessing`, or a mapping with its fields. Left out: bilinear, and the mean and std
    of ImageNet.
`image_size`
    (height, width) that the default preprocessing resizes to, 224 × 224 if left out. Of a generator: of the
    images that it makes.
`default_layers`
    Globs over module paths, captured where the recipe names no layers.
`latent`
    An int: the module is then a generator, (image, latent) standard normal → (image, rgb, y, x) in −1..1.
`classes`
    An int: the generator then takes the indices of its images' classes (image,) int64 beside the latents.
`class_names`
    Names of the classes whose scores, before the softmax, it returns as (image, class); it returns no scores if left
    out.
`num_prefix_tokens`
    Class and register tokens at the head of its token sequences; inferred if left out.
`token_grid`
    (rows, columns) of its patch tokens; inferred from the image's proportions if left out.
`num_suffix_tokens`
    Tokens without a place at the end of its token sequences; none if left out.
`channels_last`
    Whether 4-D outputs that could be read either way are (image, y, x, channel); inferred from the modules around
    them if left out.
`batch_first`
    False where token sequences are (token, image, channel).
`map_layouts`
    By module path, a mapping with those of the five attributes above in which the module differs from the others.
`map_frames`
    By module path, (y0, x0, y1, x1) in fractions of the image: what the module's maps cover, where they reach beyond
    it. They are cropped to the image.

Weights are `random:<seed>` (the factory is called with that seed set), a file (loaded into what the factory
returns), or `pretrained` (what the factory returns, as it is). The module must be importable, so its folder
belongs on PYTHONPATH.
"""

import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from rosetta.errors import UserError, nearest
from rosetta.model_spec import Condition
from rosetta.units import Frame, Grid
from rosetta.zoo.architecture import Architecture, OptionFamily, State
from rosetta.zoo.families.timm import traits_of
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.options import Options
from rosetta.zoo.preprocessing import Preprocessing

_LAYOUT = ("num_prefix_tokens", "num_suffix_tokens", "token_grid", "channels_last", "batch_first")
"""Attributes that say how maps are read."""


class PythonFactory(OptionFamily):
    """The family `python`."""

    name = "python"
    description = "a model of your own: python:<module>:<factory>, a function that returns a torch module"
    conditions = frozenset({"classes", "bound"})
    channels_last = False

    def names(self) -> list[str]:
        """None are known beforehand."""
        return []

    def construct(
        self, name: str, state: State | None, pretrained: bool, condition: Condition, options: Options
    ) -> Architecture:
        """See :meth:`rosetta.zoo.architecture.OptionFamily.construct`; `name` is `<module>:<factory>`."""
        factory = _find(name)
        _require_parameters(f"python:{name}", factory, options.values)
        try:
            module = factory(**options.values)
        except Exception as error:
            raise UserError(f"python:{name} failed{options}: {type(error).__name__}: {error}") from None
        if not isinstance(module, nn.Module):
            raise UserError(f"python:{name} returned a {type(module).__name__}; return a torch.nn.Module")
        return _describe(module, f"python:{name}")

    def classes(self, name: str, module: nn.Module, count: int) -> Sequence[str] | None:
        """See :meth:`rosetta.zoo.architecture.Family.classes`."""
        names = getattr(module, "class_names", None)
        return None if names is None or len(names) != count else [str(one) for one in names]


def _require_parameters(model: str, factory: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """
    Raises
    ------
    UserError
        The factory has no parameter of that name, or one without a default is not given.
    """
    try:
        found = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # of a compiled function; calling it will tell
        return
    named = [one for one in found if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    for name in values:
        if name not in [one.name for one in named] and not any(one.kind is one.VAR_KEYWORD for one in found):
            takes = ", ".join(one.name for one in named) or "none"
            hint = nearest(name, [one.name for one in named]) or f"; it takes {takes}"
            raise UserError(f"{model} takes no option {name!r}{hint}")
    for one in named:
        if one.default is one.empty and one.name not in values:
            raise UserError(f"{model} needs {one.name!r}; give options = {{ {one.name} = … }} in the model's table")


def _find(name: str) -> Any:
    where, colon, attribute = name.partition(":")
    if not (colon and where and attribute):
        raise UserError(f"model 'python:{name}' is incomplete; write python:<module>:<factory>")
    try:
        source = importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is not None and (where == error.name or where.startswith(f"{error.name}.")):
            raise UserError(f"python:{name}: no module {where!r} to import; put its folder on PYTHONPATH") from None
        raise UserError(f"python:{name}: importing {where!r} failed: {error}; install what it needs") from None
    except Exception as error:
        raise UserError(f"python:{name}: importing {where!r} failed: {type(error).__name__}: {error}") from None
    factory = getattr(source, attribute, None)
    if factory is None:
        raise UserError(f"python:{name}: module {where!r} has no {attribute!r}{nearest(attribute, dir(source))}")
    if not callable(factory):
        raise UserError(f"python:{name}: {attribute!r} is a {type(factory).__name__}, not a function")
    return factory


def _describe(module: nn.Module, model: str) -> Architecture:
    latent = _whole(getattr(module, "latent", None), model, "latent", least=1)
    size = _pair(getattr(module, "image_size", None), model, "image_size")
    layers = getattr(module, "default_layers", None)
    if layers is not None:
        layers = (layers,) if isinstance(layers, str) else tuple(layers)
        if not all(isinstance(layer, str) for layer in layers):
            raise UserError(f"{model}: default_layers {layers!r} must be globs over module paths")
    preprocessing = None
    if latent is None:
        preprocessing = getattr(module, "preprocessing", None)
        if preprocessing is None:
            preprocessing = Preprocessing(size or (224, 224))
        elif isinstance(preprocessing, Mapping):
            preprocessing = Preprocessing.from_dict(preprocessing)
        elif not isinstance(preprocessing, Preprocessing):
            raise UserError(f"{model}: preprocessing must be a rosetta.zoo.Preprocessing or a mapping")
    return Architecture(
        module,
        preprocessing,
        latent=latent,
        classes=None if latent is None else _whole(getattr(module, "classes", None), model, "classes", least=1),
        image_size=size if latent is not None else None,
        layers=layers,
        traits=_traits(module, model, preprocessing.size if preprocessing is not None else size),
    )


def _traits(module: nn.Module, model: str, image: Grid | None) -> Traits:
    """What it declares in our terms, else in timm's."""
    known = traits_of(module, image)
    declared = _declared(lambda name: getattr(module, name, None), model)
    declared["token_grid"] = declared.get("token_grid") or known.token_grid
    exceptions = {**known.exceptions, **_exceptions(module, model)}
    prefix = declared.pop("prefix_tokens", None)
    return replace(known, prefix_tokens=prefix, **declared, frames=_frames(module, model), exceptions=exceptions)


def _declared(get: Callable[[str], Any], model: str) -> dict[str, Any]:
    """What is declared of a sequence or a map, by the fields of :class:`rosetta.zoo.maps.layout.Traits`.

    Parameters
    ----------
    get
        Gives the value of an attribute; None where it is not declared.
    """
    found: dict[str, Any] = {
        "prefix_tokens": _whole(get("num_prefix_tokens"), model, "num_prefix_tokens", least=0),
        "suffix_tokens": _whole(get("num_suffix_tokens"), model, "num_suffix_tokens", least=0),
        "token_grid": _pair(get("token_grid"), model, "token_grid"),
        **{name: _flag(get(name), model, name) for name in ("channels_last", "batch_first")},
    }
    return {name: value for name, value in found.items() if value is not None}


def _exceptions(module: nn.Module, model: str) -> dict[str, dict[str, Any]]:
    exceptions = {}
    for path, values in _by_module(module, model, "map_layouts").items():
        of_path = f"map_layouts[{path!r}]"
        if not isinstance(values, Mapping) or not values.keys() <= set(_LAYOUT):
            raise UserError(f"{model}: {of_path} is {values!r}; it must be a mapping with any of {', '.join(_LAYOUT)}")
        exceptions[path] = _declared(values.get, f"{model}: {of_path}")
    return exceptions


def _by_module(module: nn.Module, model: str, attribute: str) -> Mapping[str, Any]:
    """An attribute that is a mapping by module path."""
    found = getattr(module, attribute, {})
    if not isinstance(found, Mapping):
        raise UserError(f"{model}: {attribute} is {found!r}; it must be a mapping by module path")
    paths = [path for path, _ in module.named_modules()]
    for path in found:
        if path not in paths:
            raise UserError(f"{model}: {attribute} has {path!r}, which is not a module{nearest(str(path), paths)}")
    return found


def _frames(module: nn.Module, model: str) -> dict[str, Frame]:
    found: dict[str, Frame] = {}
    for path, frame in _by_module(module, model, "map_frames").items():
        try:
            y0, x0, y1, x1 = map(float, frame)
        except (TypeError, ValueError):
            y0 = x0 = y1 = x1 = math.nan
        if not (y0 <= 0 and x0 <= 0 and y1 >= 1 and x1 >= 1 and math.isfinite(y1 + x1 - y0 - x0)):
            raise UserError(
                f"{model}: map_frames[{path!r}] is {frame!r}; it must be (y0, x0, y1, x1) around (0, 0, 1, 1)"
            )
        found[path] = y0, x0, y1, x1
    return found


def _whole(value: Any, model: str, attribute: str, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{model}: {attribute} is {value!r}; it must be a whole number from {least}")
    return value


def _flag(value: Any, model: str, attribute: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{model}: {attribute} is {value!r}; it must be True or False")
    return value


def _pair(value: Any, model: str, attribute: str) -> Grid | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value, value
    if isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(v, int) and v > 0 for v in value):
        return value[0], value[1]
    names = "(height, width)" if attribute == "image_size" else "(rows, columns)"
    raise UserError(f"{model}: {attribute} is {value!r}; it must be {names}")
