"""Mending a run before it is mined on."""

from flows.hold import holding
from storage.check import Finding
from storage.location import Root
from storage.mend import mend
from storage.provenance import RECIPE


def mend_root(root: str) -> list[Finding]:
    """Put right or take away whatever is damaged under a root; nothing where there is no run yet.

    Raises
    ------
    UserError
        Another process holds the root, or it cannot be written.
    """
    place = Root(root)
    if not place.exists(RECIPE):
        return []
    place.require_writable()
    with holding(place):
        return mend(place)
