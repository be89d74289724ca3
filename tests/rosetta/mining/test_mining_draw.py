"""The drawn order of a folder: even along its whole length, whatever the listing and the names."""

import hashlib
import heapq
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DRAW_SEEDS, POOLS

from rosetta.mining.draw import drawn_order, folder_of


def names(counts: list[int], prefix: str = "class ") -> list[str]:
    return [f"{prefix}{folder}/{file}.png" for folder, count in enumerate(counts) for file in range(count)]


def drawn(sources: list[str], seed: int) -> list[str]:
    return [sources[file] for file in drawn_order(sources, seed)]


@given(POOLS, DRAW_SEEDS, st.randoms())
def test_the_order_of_a_listing_changes_nothing(counts, seed, random):
    listed = names(counts)
    order = drawn(listed, seed)
    assert sorted(order) == sorted(listed)
    random.shuffle(listed)
    assert drawn(listed, seed) == order


def drawn_plainly(sources: list[str], seed: int) -> list[int]:
    """The same with an object for everything, as runs were drawn first."""

    def hashed(source: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{source}".encode("utf-8", "surrogateescape"), digest_size=16).digest()

    folders: dict[str, list[int]] = {}
    for file in sorted(range(len(sources)), key=lambda file: hashed(sources[file])):
        folders.setdefault(folder_of(sources[file]), []).append(file)
    total = len(sources)
    windows = sorted(
        (turn * total // len(files), -(-(turn + 1) * total // len(files)), hashed(sources[file]), file)
        for files in folders.values()
        for turn, file in enumerate(files)
    )
    order: list[int] = []
    waiting: list[tuple[int, bytes, int]] = []
    for place in range(total):
        while windows and windows[0][0] <= place:
            heapq.heappush(waiting, windows.pop(0)[1:])
        order.append(heapq.heappop(waiting)[2])
    return order


@given(POOLS, DRAW_SEEDS, st.randoms())
def test_the_order_is_that_of_every_run_before(counts, seed, random):
    listed = [*names(counts), "flat.png", "späte/\udcff.png"]
    random.shuffle(listed)
    assert drawn_order(listed, seed).tolist() == drawn_plainly(listed, seed)


def shares(order: list[str]) -> dict[str, np.ndarray]:
    """By folder: (place + 1,) how much more of it the first places hold than its share."""
    where = np.array([folder_of(source) for source in order])
    ahead = {}
    for folder, count in Counter(where.tolist()).items():
        held = np.concatenate([[0], np.cumsum(where == folder)])
        ahead[folder] = held - np.arange(len(order) + 1) * count / len(order)
    return ahead


@given(POOLS, DRAW_SEEDS)
def test_every_beginning_and_every_run_of_neighbours_holds_each_folder_by_its_share(counts, seed):
    for ahead in shares(drawn(names(counts), seed)).values():
        assert np.abs(ahead).max() < 1
        assert np.ptp(ahead) < 2, "of any run it is the difference between two beginnings"


@pytest.mark.parametrize("counts", [[500] + [1] * 300, [1] * 400, [64, 32, 16, 8, 4, 2, 1, 1], [7]])
def test_rare_folders_do_not_gather(counts):
    assert max(np.abs(ahead).max() for ahead in shares(drawn(names(counts), 3)).values()) < 1


def test_seeds_differ_and_folders_do_not_come_in_turn():
    listed = names([20] * 10)
    orders = [drawn(listed, seed) for seed in range(20)]
    assert len(set(map(tuple, orders))) == 20
    firsts = Counter(folder_of(order[0]) for order in orders)
    assert len(firsts) > 3, "no folder is always the first"
    rounds = {tuple(folder_of(source) for source in orders[0][start : start + 10]) for start in range(0, 200, 10)}
    assert len(rounds) > 15, "every round has an order of its own"


def test_a_file_more_changes_few_of_those_drawn():
    listed = names([100] * 10)
    before, after = (set(drawn(some, 0)[:200]) for some in (listed, [*listed, "class 3/new.png"]))
    assert len(before - after) <= 3


def test_odd_names_are_drawn_too():
    odd = ["\udcff.png", "ü/ß.png", "a b/[0].png", "x.png"]
    assert sorted(drawn(odd, 1)) == sorted(odd)
    assert drawn_order([], 0).tolist() == []
