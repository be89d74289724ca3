"""`--json`: one JSON object on standard output and nothing else."""

import json
from typing import Annotated, Any

from cyclopts import Parameter

Json = Annotated[bool, Parameter("--json", help="Print one JSON object on standard output and nothing else.")]


def print_json(data: Any) -> None:
    """Print the object."""
    print(json.dumps(data, indent=2, ensure_ascii=False))
