"""Running a flow from the command: Prefect's own lines and settings, its server, progress."""

import atexit
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING

from rosetta.errors import UserError

if TYPE_CHECKING:
    from flows.reporting.embedded_server import EmbeddedServer

_USUAL_COLLECTION = gc.get_threshold()


def collect_rarely() -> None:
    """Look for garbage rarely until a flow is under way, and not at the end of the process.

    Imports make a million objects that stay. To go through them again and again took a quarter of the start, and to
    do so at the end took more than a second.
    """
    gc.set_threshold(100_000, 50, 50)
    atexit.register(gc.freeze)


def _collect_again() -> None:
    """Look for garbage as usual, but not among what is there already."""
    gc.freeze()
    gc.set_threshold(*_USUAL_COLLECTION)


def quiet_prefect() -> None:
    """Keep Prefect's lines off the terminal. They still go to its server, and the command words errors itself.

    To be called before Prefect is imported, as it reads its settings then.

    Raises
    ------
    UserError
        Its settings cannot be read.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    # A home that cannot be written to matters to no run: the embedded server has its own.
    warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")
    written = StringIO()
    try:
        with redirect_stderr(written):
            import prefect.context  # noqa: F401
    except Exception as error:  # a profile or a variable that Prefect cannot read, or no home at all
        reason = " ".join(str(error).split())
        raise UserError(
            f"Prefect's settings cannot be read: {reason}; correct the PREFECT_ variables and profiles.toml in"
            " PREFECT_HOME (default ~/.prefect)"
        ) from None
    sys.stderr.write(written.getvalue())


def start_server() -> "EmbeddedServer | None":
    """Start the embedded Prefect server, unless one is configured. It comes up beside imports and checks.

    Raises
    ------
    UserError
        Prefect's settings cannot be read, or there is no folder for temporary files.
    """
    quiet_prefect()
    from flows.reporting.embedded_server import EmbeddedServer

    return EmbeddedServer.unless_configured()


@contextmanager
def under_way(server: "EmbeddedServer | None") -> Iterator[None]:
    """Show progress, and report to a server, for as long as this lasts."""
    from flows.command.console import narrated

    _collect_again()
    with narrated(), server.in_use() if server else nullcontext():
        yield
