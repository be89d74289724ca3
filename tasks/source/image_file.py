"""One image of a source: a file, or a part of a file that holds many."""

from collections.abc import Sequence
from dataclasses import dataclass

from rosetta.mining.draw import folder_of


class DamagedError(Exception):
    """A part of a file that cannot be read, though the file can."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where the bytes of an image lie in a tar; :attr:`ImageFile.size` says how many they are."""

    start: int

    @property
    def position(self) -> tuple[int, int]:
        """Of the image in its file."""
        return self.start, 0


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows of a Parquet file that are read together."""

    column: str
    """That holds the images' bytes, by its path: `image.bytes`."""
    start: int
    """Number of the group."""
    stamp: str
    """Of the file when it was listed."""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Rows of an Arrow file that are read together."""

    column: str
    """That holds the images' bytes, by its path: `image.bytes`."""
    schema: tuple[int, int]
    """From which byte of the file to which it lies."""
    start: int
    """The batch's first byte in the file."""
    stop: int
    """One byte behind its last."""
    stamp: str
    """Of the file when it was listed."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where an image lies in a table."""

    group: RowGroup | RecordBatch
    number: int
    """In its group."""

    @property
    def position(self) -> tuple[int, int]:
        """Of the image in its file."""
        return self.group.start, self.number


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a source."""

    url: str
    """Of its file. Opens with fsspec, whatever the filesystem or chain of filesystems."""
    source: str
    """Path relative to the source's folder, or to the part of the glob before the first wildcard, with `/`; unique in
    its source. Of a part of a file, the file's path and the part's name: `shards/0.tar/cat/3.jpg`."""
    size: int
    """Bytes; 0 for rows of a table, whose size is not known before they are read."""
    modified: str
    """What the filesystem says of the last change: a time in ns, an ETag, ...; empty where it says nothing. Of a part
    of a file, the file's stamp and where the part lies."""
    part: Span | Row | None = None
    """Which part of the file; None for all of it."""
    within: str = ""
    """Path of the file that it is a part of, as `source` begins with."""
    label: str | None = None
    """Its class by the dataset or the table of labels; None where these do not say, or there are none."""

    @property
    def stamp(self) -> str:
        """A quick sign that it is the same: its size and, after a blank, its last change."""
        return f"{self.size} {self.modified}"

    @property
    def folder(self) -> str:
        """The folders that it lies in, in its source and in the file that it is a part of."""
        return folder_inside(self.source, self.within)

    @property
    def position(self) -> tuple[str, int, int]:
        """Where it lies, to read the parts of a file in the order that they have there."""
        return (self.url, *(self.part.position if self.part else (0, 0)))


def folder_inside(source: str, within: str) -> str:
    """See :attr:`ImageFile.folder`."""
    if not within:
        return folder_of(source)
    return "/".join(filter(None, [folder_of(within), folder_of(source[len(within) + 1 :])]))


def suffix_of(name: str) -> str:
    """As :attr:`pathlib.PurePath.suffix`, in lower case and a tenth of the time."""
    name = name.rpartition("/")[2]
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def as_text(name: str) -> str:
    """A name as text that can be stored, whatever bytes it is made of."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def member_name(name: str) -> str | None:
    """The name of a part of a file, in one line and without `./`; None for one that leads out of the file."""
    parts = [part for part in as_text(name).split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts:
        return None
    return "/".join("".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in part) for part in parts)


def few(names: Sequence[str]) -> str:
    """How many files there are, and the names of the first."""
    shown = ", ".join(map(as_text, sorted(names)[:3]))
    return f"{len(names)} file{'s' * (len(names) != 1)} ({shown}{', …' if len(names) > 3 else ''})"
