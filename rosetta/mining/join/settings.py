"""The settings of `rosetta join`: options of the command, parameters of its flow."""

from pydantic import Field

from rosetta.strict import Strict


class Joining(Strict):
    """How the units of generators are joined."""

    split: bool = Field(
        False, description="The runs are of one generator, over images apart: report how many units find themselves."
    )
    neighbours: int | None = Field(
        None, ge=1, le=32, description="K of the mutual K-nearest neighbours. Default: that of the first run."
    )
    exchanges: int = Field(
        3, ge=1, le=100, description="How often the units of the pivots are exchanged, to count what chance makes."
    )
    q: float = Field(0.05, gt=0, lt=1, description="Largest false discovery rate, and p-value, of a trusted pair.")
    seed: int = Field(0, ge=0, description="Of the exchanges.")
