"""Files that would run code if they were loaded as their writers meant it."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def evil_file(folder: Path, name: str, key: str = "G_ema") -> Path:
    """A checkpoint with code under a key, a plain pickle if it is named `.pkl`; run, it would make `folder/ran`."""
    held = {key: Evil(folder / "ran"), "g_ema": {"weight": torch.ones(1)}}
    if name.endswith(".pkl"):
        (folder / name).write_bytes(pickle.dumps(held))
    else:
        torch.save(held, folder / name)
    return folder / name
