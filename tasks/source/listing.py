"""What a source holds: its images, and what was not taken though a person may have meant it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tasks.source.contents import Contents
from tasks.source.file_list import Files
from tasks.source.formats import UNREADABLE
from tasks.source.image_file import ImageFile, few


@dataclass
class Listing:
    """What was found, and what was not taken."""

    name: str
    """What messages call the source."""
    files: Files = field(default_factory=lambda: Files.of(()))
    hidden: set[str] = field(default_factory=set)
    """Files and folders whose name begins with a dot."""
    others: Counter[str] = field(default_factory=Counter)
    """By suffix: files of a folder that are no images."""
    miscased: list[str] = field(default_factory=list)
    """Files that only their case keeps from matching the glob."""
    loops: list[str] = field(default_factory=list)
    """Links to a folder that holds them."""
    broken: list[str] = field(default_factory=list)
    """Links to nothing."""
    datasets: list[str] = field(default_factory=list)
    """Files that hold many images, and were opened."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Names of what else was not taken, by what it is."""

    def lines(self) -> Iterator[str]:
        """What was not taken though a person may have meant it, one line for each reason."""
        if unreadable := {suffix: count for suffix, count in self.others.items() if suffix in UNREADABLE}:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unreadable.items()))
            yield f"left out {kinds}, which cannot be read here; convert them, for example to PNG"
        if self.miscased:
            yield f"left out {few(self.miscased)}, which differ from the glob in case alone; use *.[jJ][pP][gG]"
        if self.broken:
            yield f"left out {few(self.broken)}: links to nothing"
        if self.loops:
            yield f"did not follow {few(self.loops)}: links to a folder that holds them"
        for what, names in self.left_out.items():
            yield f"left out {few(names)}: {what}"

    def leave_out(self, what: str, files: Sequence[ImageFile | str]) -> None:
        """Note files that were not taken, by what they are."""
        if files:
            self.left_out.setdefault(what, []).extend(getattr(file, "source", str(file)) for file in files)

    def add(self, dataset: str, contents: Contents) -> None:
        """Note what of a file that holds many images was not taken."""
        self.datasets.append(dataset)
        self.hidden.update(contents.hidden)
        self.others.update(contents.others)
        for what, names in contents.left_out.items():
            self.leave_out(what, names)

    def counts(self) -> str:
        """How many were not taken as no one means them."""
        rest = sum(count for suffix, count in self.others.items() if suffix not in UNREADABLE)
        parts = [(len(self.hidden), "hidden item"), (rest, "other file")]
        return " and ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in parts if count)
