"""Flipped bits, and files that would run code if they were loaded as their writers meant it."""

import os
import pickle
import random
from pathlib import Path
from typing import Any

import torch

from storage.artifacts.catalogue import AGREED


def flip(root: Path, count: int, seed: int) -> list[str]:
    """Flip one bit in each of so many files of a root, any file with the same chance; returns their paths under it.

    What was found to agree is left out: it only saves time, and no seal covers it.
    """
    dice = random.Random(seed)
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size and path.name != AGREED)
    chosen = dice.sample(files, count)
    for file in chosen:
        content = bytearray(file.read_bytes())
        place = dice.randrange(8 * len(content))
        content[place // 8] ^= 1 << (place % 8)
        # A new file takes its name, so that hard links and readers of the old one are left alone.
        part = file.with_name(f".{file.name}.flip")
        part.write_bytes(bytes(content))
        part.replace(file)
    return [str(file.relative_to(root)) for file in chosen]


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
