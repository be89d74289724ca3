"""Prefect's own lines."""

import os


def quiet_prefect() -> None:
    """Keep them off the terminal: they still go to Prefect's server, and errors are told in our words.

    To be called before Prefect is imported, as it reads its settings then.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
