"""Object stores: retries, a count of them, and messages for errors that need the user's action."""

import threading
from functools import cache
from math import inf
from time import monotonic
from typing import Any

import fsspec

_ATTEMPTS, _ATTEMPTS_AT_FIRST = 10, 3
"""Of a request; and of one to a server that has never answered, which is more likely absent than busy."""
_CONNECT, _READ = 10, 60
"""Seconds."""
_SILENCE = 300
"""Seconds without any answer after which a server is no longer believed to be busy: attempts are as few as at first."""
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


class Retries:
    """How many requests of this process had to be retried."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self._taken = 0
        self._answered = -inf

    def so_far(self) -> int:
        """Of the current run: since the process began, or since the run before."""
        return self.count - self._taken

    def take(self) -> int:
        """The same, at the end of a run; counting starts again at 0."""
        with self._lock:
            found, self._taken = self.count - self._taken, self.count
        return found

    def add(self, more: int) -> None:
        """Add those of another process."""
        with self._lock:
            self.count += more

    def saw(self, response: Any = None, caught_exception: Exception | None = None, attempts: int = 0, **_: Any) -> None:
        """Called by botocore after every attempt; returns nothing, so that botocore decides whether to retry.

        Raises
        ------
        Exception
            The one that was caught, if the server has never answered, or not for long.
        """
        if response is not None:
            self._answered = monotonic()
        silent = monotonic() - self._answered > _SILENCE
        if caught_exception is not None and silent and attempts >= _ATTEMPTS_AT_FIRST:
            raise caught_exception
        status = 0 if response is None else response[0].status_code
        if caught_exception is not None or status >= 500 or status == 429:
            self.add(1)


retries = Retries()


@cache
def be_patient() -> None:
    """Have s3fs retry longer than its default, and count retries; the user's own configuration is kept.

    Keys, profile, endpoint and region come from the environment or from the user's files, as boto knows them; none of
    them passes through here.
    """
    given = fsspec.config.conf.setdefault("s3", {})
    policy = {"retries": {"mode": "standard", "max_attempts": _ATTEMPTS}}
    given.setdefault("config_kwargs", {**policy, "connect_timeout": _CONNECT, "read_timeout": _READ})
    if "session" not in given:
        from aiobotocore.session import AioSession

        session = AioSession()
        session.register("needs-retry.s3", retries.saw)
        given["session"] = session


def fault_of_store(error: BaseException) -> str | None:
    """One line on an error of an object store, with its remedy; None for any other error.

    It never contains keys: boto's messages name requests, not their credentials.
    """
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # s3fs words it as an error of a disk
    if not type(error).__module__.startswith("botocore."):
        return None
    if "(403)" in str(error) or "AccessKeyId" in str(error) or "Signature" in str(error):
        return f"object store: {_line(error)}; the keys are unknown or lack the permission; check {_KEYS}"
    remedies = {
        "NoCredentialsError": f"set {_KEYS}",
        "EndpointConnectionError": "check AWS_ENDPOINT_URL and the network",
        "ProfileNotFound": "check AWS_PROFILE",
    }
    remedy = remedies.get(type(error).__name__, "check the URL and the AWS_… settings")
    return f"object store: {_line(error)}; {remedy}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
