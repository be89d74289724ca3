"""Legends: which label a value or colour of a mask stands for."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rosetta.errors import UserError
from rosetta.naming.dissection import UNLABELLED, Int32

_COLUMNS = ("value", "label")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_HIGHEST = 2**16 - 1


@dataclass(frozen=True)
class Legend:
    """Labels by value."""

    name: str
    """What messages call it."""
    coloured: bool
    """Whether its values are colours, red × 65,536 + green × 256 + blue."""
    values: tuple[int, ...]
    """Rising."""
    numbers: tuple[int, ...]
    """For each value its label, by its index in :attr:`labels`; :data:`UNLABELLED` of what is to be left out."""
    labels: tuple[str, ...]

    @classmethod
    def of_names(cls, name: str, names: Sequence[str]) -> "Legend":
        """A legend of classes by their index; names in double underscores, `__background__` say, are left out."""
        rows = [(index, "" if re.fullmatch(r"__.*__", label) else label) for index, label in enumerate(names)]
        return cls._of(name, False, rows)

    @classmethod
    def parse(cls, content: bytes, name: str) -> "Legend":
        """A CSV file with the columns `value`, a whole number or `#rrggbb`, and `label`, empty for what is left out.

        Raises
        ------
        UserError
            It is no such file.
        """
        try:
            reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
            rows = [(reader.line_num, row.get("value") or "", row.get("label") or "") for row in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{name} is no CSV file in UTF-8 ({error}); write one with value,label") from None
        if lacking := [column for column in _COLUMNS if column not in (reader.fieldnames or ())]:
            raise UserError(f"{name} has no column {lacking[0]!r}; its first line must be value,label")
        values: dict[int, str] = {}
        kinds = set()
        for line, value, label in rows:
            text = value.strip()
            kinds.add(bool(_COLOUR.fullmatch(text)))
            if len(kinds) > 1:
                raise UserError(f"{name}: line {line} mixes numbers and colours; write one kind")
            if not (_COLOUR.fullmatch(text) or (re.fullmatch(r"[0-9]{1,5}", text) and int(text) <= _HIGHEST)):
                raise UserError(f"{name}: line {line} has the value {text!r}; write 0 to {_HIGHEST}, or #rrggbb")
            number = int(text[1:], 16) if text.startswith("#") else int(text)
            if number in values:
                raise UserError(f"{name}: line {line} has {text} again; leave one line for it")
            values[number] = " ".join(label.split())
        if not any(values.values()):
            raise UserError(f"{name} names no labels; add lines with value,label")
        return cls._of(name, True in kinds, sorted(values.items()))

    @classmethod
    def _of(cls, name: str, coloured: bool, rows: Sequence[tuple[int, str]]) -> "Legend":
        labels = tuple(dict.fromkeys(label for _, label in rows if label))
        numbers = tuple(labels.index(label) if label else UNLABELLED for _, label in rows)
        return cls(name, coloured, tuple(value for value, _ in rows), numbers, labels)

    def shown(self, value: int) -> str:
        """A value as a legend has it."""
        return f"the colour #{value:06x}" if self.coloured else f"the value {value}"

    def numbered(self, values: npt.NDArray[np.integer], where: str) -> Int32:
        """The index of each value's label.

        Parameters
        ----------
        where
            What messages call what the values are in.

        Raises
        ------
        UserError
            A value is not in the legend.
        """
        there, inverse = np.unique(values, return_inverse=True)
        known = np.isin(there, self._values)
        if not known.all():
            raise UserError(
                f"{where} has {self.shown(int(there[~known][0]))}, which {self.name} lacks; add a line for it, with an "
                "empty label to leave it out"
            )
        found = np.array(self.numbers, np.int32)[np.searchsorted(self._values, there)]
        return np.asarray(found[inverse.reshape(values.shape)])

    @cached_property
    def _values(self) -> npt.NDArray[np.int64]:
        return np.array(self.values, np.int64)
