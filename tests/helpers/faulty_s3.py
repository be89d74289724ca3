"""A real S3 server on loopback, and a proxy before it that has bad moments."""

import asyncio
import os
import random
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from aiohttp import ClientSession, web
from botocore.config import Config
from moto.server import ThreadedMotoServer

KEYS = {"aws_access_key_id": "AKIALOOPBACK", "aws_secret_access_key": "a-key-that-must-not-be-seen"}
BUCKET = "zoo"


@dataclass
class S3:
    """A server with one bucket."""

    server: ThreadedMotoServer
    url: str

    @classmethod
    def start(cls) -> "S3":
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        client(url).create_bucket(Bucket=BUCKET)
        return cls(server, url)

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.url)


@contextmanager
def strict() -> Iterator[str]:
    """A server with that bucket which knows no keys, by its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # The first request that needs keys makes the bucket; from then on they are looked at.
    server = subprocess.Popen(
        command, env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "1"}, stderr=subprocess.DEVNULL
    )
    try:
        # It tries again until there is a server.
        retries = Config(retries={"mode": "standard", "max_attempts": 10})
        boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", config=retries, **KEYS
        ).create_bucket(Bucket=BUCKET)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def client(url: str) -> Any:
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **KEYS)


def environment(url: str) -> dict[str, str]:
    """What tells boto of it."""
    keys = {name.upper(): value for name, value in KEYS.items()}
    return {**keys, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Faulty:
    """A proxy that lets a share of the requests fail: 503, a reset, a stall, a body cut short."""

    behind: str
    share: float
    seed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def start(self) -> "Faulty":
        """Serve from a thread of its own."""
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        assert ready.wait(20)
        return self

    def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._serve(ready))
        self._loop.run_forever()

    async def _serve(self, ready: threading.Event) -> None:
        self._dice = random.Random(self.seed)
        # Nothing is decoded on the way: bytes and their sums are the server's.
        self._session = ClientSession(auto_decompress=False)
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fault = ""
        if self._dice.random() < self.share:
            kinds = ["503", "reset", "stall"] + (["short"] if request.method == "GET" else [])
            fault = self._dice.choice(kinds)
            self.faults[fault] += 1
        body = await request.read()
        if fault == "503":
            return web.Response(status=503, text="<Error><Code>SlowDown</Code><Message>Slow</Message></Error>")
        if fault == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault == "stall":
            await asyncio.sleep(1.5)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "transfer-encoding"}
        async with self._session.request(
            request.method, self.behind + request.raw_path, headers=headers, data=body, allow_redirects=False
        ) as answer:
            content = await answer.read()
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in ("transfer-encoding", "connection")}
            response = web.StreamResponse(status=answer.status, headers=kept)
            if request.method != "HEAD" and answer.status not in (204, 304):
                response.content_length = len(content)
            await response.prepare(request)
            if fault == "short" and len(content) > 1:
                await response.write(content[: len(content) // 2])
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(content)
            await response.write_eof()
            return response
