"""Which tensors of a checkpoint are a module's: the entry, and the prefix of their names, under which the most fit.

Training wraps a network, and each wrapper puts a word before every name: `module.` (data parallel), `_orig_mod.`
(compiled), `model.` (Lightning), `backbone.`, `module.encoder_q.`. There is no list of them here. A tensor fits where
its name, less some prefix, is a name in the module and the shapes agree; the prefix that the most tensors have in
common so is taken. Several may do equally well, a student and its teacher say; :data:`checkpoint.PREFERRED` then
decides, and what it decided is kept to be told.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.zoo.weights.checkpoint import Entry, preference
from rosetta.zoo.weights.statedict import COUNTER

Translate = Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]]
_MOST_PREFIXES = 8
"""More that fit equally well are of another architecture, as the blocks of a transformer are alike."""
_LONGEST = 1024
"""Longer names have no prefix; to try all of them takes time quadratic in the length."""


@dataclass(frozen=True)
class Assignment:
    """Which tensors of a checkpoint went into a module, by name. Batch counters and indices are left out."""

    used: tuple[str, ...]
    """Of the module, with values of the checkpoint."""
    left_over: tuple[str, ...] = ()
    """Of the checkpoint, for which the module has no place."""
    filled_in: tuple[str, ...] = ()
    """Of the module, that the checkpoint lacks and no captured layer needs."""

    @classmethod
    def whole(cls, module: nn.Module) -> "Assignment":
        """All of a module's tensors, and no others."""
        return cls(tuple(_names(_tensors(module.state_dict()))))


@dataclass(frozen=True)
class Fit:
    """What of a checkpoint goes into a module."""

    entry: Entry
    """Where it was found."""
    prefix: str
    """What was taken off the names, with the dot at its end."""
    given: dict[str, Tensor]
    """Everything under the prefix, by the names that the module has, if it has such."""
    wanted: dict[str, Tensor]
    """The module's own tensors, those that are tied to one that fits left out."""
    also: tuple[str, ...] = ()
    """Other places where as many tensors fit."""

    @property
    def place(self) -> str:
        """Entry and prefix, as a user reads them."""
        words = [repr(word) for word in (".".join(self.entry.path), self.prefix) if word]
        return " under ".join(words) or "the top"

    @property
    def taken(self) -> dict[str, Tensor]:
        """The tensors that fit."""
        return {name: self.given[name] for name, mine in self.wanted.items() if _fits(mine, self.given.get(name))}

    @property
    def count(self) -> tuple[int, int]:
        """How many of the module's tensors fit, and how many there are; of real numbers."""
        return len(_names(self.taken)), len(_names(self.wanted))

    @property
    def lacking(self) -> dict[str, str]:
        """The module's tensors of real numbers that do not, and how they are instead."""
        return {
            name: self._instead(name)
            for name in _names(self.wanted)
            if not _fits(self.wanted[name], self.given.get(name))
        }

    @property
    def left(self) -> list[str]:
        """Names of real numbers under the prefix that the module does not have, in their order."""
        return [name for name in _names(self.given) if name not in self.wanted]

    @property
    def outside(self) -> list[str]:
        """Names in the entry that do not begin with the prefix."""
        return [name for name in self.entry.tensors if not name.startswith(self.prefix)]

    @property
    def assignment(self) -> Assignment:
        """What goes where, by name."""
        return Assignment(tuple(_names(self.taken)), (*self.left, *self.outside), tuple(self.lacking))

    @property
    def whole(self) -> bool:
        """Whether nothing is lacking and nothing left over."""
        return not self.lacking and not self.left

    def _instead(self, name: str) -> str:
        if name in self.given:
            return f"{name!r} {_shown(self.wanted[name])}, which is {_shown(self.given[name])} in the file"
        kind = self.entry.objects.get(self.prefix + name)
        absent = f"of which the file has an object of the class {kind}" if kind else "which the file lacks"
        return f"{name!r} {_shown(self.wanted[name])}, {absent}"


def best_fit(module: nn.Module, entries: Sequence[Entry], translate: Translate, weights: str) -> Fit:
    """The place in a checkpoint under which the most of a module's tensors fit.

    Parameters
    ----------
    module
        Not yet loaded.
    entries
        By preference; see :func:`checkpoint.read_entries`.
    translate
        Brings names of another release under the module's.
    weights
        What errors call the file.

    Raises
    ------
    UserError
        Two places fit equally well, hold other values, and nothing tells which is meant.
    """
    wanted = _tensors(module.state_dict())
    names = _names(wanted)
    found: list[tuple[int, Fit]] = []
    for entry in entries:
        for prefix in _prefixes(entry, wanted):
            given = {
                name.removeprefix(prefix): tensor for name, tensor in entry.tensors.items() if name.startswith(prefix)
            }
            score = _score(wanted, names, given)
            if score < len(names) or given.keys() - wanted:
                translated = _tensors(translate(module, given))
                other = _score(wanted, names, translated)
                if (other, -len(translated.keys() - wanted)) > (score, -len(given.keys() - wanted)):
                    given, score = translated, other
            found.append((score, Fit(entry, prefix, given, wanted)))
    most = max(count for count, _ in found)
    # Sorting keeps the order of the entries among equals.
    equal = sorted((fit for count, fit in found if count == most), key=_rank)
    best = equal[0]
    others = [fit for fit in equal[1:] if most and not _same(best, fit)]
    for fit in others:
        if _rank(fit) == _rank(best) and 2 * most >= len(names):
            raise UserError(
                f"weights {weights!r} hold two networks that fit equally well, {best.place} and {fit.place}; "
                "save the state dict of the one you mean alone"
            )
    return Fit(best.entry, best.prefix, best.given, _untied(wanted, best.given), tuple(fit.place for fit in others))


def _prefixes(entry: Entry, wanted: Mapping[str, Tensor]) -> list[str]:
    """Those under which the most tensors fit, none, and the words that all names begin with."""
    scores: Counter[str] = Counter()
    for name, tensor in entry.tensors.items():
        scores.update(name[:at] for at in _starts(name) if _is_real(tensor) and _fits(wanted.get(name[at:]), tensor))
    most = max(scores.values(), default=0)
    best = sorted((prefix for prefix, score in scores.items() if score == most), key=_rank_of)[:_MOST_PREFIXES]
    return list(dict.fromkeys([*best, "", _agreed(entry.tensors)]))


def _starts(name: str) -> Iterator[int]:
    """Where a name may begin once a prefix is off."""
    yield 0
    if len(name) <= _LONGEST:
        yield from (at + 1 for at, letter in enumerate(name) if letter == ".")


def _agreed(names: Mapping[str, Tensor]) -> str:
    """The longest prefix of whole words that all names have, their last word aside."""
    split = [name.split(".")[:-1] for name in names]
    words = []
    for same in zip(*split, strict=False):
        if len(set(same)) > 1:
            break
        words.append(same[0])
    return "".join(f"{word}." for word in words)


def _tensors(state: Mapping[str, object]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _names(tensors: Mapping[str, Tensor]) -> list[str]:
    """Of those that training could have made; counters and indices are as good as new."""
    return [name for name, tensor in tensors.items() if _is_real(tensor) and not name.endswith(COUNTER)]


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _fits(mine: Tensor | None, given: Tensor | None) -> bool:
    """Whether one can be copied into the other; whole numbers that stand for real ones (quantised) cannot."""
    return mine is not None and given is not None and mine.shape == given.shape and _is_real(mine) == _is_real(given)


def _score(wanted: Mapping[str, Tensor], names: Sequence[str], given: Mapping[str, Tensor]) -> int:
    return sum(_fits(wanted[name], given.get(name)) for name in names)


def _untied(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without those names of a tensor that a file leaves out where it has another of them."""
    held = {tensor.data_ptr() for name, tensor in wanted.items() if _fits(tensor, given.get(name))}
    held.discard(0)  # of tensors without numbers
    return {name: tensor for name, tensor in wanted.items() if name in given or tensor.data_ptr() not in held}


def _rank(fit: Fit) -> tuple[int, ...]:
    return preference((*fit.entry.path, *fit.prefix.split(".")[:-1]))


def _same(one: Fit, other: Fit) -> bool:
    mine, theirs = one.taken, other.taken
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _shown(tensor: Tensor) -> str:
    kind = "" if _is_real(tensor) else f"{str(tensor.dtype).removeprefix('torch.')} "
    return f"{kind}{tuple(tensor.shape)}"


def _rank_of(prefix: str) -> tuple[int, ...]:
    return preference(prefix.split(".")[:-1])
