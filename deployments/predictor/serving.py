"""The HTTP server around the application: socket, readiness, draining."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
import uvloop

from .application import Application
from .journal import say

# Longer than the hour after which Envoy drops an idle connection: if this side closed first, a call could
# be sent into the closing connection and be lost.
_KEEP_ALIVE_SECONDS = 2 * 3600


def unix_socket(path: Path) -> socket.socket:
    """Bind `path` with mode 0600. A socket left behind by a killed process is replaced; anything else there
    is not.

    Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # By the mask, not by chmod afterwards: no moment in which others could connect (and the sandbox refuses
    # chmod).
    mask = os.umask(0o177)
    try:
        bound.bind(str(path))
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    return bound


def tcp_socket(host: str, port: int) -> socket.socket:
    """Bind a TCP address. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


class _Server(uvicorn.Server):
    """uvicorn, with our words in the log and without dying of the signal that it handled."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again after a clean stop, and the process would end with -15 instead of 0.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        yield

    def _stop(self, number: int) -> None:
        if self.should_exit:
            return
        count = len(self.server_state.tasks)
        say(f"stopping on {signal.Signals(number).name}: finishing {count} call(s), taking no new ones")
        self.should_exit = True


def serve(
    application: Application, bound: socket.socket, grace_seconds: int, ready: Callable[[], None]
) -> None:
    """Serve on `bound` until SIGTERM or SIGINT, then finish what is in flight, for `grace_seconds` at
    most.
    """
    config = uvicorn.Config(
        application,
        http="httptools",
        loop="none",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
    )
    server = _Server(config, ready)

    async def run() -> None:
        application.start()
        await server.serve(sockets=[bound])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
