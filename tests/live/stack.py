"""A whole Slipway of its own for live tests: `manage.py up` in a temporary var, on free ports."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from console import processes
from console.supervisor import Process, Supervisor
from tests.waiting import until

READY = re.compile(r"Ready after [\d.]+ s")
START_SECONDS = 120.0  # on a busy machine; alone it is about three


def free_ports(count: int = 2) -> list[int]:
    """Different ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class LiveStack:
    """One `manage.py up`; `output` is what it printed so far."""

    def __init__(self, var: Path, **environment: str) -> None:
        self.var = var
        self.port, self.gateway_port = free_ports()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SLIPWAY_")},
            "DJANGO_SETTINGS_MODULE": "console.settings",
            "SLIPWAY_VAR": str(var),
            "SLIPWAY_PORT": str(self.port),
            "SLIPWAY_GATEWAY_PORT": str(self.gateway_port),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._log = var.parent / f"{var.name}-up.log"
        self.up: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start `up` and return at once."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with open(self._log, "wb") as log:
            self.up = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=settings.BASE_DIR,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.up

    def start(self) -> LiveStack:
        """Start `up` and wait until it says that it is ready."""
        started = self.launch()

        def ready() -> bool:
            assert started.poll() is None, f"up ended with {started.returncode}:\n{self.output}"
            return READY.search(self.output) is not None

        try:
            until(ready, START_SECONDS, "ready")
        except BaseException:
            self.end()
            raise
        return self

    def refused(self, seconds: float = 60.0) -> tuple[int, str]:
        """Start an `up` that is expected not to come up: its exit code and everything that it printed."""
        code = self.launch().wait(seconds)
        return code, self.output

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def run(self) -> Path:
        note = self.var / "run-folder"
        return Path(note.read_text().strip()) if note.exists() else self.var / "run"

    @property
    def mark(self) -> str:
        return processes.mark_of(self.var)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor.of(self.var, self.run)

    def program(self, name: str) -> Process:
        found = self.supervisor.process(name)
        assert found is not None, name
        return found

    def kill(self, name: str) -> None:
        """SIGKILL to a program once it has a process (a pid of 0 would mean everybody in our own group)."""
        os.kill(until(lambda: self.program(name).pid, 30.0, f"a process of {name}"), signal.SIGKILL)

    def living(self) -> dict[int, list[str]]:
        """Every process of this stack besides `up`, with its command line."""
        return {pid: processes.command_of(pid) for pid in processes.of_installation(self.var)}

    def get(self, path: str, port: int | None = None) -> int | None:
        """The status of a GET on the console (or another port); None when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """Signal `up` as a terminal or a service manager does; its exit code and the seconds that it took."""
        assert self.up is not None
        began = time.monotonic()
        self.up.send_signal(number)
        return self.up.wait(60), time.monotonic() - began

    def end(self) -> None:
        """Whatever happened: nothing of this stack is left."""
        if self.up is not None and self.up.poll() is None:
            self.up.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.up.wait(20)
            if self.up.poll() is None:
                self.up.kill()
                self.up.wait()
        processes.end_installation(self.var)


@contextlib.contextmanager
def live_stack(var: Path, **environment: str) -> Iterator[LiveStack]:
    """A ready stack for the length of the block."""
    stack = LiveStack(var, **environment)
    try:
        yield stack.start()
    finally:
        stack.end()
