"""What a user is to know of a model that loads; said once, however often it is loaded."""

import logging

_log = logging.getLogger("rosetta.zoo")
_said: set[str] = set()


def say(text: str, level: int = logging.INFO) -> None:
    """Log a line, unless it has been logged in this process while somebody listened."""
    if text in _said:
        return
    if _log.isEnabledFor(level) and _log.hasHandlers():
        _said.add(text)
    _log.log(level, text)
