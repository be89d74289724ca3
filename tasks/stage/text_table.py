"""Tables on standard output."""

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str | int]], words: Collection[str] = ("",), width: int = 140
) -> None:
    """Print a table.

    Parameters
    ----------
    words
        The columns that hold words; all others hold numbers, aligned on the right.
    width
        Of the table at most, where standard output is not a terminal.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # Names of rows, whose column has no heading, stay on their line.
        table.add_column(column, justify="left" if column in words else "right", no_wrap=not column)
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else Text(value) for value in row))
    Console(width=None if Console().is_terminal else width).print(table)
