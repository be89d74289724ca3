"""The end of a run that no worker is left for."""

import time

from rosetta.errors import UserError

ALONE = 60.0
"""Seconds without any worker after which a run ends."""


class Absence:
    """How long a run has had no worker that can do its work. One that comes back in time goes on with it."""

    def __init__(self, scheduler: str, gpu: bool = False) -> None:
        """Begin to count now.

        Parameters
        ----------
        scheduler
            Its address.
        gpu
            Whether only workers with a GPU can do the work.
        """
        self._scheduler, self._gpu = scheduler, gpu
        self._seen = time.monotonic()

    def look(self, anyone: bool) -> None:
        """Take note of whether a worker that can do the work is there.

        Raises
        ------
        UserError
            None has been there for a while: all died, and nobody starts others.
        """
        now = time.monotonic()
        if anyone:
            self._seen = now
        elif now - self._seen > ALONE:
            what, option = ("worker with a GPU", " --resources GPU=1") if self._gpu else ("worker", "")
            raise UserError(
                f"compute.cluster: {self._scheduler} has had no {what} for {now - self._seen:.0f} s; start some with"
                f" dask worker {self._scheduler}{option} and run the same command again, which resumes"
            )
