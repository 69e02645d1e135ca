"""A small HTTP load generator that is not the bottleneck: keep-alive connections, one prepared request,
bytes counted.

In the benchmark: `measure`, which runs this file as its own process. By hand::

    python bench/load.py ADDRESS REQUEST_FILE CONNECTIONS SECONDS     ADDRESS: /path/of.sock or host:port

It does not parse answers: the first one's head gives its length, and every later one must be as long and
begin with the same status line, which holds for one request against one model.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True)
class Result:
    """Requests per second, and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


def request(
    path: str, body: bytes, headers: Mapping[str, str] | None = None, host: str = "localhost"
) -> bytes:
    """The bytes of one POST."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += [
        f"{name}: {value}" for name, value in {"content-type": "application/json", **(headers or {})}.items()
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def measure(address: str, prepared: bytes, connections: int, seconds: float) -> Result:
    """Load `address` (socket path or host:port) from a separate process. Raises RuntimeError on a wrong
    answer.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(prepared)
        file.flush()
        done = subprocess.run(
            [sys.executable, __file__, address, file.name, str(connections), str(seconds)],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"load generator ended with {done.returncode}")
    return Result(**json.loads(done.stdout))


def measure_url(
    url: str, headers: Mapping[str, str], body: bytes, connections: int, seconds: float
) -> Result:
    """Load a public address, such as a service behind the gateway with its key in `headers`."""
    parts = urlsplit(url)
    address = f"{parts.hostname}:{parts.port or 80}"
    return measure(address, request(parts.path or "/", body, headers, parts.netloc), connections, seconds)


class _Connection(asyncio.Protocol):
    def __init__(self, prepared: bytes, latencies: list[float], until: float, done: asyncio.Future) -> None:
        self._prepared = prepared
        self._latencies = latencies
        self._until = until
        self._done = done
        self._length = 0
        self._got = 0
        self._head = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._got = 0
        self._since = perf_counter()
        self._transport.write(self._prepared)

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if not self._length:
            self._first(data)
            if not self._length:
                return
        if self._got < self._length:
            return
        if self._got > self._length:
            self._fail("an answer had another length than the first")
            return
        now = perf_counter()
        self._latencies.append(now - self._since)
        if now < self._until:
            self._send()
        elif not self._done.done():
            self._done.set_result(None)

    def _first(self, data: bytes) -> None:
        self._head += data
        head, found, _ = self._head.partition(b"\r\n\r\n")
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(self._head[:500].decode("utf-8", "replace"))
            return
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                self._length = len(head) + 4 + int(line.split(b":")[1])

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection was closed: {error}")

    def _fail(self, reason: str) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(reason))


async def _load(address: str, prepared: bytes, connections: int, seconds: float) -> Result:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    started = perf_counter()
    waiting = []
    for _ in range(connections):
        done = loop.create_future()
        waiting.append(done)

        def factory(done: asyncio.Future = done) -> _Connection:
            return _Connection(prepared, latencies, started + seconds, done)

        if address.startswith("/"):
            await loop.create_unix_connection(factory, address)
        else:
            host, _, port = address.rpartition(":")
            await loop.create_connection(factory, host, int(port))
    await asyncio.gather(*waiting)
    spent = perf_counter() - started
    latencies.sort()
    count = len(latencies)
    return Result(
        count / spent, latencies[count // 2] * 1000, latencies[min(count - 1, count * 99 // 100)] * 1000
    )


def main() -> None:
    """Run one load and print the result as JSON."""
    address, file, connections, seconds = sys.argv[1:]
    with open(file, "rb") as handle:
        prepared = handle.read()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            result = runner.run(_load(address, prepared, int(connections), float(seconds)))
        except RuntimeError as error:
            sys.exit(str(error))
    print(json.dumps(result.__dict__))


if __name__ == "__main__":
    main()
