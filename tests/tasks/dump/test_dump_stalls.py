"""An object store that no longer answers ends a dump with one line, and the same call goes on once it does."""

import asyncio
import sys
import time

import fsspec
import numpy as np
import pytest
from faulty_s3 import BUCKET, S3, Faulty
from test_dump_failures import MADE, OWN, PICTURES, SPEC, patched

from rosetta.recipe import Compute
from storage.artifacts.activations import ActivationStore
from storage.artifacts.images import ImageStore
from storage.filesystem.root import Root
from storage.filesystem.s3 import fault_of_store
from tasks.dump.activations import dump

pytestmark = pytest.mark.slow

IMAGES = 16


class Stalling(Faulty):
    """Takes so many requests to write and then answers none."""

    left = 10**9

    async def _handle(self, request):
        if request.method == "PUT":
            self.left -= 1
        if self.left < 0:
            await asyncio.sleep(3600)
        return await super()._handle(request)


def test_a_store_that_stalls_ends_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "failing_zoo.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    patched(monkeypatch.setattr)
    server = S3.start()
    proxy = Stalling(server.url, share=0)
    proxy.start()
    for name, value in (server.environment | {"AWS_ENDPOINT_URL": proxy.url}).items():
        monkeypatch.setenv(name, value)
    once = {"retries": {"mode": "standard", "max_attempts": 1}, "connect_timeout": 1, "read_timeout": 1}
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": once, "skip_instance_cache": True})
    root = Root(f"s3://{BUCKET}/stalls")
    store = ImageStore.create(root, PICTURES, images=IMAGES, size=(12, 12), block=16, latents=None)
    store.write(0, np.random.default_rng(0).integers(0, 256, (IMAGES, 12, 12, 3), dtype=np.uint8))
    store.finish()

    def run() -> None:
        dump(root, MADE, PICTURES, SPEC, Compute(writers=12), "cpu")

    try:
        proxy.left = 60
        began = time.monotonic()
        with pytest.raises(Exception) as stalled:  # noqa: PT011 - which error it is, s3fs decides
            run()
        assert time.monotonic() - began < 60
        line = fault_of_store(stalled.value)
        assert line is not None
        assert line.startswith("object store: ")
        assert "\n" not in line
        proxy.left = 10**9
        run()
        assert ActivationStore.read(root, "own").written().all()
    finally:
        server.server.stop()
        sys.modules.pop("failing_zoo", None)
