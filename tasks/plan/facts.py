"""What was found out about the things that a recipe names: plain data, gathered once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dask.system import cpu_count

from rosetta.model_spec import ModelSpec
from rosetta.units import Grid
from storage.artifacts.fingerprint import FORMAT, Fingerprint
from storage.artifacts.shared import Place
from tasks.source.file_list import Files
from tasks.source.recognition import Recognised
from tasks.source.streamed import Streamed


@dataclass(frozen=True)
class Identity:
    """What a fingerprint says of a model."""

    depends: Mapping[str, Any]
    """What decides: part of the fingerprint."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """Versions of code, see :attr:`storage.artifacts.fingerprint.Fingerprint.made_with`."""
    agreed: Mapping[str, Any] = field(default_factory=dict)
    """The same by the fingerprint of a store that agreed with the model when it was loaded; to be kept."""
    layers: Sequence[Sequence[Any]] = ()
    """Name, channels, grid_y and grid_x of each layer; empty where only a generator's images are identified."""

    @property
    def image_size(self) -> Grid | None:
        """Height and width of the images that it takes; None where that is not known, or it makes images itself."""
        preprocessing = self.depends.get("preprocessing")
        if not preprocessing:
            return None
        height, width = preprocessing["size"]
        return height, width

    @property
    def grids(self) -> set[Grid]:
        """The distinct grids of its layers."""
        return {(grid_y, grid_x) for _, _, grid_y, grid_x in self.layers}


@dataclass(frozen=True)
class Facts:
    """What is known of a recipe's models, images and devices."""

    device: str
    """That models run on."""
    generator: ModelSpec | None = None
    files: Files = field(default_factory=lambda: Files.of(()))
    """All image files of a source whose maps are stored, in the order in which they are mined."""
    streamed: Streamed | None = None
    """Where the maps of some images are stored: all of them."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the weights of each model; empty for one whose weights were not looked at."""
    unseen: Mapping[str, str | None] = field(default_factory=dict)
    """Models whose weights were not looked at, as a forecast needs none: with the reason why they are not available,
    or None where their library fetches them."""
    models: Mapping[str, Identity] = field(default_factory=dict)
    """What identifies the maps of each model."""
    maker: Identity | None = None
    """What identifies the images of the generator, where they are not known by their store."""
    recognised: Recognised = field(default_factory=Recognised)
    """What stored images are to the files of a source."""
    images: Fingerprint | None = None
    """Of stored images, where these are the images of the recipe."""
    older_images: Mapping[str, Any] | None = None
    """What a generator's images depend on that are there from an earlier version, which drew no halves."""
    stored_count: int | None = None
    """How many they are; None as long as they are incomplete."""
    added: Mapping[str, str] = field(default_factory=dict)
    """By path: the fingerprints of tables that commands added to the run after it was mined."""
    format: int = FORMAT
    """Version of the layout that fingerprints are of: an older one of a run that is only read."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """By path: the artifacts that lie, or will lie, under the root that `images.from` names."""
    cluster: str = "threads"
    """Where pairs are compared: `threads`, or the address of a scheduler."""
    threads: int = field(default_factory=cpu_count)
    """Of this process, for comparing pairs."""
    causes: str | None = None
    """The fingerprint of the table of causes, where trust asks for it and there is one that is still true."""
    gpus: int = 1
    """Processes of this machine with a GPU each, where models run in several (`compute.devices`)."""
