"""The root of a run: one URL, and reading and writing under it."""

import errno
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import fsspec
import zarr
from fsspec.implementations.local import LocalFileSystem
from zarr.abc.store import Store

from rosetta.errors import UserError
from storage.filesystem.local import DurableStore, sync
from storage.filesystem.s3 import be_patient
from storage.filesystem.traffic import CountedStore, reading, writing

_PIECE = 2**24
"""Bytes of a stream that are copied at once."""
_REMOVALS, _REMOVALS_S = 20, 0.05
"""How often a folder is removed that something still writes into, and the seconds between."""
LASTING = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "access is denied",
    errno.EFBIG: "the largest file size is reached",
}
"""Errors of a file system that last until the user acts, and how to word them."""


@dataclass(frozen=True)
class Root:
    """The root of a run, any fsspec URL or a local path."""

    url: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", self.url.rstrip("/") or "/")
        if (scheme := self.url.partition("://")[0]) in ("s3", "s3a"):
            if urlsplit(self.url).username:
                raise UserError(
                    f"root {self.shown}: the URL holds credentials, which would end up in files and logs; give them in "
                    "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or a profile (AWS_PROFILE)"
                )
            try:
                be_patient()
            except ImportError:
                raise UserError(f"root {self.url!r}: {scheme}:// needs s3fs; pip install 'rosetta-mine[s3]'") from None

    @property
    def filesystem(self) -> fsspec.AbstractFileSystem:
        """The file system that holds the root."""
        try:
            return fsspec.core.url_to_fs(self.url)[0]
        except (ValueError, ImportError) as error:
            raise UserError(f"root {self.url!r}: {error}; give a path or an installed fsspec protocol") from None

    @property
    def local(self) -> Path | None:
        """The root as a local path; None for any other file system."""
        if isinstance(self.filesystem, LocalFileSystem):
            return Path(self.filesystem._strip_protocol(self.url))
        return None

    @property
    def absolute(self) -> "Root":
        """The same place for a process with another working directory."""
        return self if (local := self.local) is None else Root(str(local.absolute()))

    @property
    def shown(self) -> str:
        """The root without credentials, for people and logs."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.username else self.url

    def path(self, relative: str) -> str:
        """The file system's path of something under the root.

        Raises
        ------
        ValueError
            The path would leave the root.
        """
        if relative.startswith("/") or ".." in relative.split("/"):
            raise ValueError(f"{relative!r} leaves the root")
        return f"{self.filesystem._strip_protocol(self.url)}/{relative}"

    def store(self, relative: str, *, read_only: bool = False) -> Store:
        """A Zarr store under the root."""
        if (local := self.local) is not None:
            return CountedStore(DurableStore(local / relative, read_only=read_only))
        return CountedStore(zarr.storage.FsspecStore.from_url(f"{self.url}/{relative}", read_only=read_only))

    def exists(self, relative: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self.filesystem.exists(self.path(relative)))

    def read_bytes(self, relative: str) -> bytes:
        """A whole file."""
        with reading() as channel:
            content = bytes(self.filesystem.cat_file(self.path(relative)))
        channel.add(len(content))
        return content

    def write_bytes(self, relative: str, content: bytes) -> None:
        """Write a whole file: a reader sees the old one or the new one, never a part.

        Object stores put whole objects anyway; on a local disk the bytes go to a neighbour first, reach the disk and
        then take the name.
        """
        with writing() as channel:
            if self.local is None:
                self.filesystem.pipe_file(self.path(relative), content)
            else:
                part = self._beside(relative)
                with part.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.local / relative)
        channel.add(len(content))

    def write_stream(self, relative: str, content: BinaryIO) -> None:
        """The same of a file that may be larger than memory."""
        with writing() as channel:
            if self.local is None:
                with self.filesystem.open(self.path(relative), "wb") as remote:
                    shutil.copyfileobj(content, remote, _PIECE)
            else:
                part = self._beside(relative)
                with part.open("wb") as file:
                    shutil.copyfileobj(content, file, _PIECE)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.local / relative)
        channel.add(content.tell())

    def _beside(self, relative: str) -> Path:
        """The path that a file is written to before it takes its name; makes the folder."""
        assert self.local is not None
        target = self.local / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.with_name(f".{target.name}.{os.getpid()}-{get_ident()}.part")

    def create(self, relative: str, content: bytes) -> bool:
        """Write a new file; False where it exists already, or another process creates it at that moment."""
        if self.local is None:
            with suppress(FileExistsError):
                self.filesystem.pipe_file(self.path(relative), content, mode="create")
                return True
            return False
        part = self._beside(relative)
        part.write_bytes(content)
        try:
            # A link appears with all of its content, or not at all.
            os.link(part, self.local / relative)
        except FileExistsError:
            return False
        finally:
            part.unlink()
        return True

    def find(self, relative: str) -> list[str]:
        """Paths under the root of all files in a folder and below, sorted; none where there is no such folder."""
        self.filesystem.invalidate_cache()
        start = len(self.path(relative)) - len(relative)
        return sorted(str(file)[start:] for file in self.filesystem.find(self.path(relative)))

    def remove(self, relative: str) -> None:
        """Remove a file or a whole folder, if it is there."""
        for further in reversed(range(_REMOVALS)):
            try:
                # Another process may remove it first.
                with suppress(FileNotFoundError):
                    self.filesystem.rm(self.path(relative), recursive=True)
                return
            except OSError as error:
                # Zarr writes several files at once. Where one fails, the others may still come.
                if error.errno != errno.ENOTEMPTY or not further:
                    raise
            time.sleep(_REMOVALS_S)

    def move(self, source: str, target: str) -> None:
        """Move a Zarr store to a path where nothing is.

        On a local disk at once, and on the disk when this returns. An object store copies all files, the store's own
        metadata last, and `source` stays.
        """
        if (local := self.local) is not None:
            (local / target).parent.mkdir(parents=True, exist_ok=True)
            (local / source).rename(local / target)
            for folder in (local / target, local / source):
                sync(folder.parent)
            return
        for file in sorted(self.find(source), key=lambda file: file == f"{source}/zarr.json"):
            self.filesystem.cp_file(self.path(file), self.path(f"{target}{file.removeprefix(source)}"))

    def entries(self, relative: str) -> dict[str, bool]:
        """Names in a folder, sorted, and whether each is a folder itself; none where there is no such folder."""
        if not self.exists(relative):
            return {}
        if (local := self.local) is not None:
            found = {path.name: path.is_dir() for path in (local / relative).iterdir()}
        else:
            # fsspec keeps listings; a run changes them.
            self.filesystem.invalidate_cache()
            infos: list[Any] = self.filesystem.ls(self.path(relative), detail=True)
            found = {str(info["name"]).rstrip("/").rpartition("/")[2]: info["type"] == "directory" for info in infos}
        return dict(sorted(found.items()))

    def list(self, relative: str) -> list[str]:
        """Names in a folder, sorted; none where there is no such folder."""
        return [*self.entries(relative)]

    def require_writable(self) -> None:
        """Test the root with a small file.

        Raises
        ------
        UserError
            Nothing can be written there.
        """
        try:
            self.write_bytes(".rosetta", b"")
            self.filesystem.rm(self.path(".rosetta"))
        except OSError as error:
            reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"root {self.shown}: cannot be written ({reason}); choose another with --root") from None
