"""Who holds a root, and when another may take it over."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from rosetta.errors import UserError
from storage.filesystem import lock
from storage.filesystem.lock import RUN, Holder, holder, locked
from storage.filesystem.root import Root


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path):
    return Root(str(tmp_path) if request.param == "disk" else f"memory://lock-{tmp_path.name}")


def test_one_holds_it_and_then_no_one(root):
    with locked(root):
        assert holder(root).pid == os.getpid()
        with pytest.raises(UserError, match=f"in use by process {os.getpid()} on .* since 20"), locked(root):
            raise AssertionError("two hold it")
        assert holder(root) is not None, "who was refused takes nothing away"
        with locked(root, "inversions/a.lock"):
            pass
    assert holder(root) is None
    assert not root.exists(RUN)


def test_it_is_let_go_when_the_work_fails(root):
    with pytest.raises(RuntimeError), locked(root):
        raise RuntimeError
    assert not root.exists(RUN)


def gone(**more) -> Holder:
    """The holder that a killed process left."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return replace(Holder.here(), pid=process.pid, token="another", **more)


@pytest.mark.parametrize(
    "left",
    [
        lambda: gone().encode(),
        lambda: replace(Holder.here(), started=1.0, token="another").encode(),  # the number of a process came again
        lambda: gone(host="elsewhere", beat=time.time() - 3600).encode(),
        lambda: b"",
        lambda: b'{"pid": 3}',
    ],
)
def test_a_lock_whose_holder_is_dead_is_taken_over(root, left):
    root.write_bytes(RUN, left())
    with locked(root):
        assert holder(root).token != "another"
    assert not root.exists(RUN)


def test_a_holder_elsewhere_lives_as_long_as_it_gives_signs(root):
    root.write_bytes(RUN, gone(host="elsewhere").encode())
    with pytest.raises(UserError, match="on elsewhere since"), locked(root):
        raise AssertionError("two hold it")


def test_signs_of_life(root, monkeypatch):
    monkeypatch.setattr(lock, "_BEAT", 0.05)
    with locked(root):
        first = holder(root)
        for _ in range(100):
            time.sleep(0.05)
            if holder(root).beat > first.beat:
                break
        assert replace(holder(root), beat=first.beat) == first
        assert holder(root).beat > first.beat
    assert "lock" not in [thread.name for thread in threading.enumerate()]


def test_who_was_taken_over_does_not_take_it_back(root, monkeypatch):
    monkeypatch.setattr(lock, "_BEAT", 0.05)
    with locked(root):
        another = replace(Holder.here(), token="another")
        root.write_bytes(RUN, another.encode())
        time.sleep(0.3)
        assert holder(root) == another
    assert holder(root) == another


def test_of_many_that_come_at_once_one_gets_it(root, monkeypatch):
    root.write_bytes(RUN, gone().encode())
    inside, refused, most = [], [], []
    guard = threading.Lock()

    def work():
        try:
            with locked(root):
                with guard:
                    inside.append(1)
                    most.append(len(inside))
                time.sleep(0.5)
                with guard:
                    inside.pop()
        except UserError:
            refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(refused) + len(most) == 8


def test_it_is_plain_json(root):
    with locked(root):
        assert json.loads(root.read_bytes(RUN)) == asdict(holder(root))
