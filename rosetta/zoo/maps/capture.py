"""Activation maps of chosen layers, taken with forward hooks."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.units import Layer, Units
from rosetta.zoo.maps.globs import matches, select
from rosetta.zoo.maps.hidden_steps import hooked, timestep
from rosetta.zoo.maps.layout import Layout, NoMapError
from rosetta.zoo.maps.places import HEADS, IN, PATTERN, Place, input_of, parse_place, tensor_at
from rosetta.zoo.maps.probe import Probe
from rosetta.zoo.maps.stages import cover_depth, spread, stage_outputs
from rosetta.zoo.maps.writing import Change, with_input, with_tensor_at, written

_SUGGESTIONS = 4
"""Layers that an error names where a model has no default."""
_PLACES = 8
"""Of a module, that an error lists."""
_ATTENTION = (HEADS, PATTERN)


Take = Callable[[str, Tensor], None]
"""Takes the maps (image, channel, y, x) of a layer."""
Write = Mapping[str, Change]
"""By layer name: which of its channels are set, and to what."""


@dataclass(frozen=True)
class Features:
    """A layer that is computed from the maps at a place."""

    name: str
    """Of the layer."""
    place: str
    encoder: nn.Module
    """(image, channel, y, x) → (image, feature, y, x)."""
    width: int
    """Number of features."""


class Capture:
    """Runs a module and keeps what chosen layers put out.

    Parameters
    ----------
    module
        The model; it carries hooks only while it runs.
    layouts
        How maps are read at each place, in forward order.
    features
        Layers that are computed from those, each behind its place.
    bare
        Places that are no layers themselves.
    """

    def __init__(
        self,
        module: nn.Module,
        layouts: Mapping[str, Layout],
        features: Sequence[Features] = (),
        bare: Collection[str] = (),
    ) -> None:
        self._module = module
        self._layouts = dict(layouts)
        self._features = {place: [one for one in features if one.place == place] for place in layouts}
        self._bare = frozenset(bare)
        self._places = {parse_place(name): name for name in layouts}
        self._parts = {place.path: module.get_submodule(place.path) for place in self._places}
        # Hooks sit on the shared module: two threads at once would take each other's maps.
        self._alone = Lock()

    def of(self, module: nn.Module) -> "Capture":
        """The same layers of a copy of the module."""
        features = [one for of_place in self._features.values() for one in of_place]
        return Capture(module, self._layouts, features, self._bare)

    @property
    def units(self) -> Units:
        """The layers in forward order."""
        layers = []
        for place, layout in self._layouts.items():
            if place not in self._bare:
                layers.append(Layer(place, layout.channels, layout.grid, layout.frame))
            for one in self._features[place]:
                layers.append(Layer(one.name, one.width, layout.grid, layout.frame, sparse=True))
        return Units(tuple(layers))

    @property
    def paths(self) -> list[str]:
        """Of the modules at whose places the layers are, in forward order."""
        return [place.path for place in self._places]

    def __call__(
        self,
        inputs: Tensor,
        *more: Tensor,
        through: Callable[..., Any] | None = None,
        take: Take | None = None,
        write: Write | None = None,
    ) -> tuple[Any, dict[str, Tensor]]:
        """One forward pass, differentiable where gradients are on.

        Parameters
        ----------
        more
            What the module takes beside its inputs.
        through
            The part of the module that takes the inputs, instead of the whole.
        take
            Is given each layer's maps as soon as they are there, and is to copy what it keeps of them: the module may
            change them afterwards. Nothing is returned of them then.
        write
            Channels that are set as soon as their layer has run, so that all that follows sees them so.

        Returns
        -------
        tuple
            What the module returned, and (image, channel, y, x) by layer, contiguous copies, those that are set as they
            were set.

        Raises
        ------
        UserError
            A layer gives another shape than for the probe's image, did not run this time, or cannot be set.
        """
        self.require_writable(write or ())
        set_by = {name: partial(self._written, len(inputs), name, change) for name, change in (write or {}).items()}
        watch = _Watch(self._places, partial(self._layers_at, len(inputs)), take, write=set_by)
        output = self._run(watch, partial(through or self._module, inputs, *more))
        return output, {layer.name: watch.maps[layer.name] for layer in self.units.layers} if take is None else {}

    def differentiate(
        self, inputs: Tensor, *more: Tensor, of: Callable[[Any], Tensor]
    ) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
        """One forward and one backward pass.

        Parameters
        ----------
        more
            What the module takes beside its inputs.
        of
            Takes what the module returns and gives the single number that is differentiated.

        Returns
        -------
        tuple
            What the module returned, (image, channel, y, x) by layer, and the derivatives with respect to them, for
            each layer that the number depends on.

        Raises
        ------
        UserError
            As in a call.
        """
        raw: dict[str, Tensor] = {}

        def keep(name: str, tensor: Tensor) -> None:
            if tensor.requires_grad:
                # A hook of the tensor is about its value now; a later in-place activation has one of its own.
                tensor.register_hook(partial(raw.__setitem__, name))

        watch = _Watch(self._places, partial(self._layers_at, len(inputs)), None, keep)
        with torch.enable_grad():
            # Weights are frozen, so the inputs are what gradients flow to.
            output = self._run(watch, partial(self._module, inputs.detach().requires_grad_(), *more))
            of(output).backward()
        maps = {layer.name: watch.maps[layer.name].detach() for layer in self.units.layers}
        return output, maps, {name: self._arranged(len(inputs), name, partial(raw.__getitem__, name)) for name in raw}

    def require_writable(self, layers: Iterable[str]) -> None:
        """
        Raises
        ------
        UserError
            Channels of one of the layers cannot be set.
        """
        for name in layers:
            if name not in self._layouts or name in self._bare:
                raise UserError(f"layer {name!r} holds features of an autoencoder, which are read and cannot be set")
            if (part := parse_place(name).part) in _ATTENTION:
                raise UserError(f"layer {name!r} is read inside a fused attention (@{part}) and cannot be set")

    def _written(self, count: int, name: str, change: Change, raw: Tensor) -> Tensor:
        self._arranged(count, name, lambda: raw)  # of another shape than expected, other values would be set
        return written(self._layouts[name], raw, change)

    def _run(self, watch: "_Watch", forward: Callable[[], Any]) -> Any:
        """What a forward pass returns; every layer is watched, and has to run as it did for the probe."""
        attention = any(place.part in _ATTENTION for place in self._places)
        with self._alone, hooked(self._parts, watch, attention) as runs:
            output = forward()
        for place, name in self._places.items():
            ran, expected = runs[place.path, place.timestep], self._layouts[name].runs
            if ran == 0:
                raise UserError(f"layer {name!r} did not run this time; choose a module that always runs")
            if ran != expected:
                raise UserError(
                    f"layer {name!r}: its module ran {_times(ran)} this time and {_times(expected)} for the probe's"
                    " images; choose a module that runs as often for all images"
                )
            if name not in watch.seen:
                raise UserError(f"layer {name!r} gave nothing this time; choose another")
        return output

    def _layers_at(self, count: int, name: str, find: Callable[[], Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The layers at a place, with their maps."""
        arranged = self._arranged(count, name, find)
        if name not in self._bare:
            yield name, arranged
        for one in self._features[name]:
            yield one.name, one.encoder(arranged)

    def _arranged(self, count: int, name: str, find: Callable[[], Tensor]) -> Tensor:
        layout = self._layouts[name]
        shape = (count, layout.channels, *layout.grid)
        try:
            arranged = layout.arrange(find())
        except (NoMapError, RuntimeError) as error:  # the latter is how torch says that the tokens fill no grid
            raise UserError(f"layer {name!r} gives something else than to the probe: {error}") from None
        if arranged.shape != shape:
            raise UserError(
                f"layer {name!r} gives maps of shape {tuple(arranged.shape)} where the probe promised "
                f"{shape}; choose another module"
            )
        return arranged


class _Watch:
    """Takes the maps of one forward pass."""

    def __init__(
        self,
        places: Mapping[Place, str],
        layers_at: Callable[[str, Callable[[], Tensor]], Iterable[tuple[str, Tensor]]],
        take: Take | None,
        raw: Take | None = None,
        write: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({}),
    ) -> None:
        self._places, self._layers_at, self._take, self._raw, self._write = places, layers_at, take, raw, write
        self.maps: dict[str, Tensor] = {}
        """By layer, where nobody takes them."""
        self.seen: set[str] = set()
        """Names of the places that were reached."""

    def before(self, path: str, run: int, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        changed = None
        for place, name in self._of(path, run):
            if place.part == IN:
                if name in self._write:
                    tensor = self._write[name](input_of(arguments, named))
                    arguments, named = changed = with_input(arguments, named, tensor)
                self._keep(name, partial(input_of, arguments, named))
        return changed

    def after(self, path: str, run: int, output: Any) -> Any:
        changed = None
        for place, name in self._of(path, run):
            if place.part not in (IN, *_ATTENTION):
                if name in self._write:
                    tensor = self._write[name](tensor_at(place.part, output))
                    try:
                        output = changed = with_tensor_at(place.part, output, tensor)
                    except NoMapError as error:
                        raise UserError(f"layer {name!r} {error}") from None
                self._keep(name, partial(tensor_at, place.part, output))
        return changed

    def attends(self, path: str, run: int, part: str, find: Callable[[], Tensor]) -> None:
        for place, name in self._of(path, run):
            if place.part == part:
                self._keep(name, find)

    def _of(self, path: str, run: int) -> list[tuple[Place, str]]:
        at = timestep()
        return [
            (place, name)
            for place, name in self._places.items()
            if place.path == path and place.run in (None, run) and place.timestep == at
        ]

    def _keep(self, name: str, find: Callable[[], Tensor]) -> None:
        if name in self.seen:
            return  # its module runs or attends more often than it should

        def tensor() -> Tensor:
            raw = find()
            if self._raw is not None:
                self._raw(name, raw)
            return raw

        for layer, maps in self._layers_at(name, tensor):
            if self._take is None:
                # A later in-place activation would change the output under us, so the copy is made here and now.
                self.maps[layer] = maps.clone(memory_format=torch.contiguous_format)
            else:
                self._take(layer, maps)
        self.seen.add(name)


def choose_layers(
    module: nn.Module,
    seen: Probe,
    model: str,
    globs: Sequence[str] | None,
    defaults: Sequence[Sequence[str]] = (),
) -> dict[str, Layout]:
    """The layers to capture, in forward order, each with its layout.

    Parameters
    ----------
    module, seen
        The model, and what its probe showed.
    model
        What errors call it.
    globs
        What was asked for; every module that they match must give maps.
    defaults
        Used where `globs` is None: sets of globs in order of preference, each as far as its modules give maps, and
        last the stage outputs. The first that covers the depth of the model is taken.

    Raises
    ------
    UserError
        A glob matches nothing, a module gives no map, or no default covers the depth of the model.
    """
    if globs is not None:
        chosen = _select(globs, seen, model)
    else:
        preferred = [_found(some, seen) for some in defaults]
        chosen = next((some for some in [*preferred, *stage_outputs(module, seen)] if cover_depth(some, seen)), [])
        if not chosen:
            if not (some := spread(seen, _SUGGESTIONS)):
                raise UserError(f"model {model!r}: no module in it gives maps")
            raise UserError(
                f"model {model!r}: no default layers cover its depth; name layers in the recipe, "
                f"such as {', '.join(map(repr, some))}"
            )
    layouts = {name: layout for name, layout in seen.places.items() if not isinstance(layout, str)}
    return {name: layouts[name] for name in layouts if name in set(chosen)}


def _found(globs: Sequence[str], seen: Probe) -> list[str]:
    """The places that some globs match and that give maps."""
    places = _matched(map(parse_place, globs), seen)
    return [str(place) for place in places if not isinstance(seen.places.get(str(place), ""), str)]


def _matched(asked: Iterable[Place], seen: Probe) -> list[Place]:
    found = (replace(place, path=path) for place in asked for path in matches([place.path], seen.paths))
    timesteps: dict[str, dict[int, None]] = {}
    for place in map(parse_place, seen.places):
        if place.timestep is not None:
            timesteps.setdefault(place.path, {})[place.timestep] = None
    # A place that names no timestep is that place at all of them.
    return [
        replace(place, timestep=one)
        for place in found
        for one in (timesteps.get(place.path, (None,)) if place.timestep is None else (place.timestep,))
    ]


def _select(globs: Sequence[str], seen: Probe, model: str) -> list[str]:
    """The places that were asked for.

    Raises
    ------
    UserError
        A glob matches no module, or there is no map at one of the places.
    """
    asked = [parse_place(glob) for glob in globs]
    select([place.path for place in asked], seen.paths, model)
    chosen = _matched(asked, seen)
    for place in chosen:
        reading = seen.places.get(str(place)) or _missing(place, seen)
        if isinstance(reading, str):
            parent = place.path.rpartition(".")[0]
            other = f"its parent {parent!r}" if parent else "a module inside it or after it"
            remedy = "" if "; " in reading else f"; choose another module, for example {other}"
            raise UserError(f"model {model!r}: layer {str(place)!r} {reading}{remedy}")
    return [str(place) for place in chosen]


def _missing(place: Place, seen: Probe) -> str:
    """Why there is nothing of a place."""
    if place.path not in seen.order or place == Place(place.path):
        return seen.problems[place.path]
    if place.part in _ATTENTION:
        return "computes no attention that can be seen: that of torch.nn.functional, right inside it, can"
    of_path = [str(other) for other in map(parse_place, seen.places) if other.path == place.path]
    return f"is no place of its module; it has {', '.join(of_path[:_PLACES])}"


def _times(runs: int) -> str:
    return "once" if runs == 1 else f"{runs} times"
