"""Kinds of text that settings are made of, with what an error says of any other."""

import re
from typing import Annotated

from pydantic import AfterValidator

_NAME = "use lower-case letters, digits, '.', '_' and '-', with a letter or digit first"


def text(pattern: str, problem: str) -> AfterValidator:
    """Text that a pattern matches as a whole; the problem is what an error says of any other."""

    def valid(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} is {problem}")
        return text

    return AfterValidator(valid)


def valid_url(text: str) -> str:
    if "://" in text and "@" in text.partition("://")[2].partition("/")[0]:
        scheme, _, rest = text.partition("://")
        raise ValueError(
            f"{scheme}://…@{rest.partition('/')[0].rpartition('@')[2]} holds credentials, which recipes must not; give "
            "them in the environment or a profile"
        )
    return text


Name = Annotated[str, text(r"[a-z0-9][a-z0-9._-]*", f"no valid name; {_NAME}")]
Place = Annotated[str, AfterValidator(valid_url)]
"""A path or a URL; without credentials, as recipes are kept and shown."""
