"""What a page of the atlas shows, and where its units are."""

from urllib.parse import parse_qs, quote


def ids(page) -> list[int]:
    """The concepts whose cards are there, in reading order."""
    return page.eval_on_selector_all(".grid .card", "cards => cards.map((card) => Number(card.dataset.concept))")


def query(page) -> dict:
    return {key: values[0] for key, values in parse_qs(page.url.partition("?")[2]).items()}


KEPT = "!'()*"
"""What `encodeURIComponent` leaves as it is and :func:`quote` would not."""


def unit_address(model: str, layer: str, channel: int) -> str:
    return f"unit/{quote(model, safe=KEPT)}/{quote(layer, safe=KEPT)}/{channel}"
