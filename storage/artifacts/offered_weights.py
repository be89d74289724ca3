"""`weights/<sha256>/`: weights that workers of a run read from its root, as they do not see them where the recipe says.

The files are those of the checkpoint, byte for byte under their names. The name of the folder is the digest that a
model's store states, too, so that whoever loads them compares it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from rosetta.zoo.weights.source import INDEX, Folder, FromFile
from storage.artifacts.catalogue import WEIGHTS
from storage.filesystem.root import Root


@dataclass(frozen=True)
class OfferedWeights:
    """The weights of one model under a root."""

    root: Root
    sha256: str

    @property
    def path(self) -> str:
        """Of their folder, under the root."""
        return f"{WEIGHTS}/{self.sha256}"

    @property
    def files(self) -> list[str]:
        """Names of the files that are there."""
        return [file.removeprefix(f"{self.path}/") for file in self.root.find(self.path)]

    def url(self, folder: bool) -> str | None:
        """What a recipe would call them; None where there are none.

        Parameters
        ----------
        folder
            Whether the model's family takes a folder. Else it is their one file, or the index of several.
        """
        files, start = self.files, f"{self.root.url}/{self.path}"
        if not files:
            return None
        index = next((file for file in files if file.endswith(INDEX)), files[0])
        return start if folder else f"{start}/{index}"

    @property
    def intact(self) -> bool:
        """Whether they are there and have the digest."""
        files = self.files
        if not files:
            return False
        folder = Folder(self.path, f"{self.root.url}/{self.path}")
        if len(files) == 1 and folder.file(files[0]).sha256() == self.sha256:
            return True
        return folder.sha256(files) == self.sha256

    def offer(self, files: Sequence[tuple[str, FromFile]]) -> None:
        """Copy files there, unless they are there already.

        Parameters
        ----------
        files
            With the name of each in the folder.
        """
        if self.intact:
            return
        self.root.remove(self.path)
        for name, file in files:
            with file.open() as stream:
                self.root.write_stream(f"{self.path}/{name}", stream)


def offered_weights(root: Root) -> list[OfferedWeights]:
    """All that lie under a root."""
    digits = hashlib.sha256().digest_size * 2
    return [OfferedWeights(root, name) for name in root.list(WEIGHTS) if len(name) == digits]
