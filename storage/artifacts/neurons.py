"""What "trusted" means: a Rosetta neuron is trusted if every match that it is made of is.

A match is trusted if it passes every test that the recipe's `[trust]` asks for. A concept is neither trusted nor
untrusted: it says how many of its neurons are.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd


def neuron_rows(rosetta: pd.DataFrame, anchor: str) -> pd.DataFrame:
    """One row a Rosetta neuron: that of its anchor unit, with the weakest value of its matches and `trusted`.

    Parameters
    ----------
    rosetta
        `tables/rosetta.parquet`. The other rows of a neuron say `trusted` of their own match alone where the table was
        written before a neuron's rows agreed; this one has always been about the neuron.
    """
    return rosetta[rosetta["model"] == anchor]


def trusted_neurons(of: pd.DataFrame, concepts: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """(concept,) how many neurons of each concept are trusted.

    Parameters
    ----------
    of
        What :func:`neuron_rows` gives.
    concepts
        (concept,) numbers of concepts, the column `cluster`.
    """
    counts = of.groupby("cluster")["trusted"].sum()
    return counts.reindex(np.asarray(concepts), fill_value=0).to_numpy(np.int32)
