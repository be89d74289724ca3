"""What hooks see of a module that runs its parts many times."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor, nn

from rosetta.errors import UserError
from rosetta.zoo.maps.capture import Capture
from rosetta.zoo.maps.hidden_steps import is_rehearsal, is_seen, rehearsal, unseen
from rosetta.zoo.maps.layout import Layout, Traits
from rosetta.zoo.maps.probe import probe


class Doubling(nn.Module):
    """Doubles what it is given four times, of which the last is seen."""

    def __init__(self, seen: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 2.0).requires_grad_(False)
        self.seen, self.ran = seen, 0

    def forward(self, images: Tensor) -> Tensor:
        with unseen():
            for _ in range(0 if is_rehearsal() else 4 - self.seen):
                images = self._once(images)
        for _ in range(self.seen):
            images = self._once(images)
        return images

    def _once(self, images: Tensor) -> Tensor:
        self.ran += 1
        doubled: Tensor = self.conv(images)
        return doubled


_IMAGE = torch.ones(1, 1, 4, 4)


def _capture(module: nn.Module) -> Capture:
    return Capture(module, {"conv": Layout("channels first", 1, (4, 4))})


def test_maps_are_those_of_what_is_seen() -> None:
    output, maps = _capture(Doubling())(_IMAGE)
    assert float(output.mean()) == float(maps["conv"].mean()) == 16


def test_a_layer_that_is_never_seen_did_not_run() -> None:
    with pytest.raises(UserError, match="layer 'conv' did not run this time"):
        _capture(Doubling(seen=0))(_IMAGE)


def test_a_probe_counts_what_is_seen_and_asks_for_no_more() -> None:
    module = Doubling()
    found = probe(module, (_IMAGE,), Traits(), (4, 4))
    assert found.layouts["conv"].grid == (4, 4)
    assert module.ran == 1
    assert not is_rehearsal()
    twice = probe(Doubling(seen=2), (_IMAGE,), Traits(), (4, 4))
    assert twice.problems["conv"] == "runs 2 times per image; name one of them, conv#1 to #2"


def test_an_error_and_a_nested_block_leave_things_as_they_were() -> None:
    with pytest.raises(KeyError), unseen(), rehearsal():
        raise KeyError
    assert is_seen()
    assert not is_rehearsal()
    with unseen():
        with unseen():
            pass
        assert not is_seen()


def test_threads_do_not_see_each_other() -> None:
    together = Barrier(2)

    def look(away: bool) -> Iterator[bool]:
        if away:
            with unseen():
                together.wait(10)
                yield is_seen()
                together.wait(10)
        else:
            together.wait(10)
            yield is_seen()
            together.wait(10)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda away: list(look(away)), [True, False])) == [[False], [True]]
