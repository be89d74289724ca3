"""Whether units find themselves: the truth of a join of two runs of one generator."""

import numpy as np
import numpy.typing as npt


def own_ranks(strength: npt.NDArray[np.float32], first_row: int = 0) -> npt.NDArray[np.int32]:
    """(row,) the place of each unit itself among its neighbours, 1 for the nearest; 0 where it has no strength.

    Ties go to the lower unit, as among all neighbours.

    Parameters
    ----------
    strength
        (row, unit) of some units with all units of the same generator.
    first_row
        The unit of the first row.
    """
    rows = np.arange(len(strength))
    own = strength[rows, first_row + rows][:, None]
    with np.errstate(invalid="ignore"):
        nearer = np.count_nonzero(strength > own, axis=1)
    before = np.arange(strength.shape[1]) < (first_row + rows)[:, None]
    nearer += np.count_nonzero((strength == own) & before, axis=1)
    return np.where(np.isnan(own[:, 0]), 0, nearer + 1).astype(np.int32)
