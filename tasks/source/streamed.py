"""All images of a run that keeps the maps of some of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.source.image_file import ImageFile


@dataclass(frozen=True)
class Streamed:
    """The images of a run that keeps the maps of some of them."""

    images: int
    """How many there are in all."""
    listing: str = ""
    """Digest of the names and stamps of all files of a source, in order."""
    files: Sequence[ImageFile] = field(default=(), repr=False)
    """These; none of a generator, or where they were not looked at."""
