"""The order in which the images of a folder are mined: drawn by seed, every class spread evenly along it.

Half of a run is made of long runs of neighbouring images (:mod:`rosetta.mining.halves`), and `images.count` takes
the first ones. In a listing neighbours are of one class, so either would see some classes and not others.
"""

import hashlib
import heapq
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def folder_of(source: str) -> str:
    """The folder of a file by its path with `/`; empty where it lies in none."""
    return source.rpartition("/")[0]


def kept_of(images: int, keep: int) -> npt.NDArray[np.intp]:
    """(kept,) the images whose maps are stored out of all of a run, evenly spread."""
    return np.arange(keep) * images // keep


def drawn_order(sources: Sequence[str], seed: int) -> npt.NDArray[np.intp]:
    """An order of files that depends on their names and a seed alone, not on how they were listed.

    Files of a folder follow one another by a hash of seed and name, so a file that comes or goes leaves the rest in
    place. Folders share the places as processes share a processor under proportionate fair scheduling (Baruah, Cohen,
    Plaxton and Varel, *Algorithmica* 1996): file r (from 0) of a folder that holds the share w of all files takes a
    place in the window from ⌊r/w⌋ to ⌈(r+1)/w⌉ − 1, earliest end first. So the first n places hold each folder w·n
    times, give or take less than one, and any n neighbouring places give or take less than two.

    Parameters
    ----------
    sources
        (file,) distinct paths with `/`.

    Returns
    -------
    (file,) indices into `sources`
    """
    seeded = hashlib.blake2b(f"{seed}/".encode(), digest_size=16)
    hashes = [_hash(seeded, source) for source in sources]
    folders: dict[str, list[int]] = {}
    for file in sorted(range(len(sources)), key=lambda file: (hashes[file], sources[file])):
        folders.setdefault(folder_of(sources[file]), []).append(file)
    total = len(sources)
    windows = sorted(
        (turn * total // len(files), -(-(turn + 1) * total // len(files)), hashes[file], file)
        for files in folders.values()
        for turn, file in enumerate(files)
    )
    order = np.empty(total, dtype=np.intp)
    waiting: list[tuple[int, bytes, int]] = []
    opened = 0
    for place in range(total):
        while opened < total and windows[opened][0] <= place:
            heapq.heappush(waiting, windows[opened][1:])
            opened += 1
        order[place] = heapq.heappop(waiting)[2]
    return order


def _hash(seeded: "hashlib.blake2b", text: str) -> bytes:
    copy = seeded.copy()
    copy.update(text.encode("utf-8", "surrogateescape"))
    return copy.digest()
