"""The images of a tar, read where they lie: nothing is unpacked.

In a WebDataset tar a sample is the files with one key, the part of their name before the first dot of its last part:
`n01/0042.jpg` and `n01/0042.cls` are an image and its label.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from tasks.source.contents import BESIDE, LINK, OUTSIDE, REPLACED, BadDatasetError, Contents, is_hidden
from tasks.source.file_list import Files
from tasks.source.formats import suffixes
from tasks.source.image_file import ImageFile, Span, member_name

_LABELS = ("cls", "json", "txt")
"""Extensions of the files that may hold a label, the surest first."""
_LARGEST_LABEL = 1 << 20
"""Bytes."""
_LONGEST_WORD = 100
"""Characters of a text that may be a class; captions are longer, or more than one word."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A regular file of a tar."""

    name: str
    start: int
    size: int

    @property
    def key(self) -> str:
        """Of its sample."""
        return self.name[: len(self.name) - len(self.extension) - 1] if self.extension else self.name

    @property
    def extension(self) -> str:
        """All behind the first dot of the last part of its name."""
        return self.name.rpartition("/")[2].partition(".")[2]


def list_tar(tar: ImageFile, file: IO[bytes]) -> Contents:
    """The images of a tar; goes through its headers once.

    Parameters
    ----------
    file
        The tar, open.

    Raises
    ------
    BadDatasetError
        It is no tar, or cut short.
    """
    found = Contents()
    members: dict[str, _Member] = {}
    texts: dict[str, bytes] = {}
    for member in _members(tar, file, found):
        if any(map(is_hidden, member.name.split("/"))):
            found.hidden.append(f"{tar.source}/{member.name}")
            continue
        if member.name in members:
            found.left_out[REPLACED].append(f"{tar.source}/{member.name}")
        members[member.name] = member
        if member.extension in _LABELS and member.size <= _LARGEST_LABEL:
            file.seek(member.start)
            texts[member.name] = file.read(member.size)
    images = {name: one for name, one in members.items() if _suffix(name) in suffixes()}
    named_alone = {one.key for one in images.values() if "." not in one.extension}
    labels, keys = _labels(texts), {one.key for one in images.values()}
    taken = []
    for name, member in members.items():
        if name not in images:
            if member.key not in keys or member.extension not in _LABELS:
                found.others[_suffix(name)] += 1
        elif "." in member.extension and member.key in named_alone:
            found.left_out[BESIDE].append(f"{tar.source}/{name}")
        else:
            taken.append(member)
    found.files = Files.of(
        ImageFile(
            tar.url,
            f"{tar.source}/{member.name}",
            member.size,
            f"{tar.stamp} {member.start}",
            Span(member.start),
            tar.source,
            labels.get(member.key),
        )
        for member in taken
    )
    return found


def _members(tar: ImageFile, file: IO[bytes], found: Contents) -> Iterator[_Member]:
    """The regular files of a tar, in their order there."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            behind = 0
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                if archive.offset <= behind:
                    raise tarfile.ReadError(f"a header at byte {behind} leads backwards")
                behind = archive.offset
                if member.isdir():
                    continue
                name = member_name(member.name)
                if name is None:
                    found.left_out[OUTSIDE].append(ascii(member.name)[1:-1])
                elif not member.isreg() or member.issparse():
                    found.left_out[LINK].append(f"{tar.source}/{name}")
                else:
                    yield _Member(name, member.offset_data, member.size)
            # Where a header is missing or damaged the module takes the tar for finished.
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"no end where it should be, at byte {archive.offset}")
    except tarfile.TarError as error:
        raise BadDatasetError(tar.source, f"is no tar, damaged or cut short ({error})") from None


def _suffix(name: str) -> str:
    base = name.rpartition("/")[2]
    return f".{base.rpartition('.')[2].lower()}" if "." in base else ""


def _labels(texts: Mapping[str, bytes]) -> dict[str, str]:
    """By key, from the contents of the files that may hold labels."""
    by_kind: dict[str, dict[str, str]] = {kind: {} for kind in _LABELS}
    for name, content in texts.items():
        key, _, kind = name.rpartition(".")
        with suppress(ValueError, RecursionError):  # of another encoding, or no JSON
            text = content.decode("utf-8")
            label = " ".join((_of_json(text) if kind == "json" else text).split())
            if label:
                by_kind[kind][key] = label
    # Texts are classes where all of them are: else they are captions.
    if not all(" " not in text and len(text) <= _LONGEST_WORD for text in by_kind["txt"].values()):
        by_kind["txt"] = {}
    return {key: label for kind in reversed(_LABELS) for key, label in by_kind[kind].items()}


def _of_json(text: str) -> str:
    value = json.loads(text)
    label = value.get("label") if isinstance(value, dict) else None
    return str(label) if isinstance(label, str | int) else ""
