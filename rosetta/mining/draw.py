"""The order in which the images of a folder are mined: drawn by seed, every class spread evenly along it.

`images.count` takes the first ones. In a listing neighbours are of one class, so these would be of some classes and not
of others.
"""

import hashlib
import heapq
from array import array
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def folder_of(source: str) -> str:
    """The folder of a file by its path with `/`; empty where it lies in none."""
    return source.rpartition("/")[0]


def kept_of(images: int, keep: int) -> npt.NDArray[np.intp]:
    """(kept,) the images whose maps are stored out of all of a run, evenly spread."""
    return np.arange(keep) * images // keep


def drawn_order(sources: Iterable[str], seed: int) -> npt.NDArray[np.intp]:
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
    high, low, folder = _hashed(sources, seed)
    total = len(folder)
    by_hash = np.lexsort((low, high))
    # (file,) how many of its folder come before it, and how many are in its folder.
    by_folder = by_hash[np.argsort(folder[by_hash], kind="stable")]
    sizes = np.bincount(folder, minlength=1)
    turn = np.empty(total, np.int64)
    turn[by_folder] = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = sizes[folder]
    begin, end = turn * total // size, -(-(turn + 1) * total // size)
    by_end = np.lexsort((low, high, end))
    return by_end[_earliest_end_first(begin, by_end)].astype(np.intp)


def _earliest_end_first(begin: npt.NDArray[np.int64], by_end: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """(place,) which of the files that may stand there comes first in `by_end`, as an index into it.

    Parameters
    ----------
    begin
        (file,) first place of its window.
    """
    total = len(begin)
    rank = np.empty(total, np.int64)
    rank[by_end] = np.arange(total)
    by_begin = np.argsort(begin, kind="stable")
    places, waiting, opened = np.empty(total, np.int64), list[int](), 0
    for place in range(total):
        while opened < total and begin[file := by_begin[opened]] <= place:
            heapq.heappush(waiting, int(rank[file]))
            opened += 1
        places[place] = heapq.heappop(waiting)
    return places


def _hashed(
    sources: Iterable[str], seed: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """(file,) both halves of the hash of each, and the number of its folder."""
    seeded = hashlib.blake2b(f"{seed}/".encode(), digest_size=16)
    hashes, folder, known = bytearray(), array("q"), dict[str, int]()
    for source in sources:
        hashes += _hash(seeded, source)
        folder.append(known.setdefault(folder_of(source), len(known)))
    high, low = np.frombuffer(hashes, ">u8").reshape(-1, 2).T.astype(np.uint64)
    return high, low, np.array(folder, np.int64)


def _hash(seeded: "hashlib.blake2b", text: str) -> bytes:
    copy = seeded.copy()
    copy.update(text.encode("utf-8", "surrogateescape"))
    return copy.digest()
