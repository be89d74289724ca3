"""The shipped vocabulary, and what is wrong with others."""

import pytest

from rosetta.errors import UserError
from rosetta.naming.vocabulary import LEAST, parse, shipped

WORDS = [f"word {number}" for number in range(LEAST)]


def test_the_shipped_words_are_plain():
    words = shipped()
    assert 2000 <= len(words) <= 4000
    assert len(set(words)) == len(words)
    assert all(word == word.lower() == word.strip() and word.isascii() and word.isprintable() for word in words)
    assert max(map(len, words)) < 40
    assert {"nose", "marble", "striped", "turquoise", "left side", "dog", "church"} <= set(words)


def test_comments_and_empty_lines_are_skipped():
    text = "\ufeff# kinds\n\n" + "\r\n".join(WORDS) + "\n  café   au lait \n#word 3\n"
    assert parse(text.encode(), "mine") == (*WORDS, "café au lait")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n".join(WORDS).encode("utf-16"), "mine is not UTF-8 text"),
        ("\n".join([*WORDS, "word 3"]).encode(), r"mine has words twice: 'word 3' \(lines 4 and 11\); leave one"),
        ("\n".join(WORDS * 2).encode(), "and 7 more"),
        ("\n".join(WORDS[1:]).encode(), "mine has 9 words; give at least 10"),
        (b"", "mine has 0 words"),
        ("\n".join([*WORDS, "a\x07b"]).encode(), "line 11 has characters that cannot be printed"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(UserError, match=message) as caught:
        parse(content, "mine")
    assert "\n" not in str(caught.value)
