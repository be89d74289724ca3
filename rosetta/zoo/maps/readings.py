"""How the tensors that a model was seen to take and give are read, all of them together."""

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from torch import nn

from rosetta.units import WHOLE, Grid
from rosetta.zoo.maps.axes import is_channels_last, surroundings_say
from rosetta.zoo.maps.layout import Layout, NoMapError, Traits, layout_of, readable_both_ways
from rosetta.zoo.maps.places import HEADS, IN, PATTERN, Place
from rosetta.zoo.maps.tokens import MOST_PREFIX_TOKENS

Shape = tuple[int, ...]


class Readings:
    """Decides how each place is read.

    Parameters
    ----------
    shapes
        Of the tensors at all places, in the order in which they were reached.
    modules
        By path.
    traits
        What the model declares.
    image
        Height and width of the images.
    images
        How many of them the model was given.
    """

    def __init__(
        self,
        shapes: Mapping[Place, Shape],
        modules: Mapping[str, nn.Module],
        traits: Traits,
        image: Grid,
        images: int,
    ) -> None:
        self._modules, self._traits, self._image = modules, traits, image
        self._shared: dict[Place, str] = {}
        """Why what does not depend on the image is no map."""
        self._shapes = {place: self._of_one_image(place, shape, images) for place, shape in shapes.items()}
        self._known: dict[Shape, dict[str, bool]] = {}
        for place, shape in self._shapes.items():
            last = is_channels_last(modules[place.path])
            if last is not None and place.part in (None, IN) and readable_both_ways(shape, image):
                self._known.setdefault(shape, {})[place.path] = last
        self._before: dict[Grid, None] = {}
        """Grids of the maps so far."""
        self._heads = self._find_heads()

    def read(self, place: Place) -> Layout:
        """How one place is read; places are to be asked for in their order.

        Raises
        ------
        NoMapError
            There is no map.
        """
        shape = self._shapes[place]
        if problem := self._shared.get(place) or self._heads.get(place):
            raise NoMapError(problem)
        if place.part == IN and self._traits.frames:
            raise NoMapError("is given maps of which the model does not say how far they reach beyond the image")
        try:
            frame = self._traits.frames.get(place.path, WHOLE)
            layout = layout_of(shape, self._of(place), self._image, frame, tuple(self._before))
        except NoMapError as error:
            words = str(error)
            raise NoMapError(words.replace("gives", "is given", 1) if place.part == IN else words) from None
        if place.part == PATTERN and not (layout.kind == "tokens" and layout.prefix):
            raise NoMapError("has no class token, whose attention this would be")
        if layout.kind != "tokens" and layout.raw_grid != (1, 1) and place.part is None and place.run is None:
            self._before[layout.raw_grid] = None
        return layout

    def _of_one_image(self, place: Place, shape: Shape, images: int) -> Shape:
        """The shape of a tensor as one image alone would make it; windows of an image stay together."""
        axis = 1 if len(shape) == 3 and not self._batch_first(place) else 0
        if len(shape) <= axis or shape[axis] % images:
            verb = "is given" if place.part == IN else "gives"
            self._shared[place] = f"{verb} a tensor of shape {shape} for {images} images: it is not of each image"
            return shape
        return (*shape[:axis], shape[axis] // images, *shape[axis + 1 :])

    def _batch_first(self, place: Place) -> bool:
        return place.part in (PATTERN, HEADS) or self._traits.of(place.path, place.part).batch_first

    def _of(self, place: Place) -> Traits:
        """What holds for one place, the axis of its channels decided where its shape leaves that open."""
        traits = self._traits.of(place.path, place.part)
        if place.part in (PATTERN, HEADS):
            return replace(traits, batch_first=True)
        shape = self._shapes[place]
        if not readable_both_ways(shape, self._image):
            return traits
        last: bool | str | None = self._known.get(shape, {}).get(place.path, traits.channels_last)
        if last is None:
            last = surroundings_say(place.path, self._known.get(shape, {}))
        if isinstance(last, str):
            raise NoMapError(f"gives a tensor of shape {shape} and {last}")
        return replace(traits, channels_last=last)

    def _find_heads(self) -> dict[Place, str]:
        """What only looks like maps: queries, keys and weights of attention, which are tensors of four axes, too.

        They are found beside what they come from, in the same module. Beside a sequence, two axes are tokens; or one
        is, and the others are heads and the channels of a head; or one is heads and two are those channels (XCiT).
        Beside maps, in a module that is called attention, two axes are their positions.
        """
        beside: dict[str, set[tuple[int, int]]] = {}
        positions: dict[str, set[int]] = {}
        for place, shape in self._shapes.items():
            if place.part is not None or place in self._shared or (layout := self._alone(place)) is None:
                continue
            if layout.kind == "tokens":
                beside.setdefault(_parent(place.path), set()).add((shape[1], shape[2]))
            elif layout.raw_grid != (1, 1) and self._attends(_parent(place.path)):
                positions.setdefault(_parent(place.path), set()).add(prod(layout.raw_grid))
        found: dict[Place, str] = {}
        for place, shape in self._shapes.items():
            sequences, maps = beside.get(_parent(place.path), set()), positions.get(_parent(place.path), set())
            if len(shape) != 4 or not (sequences or maps) or (layout := self._alone(place)) is None:
                continue
            counts = {tokens for tokens, _ in sequences}
            if any(0 <= count - prod(layout.raw_grid) <= MOST_PREFIX_TOKENS for count in counts):
                continue  # those of the sequence
            if among := _heads_among(shape[1:], sequences, counts | maps):
                verb = "is given" if place.part == IN else "gives"
                found[place] = f"{verb} {shape} beside {among}: heads, not places"
        return found

    def _attends(self, path: str) -> bool:
        """Whether a module is called attention, by its class."""
        name = type(self._modules.get(path)).__name__.lower()
        return "attention" in name or "attn" in name

    def _alone(self, place: Place) -> Layout | None:
        """How a place would be read by itself."""
        try:
            return layout_of(self._shapes[place], self._traits.of(place.path, place.part), self._image)
        except NoMapError:
            return None


def _heads_among(axes: Shape, sequences: set[tuple[int, int]], counts: set[int]) -> str:
    """Beside which tokens a tensor's axes are those of heads; empty where they are not."""
    for tokens, channels in sequences:
        apart = tokens in axes and prod(axes) == tokens * channels
        across = axes[1] == axes[2] and axes[0] * axes[1] == channels
        if apart or across:
            return f"{tokens} tokens of {channels} channels"
    among = [axis for axis in axes if axis in counts and axis > 1]
    return f"{max(among)} positions" if len(among) > 1 else ""


def _parent(path: str) -> str:
    return path.rpartition(".")[0]
