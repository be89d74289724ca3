"""A loaded model whose chosen layers can be looked at."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rosetta.model_spec import ModelSpec
from rosetta.units import Grid, Units
from rosetta.zoo.device import true_float32
from rosetta.zoo.latents import Indices, Prior, draw_classes
from rosetta.zoo.maps.capture import Capture, Take, Write
from rosetta.zoo.preprocessing import Preprocessing
from rosetta.zoo.weights.fitting import Assignment


@dataclass(frozen=True)
class Model:
    """A model of the zoo, ready to run; made by :func:`rosetta.zoo.load`."""

    spec: ModelSpec
    """What the recipe says of it."""
    module: nn.Module
    """In evaluation mode, without gradients, on :attr:`device`."""
    units: Units
    """Its captured layers, in forward order."""
    weights_sha256: str
    """Of the weights' file or folder; of the text `random:<seed>`; of all tensors where the library gave them."""
    preprocessing: Preprocessing | None
    """None for a generator."""
    prior: Prior | None
    """What a generator's z is drawn from, else None."""
    classes: int | None
    """How many classes a generator can be asked for, else None."""
    image_size: Grid | None
    """Height and width of the images that a generator makes, else None."""
    indexed: bool
    """Whether what a discriminative model sees of an image depends on its index, through noise."""
    device: torch.device = field(repr=False)
    """Where it runs."""
    capture: Capture = field(repr=False, compare=False)
    """Runs the module on prepared inputs and keeps the maps."""
    published: str | None = None
    """The published weights whose preprocessing it has where the recipe states no other; None where none are known."""
    assignment: Assignment | None = None
    """Which tensors of its checkpoint went into it; None where there is no checkpoint, or its library does not tell."""

    def twin(self) -> "Model":
        """The same for another thread: it has the same weights in memory, and hooks of its own.

        Of a module that cannot be copied it is the model itself, which runs for one thread at a time.
        """
        weights = (*self.module.parameters(), *self.module.buffers())
        try:
            module = copy.deepcopy(self.module, {id(tensor): tensor for tensor in weights})
        except (TypeError, RuntimeError):  # a lock or a result of autograd among its attributes
            return self
        return replace(self, module=module, capture=self.capture.of(module))

    @property
    def is_generator(self) -> bool:
        """Whether it makes images instead of looking at them."""
        return self.prior is not None

    @property
    def latent(self) -> int | None:
        """Length of a generator's z, else None."""
        return None if self.prior is None else self.prior.length

    def draw_latents(self, images: Indices, seed: int) -> npt.NDArray[np.float32]:
        """Latents of a generator, from :attr:`prior`.

        Parameters
        ----------
        images
            (image,) indices of images, `range(32)` for the first.

        Returns
        -------
        ndarray
            (image, z) float32. A row depends on the seed and the image's index alone.

        Raises
        ------
        ValueError
            The model is no generator.
        """
        return self._prior().draw(images, seed)

    def draw_classes(self, images: Indices, seed: int) -> npt.NDArray[np.int64] | None:
        """(image,) int64 classes of a conditional generator's images, by their indices; else None.

        Those that the recipe names in turn, or drawn from all of them; as with latents, an image's depends on the seed
        and its index alone. Of a model with prompts these are the numbers of prompts, and all of them in turn.
        """
        if self.classes is None:
            return None
        named = self.spec.condition.classes
        if named is None and self.spec.condition.prompts is not None:
            named = tuple(range(self.classes))
        if named is None:
            return draw_classes(images, self.classes, seed)
        return np.array(named, np.int64)[np.asarray(images, np.int64) % len(named)]

    def prompts(self, classes: npt.NDArray[np.int64] | None) -> list[str] | None:
        """(image,) prompts of a generator's images, by their classes; None where there are none."""
        known = self.spec.condition.prompts
        return None if classes is None or known is None else [known[number] for number in classes]

    def generate(
        self, latents: Tensor, classes: Tensor | None = None, take: Take | None = None, write: Write | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Make images and look inside, in one forward pass.

        Parameters
        ----------
        latents
            (image, z), on any device.
        classes
            (image,) int64, of a conditional generator.
        take, write
            See :class:`rosetta.zoo.maps.capture.Capture`.

        Returns
        -------
        tuple
            (image, rgb, y, x) float32 in 0..1, and (image, channel, y, x) by layer name in forward order.

        Raises
        ------
        ValueError
            The model is no generator, the latents are not (image, z), or the classes are not (image,).
        """
        with torch.inference_mode(), true_float32():
            images, maps = self.synthesise(latents.to(torch.float32), classes, take, write)
            return images.float().clamp(0, 1), maps

    def generate_first(self) -> tuple[Tensor, dict[str, Tensor]]:
        """As :meth:`generate`, of the first latent and class that are drawn with seed 0."""
        classes = self.draw_classes(range(1), 0)
        latents = torch.from_numpy(self.draw_latents(range(1), 0))
        return self.generate(latents, None if classes is None else torch.from_numpy(classes))

    def synthesise(
        self, latents: Tensor, classes: Tensor | None = None, take: Take | None = None, write: Write | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The same as :meth:`generate`, differentiable and unclamped: a clamp has no gradient where it bites.

        Raises
        ------
        ValueError
            As :meth:`generate`.
        """
        length = self._prior().length
        if latents.ndim != 2 or latents.shape[1] != length:
            raise ValueError(f"latents have shape {tuple(latents.shape)}, not (image, {length})")
        # A module that starts with an in-place operation would write into the caller's latents.
        told = self._told(len(latents), classes)
        images, maps = self.capture(latents.to(self.device, copy=True), *told, take=take, write=write)
        return images.add(1).div(2), maps

    @property
    def spaces(self) -> tuple[Literal["z", "w", "w+"], ...]:
        """Latent spaces that images can be made from.

        `w` and `w+` are those of a module with two parts, as style-based generators are published: `mapping`, from
        (image, z), and classes where it takes them, to styles (image, style, w), and `synthesis`, from styles to images
        in −1..1.
        """
        styled = callable(getattr(self.module, "mapping", None)) and callable(getattr(self.module, "synthesis", None))
        return ("z", "w", "w+") if styled else ("z",)

    def styles(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        """(image, style, w) of latents (image, z) and classes as in :meth:`generate`, where there is the space `w`."""
        mapping: Callable[..., Tensor] = self.module.mapping  # type: ignore[assignment]
        return mapping(latents.to(self.device, copy=True), *self._told(len(latents), classes))

    def synthesise_styles(self, styles: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As :meth:`synthesise`, from styles (image, style, w)."""
        synthesis: Callable[[Tensor], Tensor] = self.module.synthesis  # type: ignore[assignment]
        images, maps = self.capture(styles.to(self.device, copy=True), through=synthesis)
        return images.add(1).div(2), maps

    def observe(self, images: Tensor, indices: Indices | None = None, take: Take | None = None) -> dict[str, Tensor]:
        """Show images to a discriminative model.

        Parameters
        ----------
        images
            (image, rgb, y, x), floating point in 0..1, of any size and on any device.
        indices
            Of the images in their run, for a model that is :attr:`indexed`; left out, all are taken for image 0.
        take
            See :class:`rosetta.zoo.maps.capture.Capture`.

        Returns
        -------
        dict
            (image, channel, y, x) by layer name in forward order.

        Raises
        ------
        ValueError
            The model is a generator, or the images are not (image, rgb, y, x) floating point.
        """
        with torch.inference_mode(), true_float32():
            return self.look(images.float() if images.is_floating_point() else images, indices, take)

    def respond(self, images: Tensor, indices: Indices | None = None, write: Write | None = None) -> Any:
        """What a discriminative model's module returns for images: scores of classes, an embedding.

        Parameters
        ----------
        images, indices
            As of :meth:`observe`.
        write
            See :class:`rosetta.zoo.maps.capture.Capture`.

        Raises
        ------
        ValueError
            As :meth:`observe`.
        """
        with torch.inference_mode(), true_float32():
            return self._look(images.float(), indices, lambda *_: None, write)[0]

    def look(self, images: Tensor, indices: Indices | None = None, take: Take | None = None) -> dict[str, Tensor]:
        """The same as :meth:`observe`, differentiable.

        Raises
        ------
        ValueError
            As :meth:`observe`.
        """
        return self._look(images, indices, take)[1]

    def _look(
        self, images: Tensor, indices: Indices | None, take: Take | None, write: Write | None = None
    ) -> tuple[Any, dict[str, Tensor]]:
        if self.preprocessing is None:
            raise ValueError(f"model {self.spec.name!r} is a generator; it looks at no images")
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, not float (image, 3, y, x)")
        told: tuple[Tensor, ...] = ()
        if self.indexed:
            known = torch.zeros(len(images), dtype=torch.int64) if indices is None else torch.tensor(indices)
            told = (known.to(self.device),)
        return self.capture(self.preprocessing(images.to(self.device)), *told, take=take, write=write)

    def _prior(self) -> Prior:
        if self.prior is None:
            raise ValueError(f"model {self.spec.name!r} is no generator")
        return self.prior

    def _told(self, count: int, classes: Tensor | None) -> tuple[Tensor, ...]:
        """What the module takes beside latents.

        Raises
        ------
        ValueError
            There are classes where none are taken, none where they are, or of another shape.
        """
        if (classes is None) != (self.classes is None):
            raise ValueError(f"model {self.spec.name!r} takes {'no ' * (self.classes is None)}classes")
        if classes is None:
            return ()
        if classes.shape != (count,):
            raise ValueError(f"classes have shape {tuple(classes.shape)}, not ({count},)")
        return (classes.to(self.device),)
