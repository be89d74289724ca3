"""How a weight fades over the steps of a search.

`β(t) = β · c(t / T)` at the share `t` of the steps that are done, with `T` the share at which it reaches 0:

==========  =====================================
`constant`  `c(s) = 1`
`linear`    `c(s) = max(0, 1 − s)`
`cosine`    `c(s) = ½ (1 + cos π min(s, 1))`
==========  =====================================
"""

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Fade:
    """One of the shapes above; called with the share of the steps that are done it gives what is left of a weight."""

    shape: Shape = "constant"
    until: float = 1.0
    """`T`, the share of the steps at which the weight reaches 0, above 0 and at most 1; of no effect if constant."""

    def __post_init__(self) -> None:
        if not 0 < self.until <= 1:
            raise ValueError(f"a weight fades until a share of the steps above 0 and at most 1, not {self.until:g}")

    def __call__(self, done: float) -> float:
        """In 0…1, exactly 0 from :attr:`until` on."""
        if self.shape == "constant":
            return 1.0
        if done >= self.until:
            return 0.0
        share = done / self.until
        return 1 - share if self.shape == "linear" else 0.5 * (1 + math.cos(math.pi * share))


CONSTANT = Fade()
