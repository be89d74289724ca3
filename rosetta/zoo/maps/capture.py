"""Activation maps of chosen layers, taken with forward hooks."""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.units import Layer, Units
from rosetta.zoo.maps.globs import matches, select
from rosetta.zoo.maps.hidden_steps import hooked
from rosetta.zoo.maps.layout import Layout, NoMapError, tensor_in
from rosetta.zoo.maps.probe import Probe
from rosetta.zoo.maps.stages import cover_depth, spread, stage_outputs

_SUGGESTIONS = 4
"""Layers that an error names where a model has no default."""


Take = Callable[[str, Tensor], None]
"""Takes the maps (image, channel, y, x) of a layer."""


class Capture:
    """Runs a module and keeps what chosen layers put out.

    Parameters
    ----------
    module
        The model; it carries hooks only while it runs.
    layouts
        How each layer's output is read, in forward order.
    """

    def __init__(self, module: nn.Module, layouts: Mapping[str, Layout]) -> None:
        self._module = module
        self._layouts = dict(layouts)
        self._parts = {path: module.get_submodule(path) for path in layouts}
        # Hooks sit on the shared module: two threads at once would take each other's maps.
        self._alone = Lock()

    @property
    def units(self) -> Units:
        """The layers in forward order."""
        return Units(tuple(Layer(path, held.channels, held.grid, held.frame) for path, held in self._layouts.items()))

    def __call__(
        self, inputs: Tensor, *more: Tensor, through: Callable[..., Any] | None = None, take: Take | None = None
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

        Returns
        -------
        tuple
            What the module returned, and (image, channel, y, x) by layer, contiguous copies.

        Raises
        ------
        UserError
            A layer gives another shape than for the probe's image, or did not run this time.
        """
        maps: dict[str, Tensor] = {}

        def keep(path: str, output: Any) -> None:
            arranged = self._arranged(path, len(inputs), output)
            if take is None:
                # A later in-place activation would change the output under us, so the copy is made here and now.
                maps[path] = arranged.clone(memory_format=torch.contiguous_format)
            else:
                take(path, arranged)
                maps.setdefault(path, arranged[:0])

        with self._alone, hooked(self._parts, keep):
            output = (through or self._module)(inputs, *more)
        for path in self._layouts:
            if path not in maps:
                raise UserError(f"layer {path!r} did not run this time; choose a module that always runs")
        return output, {path: maps[path] for path in self._layouts} if take is None else {}

    def _arranged(self, path: str, count: int, output: Any) -> Tensor:
        layout = self._layouts[path]
        shape = (count, layout.channels, *layout.grid)
        try:
            arranged = layout.arrange(tensor_in(output))
        except (NoMapError, RuntimeError) as error:  # the latter is how torch says that the tokens fill no grid
            raise UserError(f"layer {path!r} gives something else than to the probe: {error}") from None
        if arranged.shape != shape:
            raise UserError(
                f"layer {path!r} gives maps of shape {tuple(arranged.shape)} where the probe promised "
                f"{shape}; choose another module"
            )
        return arranged


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
        chosen = select(globs, seen.paths, model)
        for path in chosen:
            if path in seen.problems:
                parent = path.rpartition(".")[0]
                other = f"its parent {parent!r}" if parent else "a module inside it or after it"
                raise UserError(
                    f"model {model!r}: layer {path!r} {seen.problems[path]}; choose another module, {other} say"
                )
    else:
        preferred = [[path for path in matches(some, seen.paths) if path in seen.layouts] for some in defaults]
        chosen = next((some for some in [*preferred, *stage_outputs(module, seen)] if cover_depth(some, seen)), [])
        if not chosen:
            if not (some := spread(seen, _SUGGESTIONS)):
                raise UserError(f"model {model!r}: no module in it gives maps")
            raise UserError(
                f"model {model!r}: no default layers cover its depth; name layers in the recipe, "
                f"such as {', '.join(map(repr, some))}"
            )
    rank = {path: place for place, path in enumerate(seen.order)}
    return {path: seen.layouts[path] for path in sorted(chosen, key=rank.__getitem__)}
