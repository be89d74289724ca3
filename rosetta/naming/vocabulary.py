"""Vocabularies: the names that a concept may be given."""

from importlib.resources import files

from rosetta.errors import UserError

SHIPPED = "words.txt"
LEAST = 10
"""With fewer words the best of them says little."""
PROMPTS = (
    "a photo of a {}",
    "a close-up photo of a {}",
    "a picture that shows {}",
)
"""What a word is put in; the embedding of a word is the mean of those of its prompts."""
_NAMED = 3
"""Words that a message names."""


def shipped() -> tuple[str, ...]:
    """The vocabulary of this package: about 3,000 everyday English words, materials, colours, parts and textures."""
    return parse(files("rosetta.naming").joinpath(SHIPPED).read_bytes(), SHIPPED)


def parse(content: bytes, name: str) -> tuple[str, ...]:
    """The words of a file, one a line; empty lines and those that begin with `#` are skipped.

    Parameters
    ----------
    content
        UTF-8, with or without a byte order mark.
    name
        What messages call the file.

    Raises
    ------
    UserError
        It is no text, has a word twice, has one that cannot be printed, or has fewer than :data:`LEAST` words.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    lines: dict[str, int] = {}
    twice: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        word = " ".join(line.split())
        if not word or word.startswith("#"):
            continue
        if not word.isprintable():
            raise UserError(f"{name}: line {number} has characters that cannot be printed; write words alone")
        if word in lines:
            twice.append(f"{word!r} (lines {lines[word]} and {number})")
        lines.setdefault(word, number)
    if twice:
        more = f" and {len(twice) - _NAMED:,} more" if len(twice) > _NAMED else ""
        raise UserError(f"{name} has words twice: {', '.join(twice[:_NAMED])}{more}; leave one of each")
    if len(lines) < LEAST:
        raise UserError(f"{name} has {len(lines)} words; give at least {LEAST}, as a name is the best of many")
    return tuple(lines)
