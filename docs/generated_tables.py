"""Writes those tables of the documents that follow from lists in the code: `python docs/generated_tables.py`."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from rosetta.mining.trust.tests import TESTS
from rosetta.recipe import Trust
from storage.artifacts.artifact import Artifact
from storage.artifacts.catalogue import BESIDE, CATALOGUE, all_tables
from storage.artifacts.columns import of_each_test

DOCS = Path(__file__).parent


def artifacts() -> str:
    """The catalogue of artifacts, and what lies beside them."""
    rows = [
        (f"`{_shown(one)}`", one.about, _names(one.made_from), "yes" if one.shareable else "", f"`{one.command}`")
        for one in CATALOGUE
    ]
    rows += [(f"`{path}`", about, "", "", "") for path, about in BESIDE.items()]
    return _table(("path", "what", "made from", "can be shared", "written by"), rows)


def _shown(artifact: Artifact) -> str:
    path = artifact.pattern.replace("{", "<").replace("}", ">")
    return f"{path}/" if artifact.kind == "folder" else path


def _names(sources: Sequence[Artifact]) -> str:
    return ", ".join(f"`{_shown(source).removeprefix('tables/').rpartition('.')[0]}`" for source in sources)


def tests() -> str:
    """The tests of trust."""
    rows, default = [], Trust().tests
    for test in TESTS:
        limit = f"`[trust] {test.limit}`" if isinstance(test.limit, str) else f"{test.limit:g}"
        condition = test.condition.format(limit=limit) + (" (needs a control)" if test.needs_control else "")
        columns = ", ".join(f"`{column}`" for column in (test.column, *test.evidence))
        name = f"`{test.name}`" + (", decides" if test.name in default else "")
        rows.append((test.word, name, test.question, condition, columns))
    return _table(("test", "in `tests`", "question", "a match passes when", "columns"), rows)


def trust_keys() -> str:
    """The settings of `[trust]`."""
    rows = [
        (f"`{name}`", f"`{json.dumps(field.default)}`", str(field.description))
        for name, field in Trust.model_fields.items()
    ]
    return _table(("key", "default", "what"), rows)


def columns() -> str:
    """The columns of each table."""
    sections = []
    for table in all_tables():
        rows = [(f"`{one.name}`", f"`{one.dtype}`", one.units, one.about) for one in of_each_test(table.columns)]
        head = f"### `{_shown(table)}`\n\n{table.about[0].upper()}{table.about[1:]}.\n\n"
        sections.append(head + _table(("column", "type", "units", "what"), rows))
    return "\n".join(sections)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows)).replace("| --- ", "|---")


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "architecture.md": {"artifacts": artifacts},
    "tables.md": {"columns": columns},
    "trust.md": {"tests": tests, "keys": trust_keys},
}
"""By document: the names between its markers, and what stands there."""


def with_tables(document: str, text: str) -> str:
    """The text of a document with its tables as the code has them."""
    for name, made in TABLES[document].items():
        begin, end, table = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n", made()
        text = re.sub(f"(?<={begin}).*?(?={end})", lambda _, table=table: table, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    for document in TABLES:
        path = DOCS / document
        path.write_text(with_tables(document, path.read_text(encoding="utf-8")), encoding="utf-8")
