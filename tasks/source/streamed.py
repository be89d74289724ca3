"""All images of a run that keeps the maps of some of them."""

from dataclasses import dataclass, field

from tasks.source.file_list import Files


@dataclass(frozen=True)
class Streamed:
    """The images of a run that keeps the maps of some of them."""

    images: int
    """How many there are in all."""
    listing: str = ""
    """Digest of the names and stamps of all files of a source, in order."""
    files: Files = field(default_factory=lambda: Files.of(()), repr=False)
    """These; none of a generator, or where they were not looked at."""
