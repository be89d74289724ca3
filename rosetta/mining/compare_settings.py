"""The settings of `rosetta compare`: options of the command, parameters of its flow."""

from pydantic import Field

from rosetta.strict import Strict


class Comparing(Strict):
    """How two runs are compared."""

    exchanges: int = Field(
        100, ge=1, le=10_000, description="How often units are exchanged, to see which concepts chance matches."
    )
    seed: int = Field(0, ge=0, description="Of the exchanges.")
