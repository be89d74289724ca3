"""Prefect's own lines and settings."""

import os
import sys
import warnings
from contextlib import redirect_stderr
from io import StringIO

from rosetta.errors import UserError


def quiet_prefect() -> None:
    """Keep Prefect's lines off the terminal: they still go to its server, and errors are told in our words.

    To be called before Prefect is imported, as it reads its settings then.

    Raises
    ------
    UserError
        Its settings cannot be read.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    # A home that cannot be written to matters to no run: the server that runs along has its own.
    warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")
    said = StringIO()
    try:
        with redirect_stderr(said):
            import prefect.context  # noqa: F401
    except Exception as error:  # a profile or a variable that Prefect cannot read, or no home at all
        reason = " ".join(str(error).split())
        raise UserError(
            f"Prefect's settings cannot be read: {reason}; correct the PREFECT_ variables and the profiles.toml in"
            " PREFECT_HOME (without it ~/.prefect)"
        ) from None
    sys.stderr.write(said.getvalue())
