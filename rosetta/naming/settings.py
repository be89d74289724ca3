"""The settings of `rosetta label`: options of the command, parameters of its flow."""

from pydantic import Field, model_validator

from rosetta.strict import Strict

QUANTILE = 0.005
"""Share of a unit's values that are above its threshold, see :mod:`rosetta.naming.dissection`."""
LEAST_IOU = 0.04
"""What the intersection over union with a label must exceed for the label to name a unit."""


class Labelling(Strict):
    """Where names come from."""

    text: str | None = Field(None, description="Model with a text tower: open_clip/NAME or python:MODULE:FACTORY.")
    masks: str | None = Field(
        None,
        description="Folder of masks, or a model that makes them: torchvision/NAME or python:MODULE:FACTORY.",
    )
    weights: str = Field("pretrained", description="Weights of the model, as a recipe names them.")
    words: str | None = Field(
        None, description="With --text: vocabulary, a text file with one word a line. Default: about 3,000 words."
    )
    units: bool = Field(False, description="With --text: also name each unit of the Rosetta neurons.")
    legend: str | None = Field(
        None, description="With --masks: CSV file with the columns value and label. Default: legend.csv in the folder."
    )
    quantile: float = Field(
        QUANTILE, gt=0, lt=1, description="With --masks: share of a unit's values that are above its threshold."
    )
    batch: int = Field(32, ge=1, le=4096, description="Images or words that the model sees at once.")

    @model_validator(mode="after")
    def _one_source(self) -> "Labelling":
        if (self.text is None) == (self.masks is None):
            raise ValueError("names come from text or from masks; give either --text MODEL or --masks FOLDER")
        other = {"masks": ("words", "units"), "text": ("legend", "quantile")}
        given = "text" if self.text is not None else "masks"
        for name in other[given]:
            if name in self.model_fields_set:
                raise ValueError(f"--{name} is of no use with --{given}; remove it")
        return self

    @property
    def kind(self) -> str:
        """`text` or `masks`."""
        return "masks" if self.text is None else "text"
