"""A model's profile while its maps are in memory: what the stage `profile` would read from the store afterwards.

It is fed as that stage feeds itself, chunk by chunk, so the bytes are the same. Layers whose sums the memory does not
hold are left to the stage.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from rosetta.mining.room import Room
from rosetta.mining.trust.layer_sums import LayerSums, sum_bytes
from rosetta.mining.trust.pixels import FEATURE_BLOCK, FeatureBlock, FeatureProducts, FeatureSpan
from rosetta.units import Units
from rosetta.zoo.families.pixels import INDEPENDENT
from storage.artifacts.activations import ActivationStore
from storage.artifacts.blocks import block_slice
from storage.artifacts.catalogue import FEATURES, PROFILES
from storage.artifacts.features import FeatureStore
from storage.artifacts.finished import is_finished
from storage.artifacts.images import ImageStore
from storage.artifacts.layout import attributes_at
from storage.artifacts.shared import turn
from tasks.plan import Plan
from tasks.stage.progress import log
from tasks.trust.profile import lay_out, pieces_of_model
from tasks.trust.profile_worker import Piece, ahead, chunks_of, write_profile

_SHARE = 2
"""The sums take one part in so many of what dumping leaves; rooms of threads and features take from the rest."""


@dataclass(frozen=True)
class _Part:
    """One layer that is observed."""

    piece: Piece
    sums: LayerSums
    products: FeatureProducts


class Observation:
    """Sums of a model's layers that grow while its maps are dumped; a :class:`tasks.dump.observer.Observer`."""

    def __init__(self, plan: Plan, model: str, pieces: Sequence[Piece], images: int, memory: int) -> None:
        self._plan, self._model, self._pieces = plan, model, pieces
        self._root = plan.root.absolute
        chosen = _fitting(pieces, images, memory)
        first = ImageStore.begun(self._root).first_half()
        self._parts = {one.layer.name: _Part(one, one.sums(first), one.products()) for one in chosen}
        chunk = max(piece.chunk for piece in pieces)
        most = 2 * ceil(chunk / FEATURE_BLOCK) + 1
        self._features = _Features(FeatureStore.read(self._root), most, pieces[0].torch_device)
        self._of_thread = threading.local()
        self._failed = False

    @classmethod
    def begin(cls, plan: Plan, model: str, units: Units, images: int, chunk: int, memory: int) -> "Observation | None":
        """Begin to observe a model; None where its profile is begun already or has to wait.

        Parameters
        ----------
        images
            Of the run.
        chunk
            Images in a chunk of the model's store.
        memory
            Bytes that dumping leaves of `compute.memory`.
        """
        # Of a generator that makes the images there are no features yet, and of images that are not kept no maps.
        if (
            plan.streamed is not None
            or not is_finished(plan.place(FEATURES.path()), FEATURES, plan.digest(FEATURES))
            or _is_begun(plan, model)
        ):
            return None
        return cls(plan, model, _pieces(plan, model, units, chunk), images, memory)

    def __call__(self, layer: str, first_image: int, maps: Tensor) -> None:
        """See :meth:`tasks.dump.observer.Observer.__call__`. What goes wrong here is no reason to stop a dump."""
        part = self._parts.get(layer)
        if part is None or self._failed:
            return
        try:
            assert part.sums.done == first_image, "chunks come in the order of images"
            part.sums.add(maps, part.products, self._features.span(first_image, maps.shape[-4]), self._room())
        except Exception as error:
            self._failed = True
            self._parts = {}
            log.warning("profile %s: made from the store afterwards (%s: %s)", self._model, type(error).__name__, error)

    def catch_up(self, store: ActivationStore, missing: Sequence[int]) -> bool:
        """Add the blocks that a store holds already; False where others lie before them."""
        first = missing[0] if missing else len(store.written())
        if list(missing) != list(range(first, len(store.written()))):
            return False
        span = slice(0, block_slice(first, store.block, store.images).start)
        for name in list(self._parts):
            chunks = chunks_of(span, store.chunk)
            reads = ((lambda layer=name, here=here: store.maps(layer, here)) for here in chunks)
            for here, maps in zip(chunks, ahead(reads), strict=True):
                self(name, here.start, torch.from_numpy(maps))
        return not self._failed

    def finish(self) -> None:
        """Write the profiles of all layers that were observed, once the model's store is finished."""
        if not self._parts:
            return
        with turn(self._plan.root, PROFILES.path(self._model)):
            if not _is_begun(self._plan, self._model):  # by another run, under a shared root
                self._write()

    def _write(self) -> None:
        activations = ActivationStore.read(self._root, self._model)
        commons = tuple(dict.fromkeys(common for piece in self._pieces for common in piece.commons))
        profiles = lay_out(self._root, self._model, self._plan.fingerprint(PROFILES, self._model), commons)
        for part in self._parts.values():
            write_profile(profiles, activations, part.piece, part.sums)
        if len(self._parts) == len(self._pieces):
            profiles.finish()

    def _room(self) -> Room:
        if not hasattr(self._of_thread, "room"):
            self._of_thread.room = Room()
        room: Room = self._of_thread.room
        return room


def observed_bytes(plan: Plan, model: str, units: Units, images: int, chunk: int, memory: int) -> int:
    """What the sums of a model take; parameters as :meth:`Observation.begin` has them."""
    chosen = _fitting(_pieces(plan, model, units, chunk), images, memory)
    return sum(_cost(piece, images) for piece in chosen)


def _pieces(plan: Plan, model: str, units: Units, chunk: int) -> list[Piece]:
    grids = set().union(*(plan.facts.models[partner].grids for partner in plan.partners(model)))
    return pieces_of_model(model, units, chunk, grids, plan.facts.device)


def _cost(piece: Piece, images: int) -> int:
    return sum_bytes(piece.layer, images, piece.commons, len(INDEPENDENT))


def _is_begun(plan: Plan, model: str) -> bool:
    """Whether there is a profile to resume, or under a shared root any that has the name."""
    path = PROFILES.path(model)
    stored = attributes_at(plan.place(path))
    return stored is not None and (path in plan.facts.places or stored["fingerprint"] == plan.digest(PROFILES, model))


class _Features:
    """The last few blocks of features, for all threads."""

    def __init__(self, store: FeatureStore, most: int, device: torch.device) -> None:
        self._store, self._most, self._device = store, most, device
        self._blocks: dict[int, FeatureBlock] = {}
        self._lock = threading.Lock()

    def span(self, first: int, count: int) -> FeatureSpan:
        """Those of some images."""
        start, stop = first // FEATURE_BLOCK, ceil((first + count) / FEATURE_BLOCK)
        with self._lock:
            return FeatureSpan([self._block(number) for number in range(start, stop)], first % FEATURE_BLOCK)

    def _block(self, number: int) -> FeatureBlock:
        if number not in self._blocks:
            images = block_slice(number, FEATURE_BLOCK, self._store.shape[0])
            for old in sorted(self._blocks)[: len(self._blocks) + 1 - self._most]:
                del self._blocks[old]
            self._blocks[number] = FeatureBlock(torch.from_numpy(self._store.features(images)).to(self._device))
        return self._blocks[number]


def _fitting(pieces: Sequence[Piece], images: int, memory: int) -> list[Piece]:
    """As many layers as fit, those with the largest maps for their sums first."""
    costs = {piece: _cost(piece, images) for piece in pieces}
    memory //= _SHARE
    chosen = []
    for piece in sorted(pieces, key=lambda one: costs[one] / one.layer.values):
        if costs[piece] <= memory:
            chosen.append(piece)
            memory -= costs[piece]
    return chosen
