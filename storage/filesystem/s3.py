"""Object stores: patience with their bad moments, a count of them, and words for what only the user can mend."""

import threading
from functools import cache
from typing import Any

import fsspec

_ATTEMPTS, _ATTEMPTS_AT_FIRST = 10, 3
"""Of a request; and of one to a server that has never answered, which is more likely not there than busy."""
_CONNECT, _READ = 10, 60
"""Seconds."""
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


class Retries:
    """How many requests of this process had to be made again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self._taken = 0
        self._answered = False

    def so_far(self) -> int:
        """Of the run that this process is at: since it began, or since the run before it."""
        return self.count - self._taken

    def take(self) -> int:
        """The same, at the end of a run."""
        with self._lock:
            found, self._taken = self.count - self._taken, self.count
        return found

    def add(self, more: int) -> None:
        """Count those of another process."""
        with self._lock:
            self.count += more

    def saw(self, response: Any = None, caught_exception: Exception | None = None, attempts: int = 0, **_: Any) -> None:
        """Called by botocore after every attempt; returns nothing, so that botocore decides.

        Raises
        ------
        Exception
            The one that was caught, where there has been no answer yet and there is no point in waiting for one.
        """
        self._answered = self._answered or response is not None
        if caught_exception is not None and not self._answered and attempts >= _ATTEMPTS_AT_FIRST:
            raise caught_exception
        status = 0 if response is None else response[0].status_code
        if caught_exception is not None or status >= 500 or status == 429:
            self.add(1)


retries = Retries()


@cache
def be_patient() -> None:
    """Have s3fs try again longer than it would by itself, and count; what the user has configured stays.

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
    """What to tell of an error that comes from an object store, with its remedy; None for any other.

    Keys never stand in it: boto's messages name requests, not what signed them.
    """
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # s3fs says it in the words of a disk
    if not type(error).__module__.startswith("botocore."):
        return None
    if "(403)" in str(error) or "AccessKeyId" in str(error) or "Signature" in str(error):
        return f"object store: {_line(error)}; it does not know the keys, or they may not do this: look at {_KEYS}"
    remedies = {
        "NoCredentialsError": f"set {_KEYS}",
        "EndpointConnectionError": "look at AWS_ENDPOINT_URL and the network",
        "ProfileNotFound": "look at AWS_PROFILE",
    }
    remedy = remedies.get(type(error).__name__, "look at the URL and at what AWS_… is set to")
    return f"object store: {_line(error)}; {remedy}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
