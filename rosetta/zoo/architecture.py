"""What a family knows about one of its models, and what every family can do."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from rosetta.errors import UserError, nearest
from rosetta.model_spec import Condition
from rosetta.units import Grid
from rosetta.zoo.maps.layout import Traits
from rosetta.zoo.options import Options
from rosetta.zoo.preprocessing import Preprocessing
from rosetta.zoo.weights.fitting import Assignment
from rosetta.zoo.weights.source import Folder

State = Mapping[str, Tensor]
"""A state dict: tensors by name."""
_FEW = 24
"""Names that an error lists."""


@dataclass(frozen=True)
class Architecture:
    """A module as its family builds it, with what is needed to look inside."""

    module: nn.Module
    """Freshly built, on the CPU."""
    preprocessing: Preprocessing | None = None
    """None for a generator."""
    published: str | None = None
    """The published weights whose preprocessing it is, by name and tag, where the library knows any."""
    latent: int | None = None
    """Length of z where the module is a generator (image, z) → images in −1..1."""
    bound: float | None = None
    """Where the normal that z is drawn from is truncated, in standard deviations, if the recipe does not say."""
    scale: float = 1.0
    """What z is multiplied with once drawn."""
    classes: int | None = None
    """How many classes a generator knows; it then takes the classes' indices (image,) int64 beside z."""
    indexed: bool = False
    """Whether a discriminative module takes the images' indices (image,) int64 beside them, for its noise."""
    image_size: Grid | None = None
    """Height and width of the images that a generator makes, where known beforehand."""
    layers: tuple[str, ...] | None = None
    """Default layers that must exist and give maps."""
    preferred: tuple[tuple[str, ...], ...] = ()
    """Other default layers, best first, each taken as far as it exists and gives maps."""
    traits: Traits = field(default_factory=Traits)
    """What it declares about its tensors."""
    assignment: Assignment | None = None
    """Where its library loaded weights: which tensors these were, if it tells."""


class Family(ABC):
    """An adapter to models of one kind."""

    name: str
    """What recipes call it."""
    description: str
    """One line."""
    generators: bool = False
    """Whether the models that it lists make images, unless they are told a timestep."""
    conditions: frozenset[str] = frozenset()
    """Which fields of a recipe's condition its models take."""
    fetches: bool = False
    """Whether `pretrained` weights come over the network."""
    takes_options: bool = False
    """Whether a recipe may pass options to the constructor of its models; it then is an :class:`OptionFamily`."""
    prepares: bool = True
    """Whether a recipe may say how images are prepared for its discriminative models."""
    libraries: tuple[str, ...] = ()
    """Distributions, beside torch, whose code computes what its models do."""
    channels_last: bool = True
    """Whether its modules take tensors in any memory layout; one of a user's own may not."""
    state_keys: tuple[str, ...] = ()
    """Where in a checkpoint of this family its state dict lies, in order, if at an uncommon place."""
    beside: tuple[str, ...] = ()
    """Names of tensors that lie beside the state dict there and that :meth:`build` is to see."""

    @abstractmethod
    def names(self) -> list[str]:
        """Known model names, sorted; empty where any name may be tried."""

    @abstractmethod
    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """Build a model.

        Parameters
        ----------
        name
            Its name in the family.
        state
            The tensors that will be loaded into it, which may tell its number of classes.
        pretrained
            Whether the library is to load its own weights.
        condition
            What the recipe tells the model beside its input, of what the family takes.

        Raises
        ------
        UserError
            No such model, or its weights cannot be had.
        MisfitError
            The tensors are of another model.
        """

    def construct(
        self, name: str, state: State | None, pretrained: bool, condition: Condition, options: Options
    ) -> Architecture:
        """As :meth:`build`, with what a recipe asks of the constructor; there is none to ask."""
        return self.build(name, state, pretrained, condition)

    def require_known(self, name: str) -> None:
        """
        Raises
        ------
        UserError
            The family has no model of that name.
        """
        known = self.names()
        if name not in known:
            listed = f"; it has {', '.join(known)}" if len(known) <= _FEW else ""
            raise UserError(f"{self.name} has no model {name!r}{nearest(name, known) or listed}")

    def no_download(self, name: str, remedy: str) -> UserError:
        """`pretrained` weights of a family that has none to fetch; the remedy says what to give."""
        return UserError(f"{self.name}/{name} has no weights that a library would download; {remedy}")

    @contextmanager
    def building(
        self, name: str, pretrained: bool, instead: str = "a local file", options: Options = Options()
    ) -> Iterator[None]:
        """A library builds a model inside; whatever it raises becomes an error for the user.

        Raises
        ------
        UserError
            Its `pretrained` weights could not be fetched; without them, it cannot be built.
        """
        try:
            yield
        except Exception as error:
            if not pretrained:
                raise UserError(
                    f"{self.name} cannot build {name!r}{options}: {str(error) or type(error).__name__}"
                ) from None
            raise UserError(
                f"{self.name}/{name}: its pretrained weights cannot be had{options} ({type(error).__name__}); "
                f"go online once, or give {instead} as weights"
            ) from None

    def translate(self, module: nn.Module, state: State) -> State:
        """A state dict of another release under the names of the module; unchanged where nothing is known."""
        return state

    def prepare(self, architecture: Architecture, stated: Mapping[str, Any]) -> Architecture:
        """A discriminative model with some fields of its preprocessing as a recipe states them.

        Raises
        ------
        UserError
            It does not take such images.
        """
        assert architecture.preprocessing is not None
        return replace(architecture, preprocessing=replace(architecture.preprocessing, **stated))

    def classes(self, name: str, module: nn.Module, count: int) -> Sequence[str] | None:
        """Names of the classes for which a module scores images.

        Parameters
        ----------
        name
            Of the model in the family.
        module
            As the family built it.
        count
            Scores of an image.

        Returns
        -------
        sequence or None
            In the order of the scores; empty where nothing tells their names. None where the module's output are no
            scores of classes.
        """
        return None

    def unsure(self, name: str) -> tuple[str, ...]:
        """Fields of the preprocessing in which published weights of this name differ among themselves."""
        return ()


class OptionFamily(Family):
    """A family whose models have a constructor that takes options."""

    takes_options = True

    def build(self, name: str, state: State | None, pretrained: bool, condition: Condition) -> Architecture:
        """See :meth:`Family.build`."""
        return self.construct(name, state, pretrained, condition, Options())

    @abstractmethod
    def construct(
        self, name: str, state: State | None, pretrained: bool, condition: Condition, options: Options
    ) -> Architecture:
        """As :meth:`Family.build`.

        Parameters
        ----------
        options
            What the recipe asks of the constructor. A stated size is used here where it decides about the module's
            tensors; :meth:`Family.prepare` sees it as well.

        Raises
        ------
        UserError
            As there, or the constructor takes no such options.
        """


class FolderFamily(Family):
    """A family whose weights are not a file but a folder of several."""

    @abstractmethod
    def files(self, name: str, folder: Folder) -> tuple[str, ...]:
        """The files that :meth:`build_from` will read, relative to the folder; nothing of the network is read yet.

        Raises
        ------
        UserError
            The folder is not what the family takes.
        """

    def construct_from(
        self, name: str, folder: Folder, condition: Condition, options: Options
    ) -> tuple[Architecture, dict[str, Tensor]]:
        """As :meth:`build_from`, with what a recipe asks of the constructor; there is none to ask."""
        return self.build_from(name, folder, condition)

    @abstractmethod
    def build_from(self, name: str, folder: Folder, condition: Condition) -> tuple[Architecture, dict[str, Tensor]]:
        """As :meth:`Family.build`, from a folder, with the tensors that are to be loaded.

        Raises
        ------
        UserError
            No such model, or the folder does not hold it.
        """
