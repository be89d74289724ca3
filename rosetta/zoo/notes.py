"""What a user is to know of a model that loads; said once, however often it is loaded."""

import logging
from functools import cache

_log = logging.getLogger("rosetta.zoo")


@cache
def say(text: str, level: int = logging.INFO) -> None:
    """Log a line, the first time that it is asked for in this process."""
    _log.log(level, text)
