"""Runs supervisord in the foreground and ends everything with it: the living part of `manage.py up`.

The keeper is the parent of supervisord and adopts every process below it whose own parent died. So a killed
worker's `uv`, a killed web server's workers or a killed supervisord's programs are ended at once and never
run beside their successors. When the keeper itself is killed, the kernel tells supervisord to stop; when both
are, the next start finds the leftovers by the mark in their environment.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from console import processes
from console import stack as stacks
from console.stack import Stack
from console.supervisor import SupervisorFault, SupervisorUnreachable

STEP_SECONDS = 0.2
READY_SECONDS = 60.0
DRAIN_SECONDS = 7.0
REDIS_SECONDS = 2.0
SUPERVISOR_SECONDS = 3.0
HURRY_SECONDS = 1.0  # a second Ctrl-C after that means: at once
_LAST_TO_STOP = "redis"  # what still works finishes against it


def end_leftovers(stack: Stack) -> int:
    """End what an earlier, killed run of this installation left behind; returns how many processes."""
    return processes.end_installation(stack.var)


class Keeper:
    """One run of the stack, from the start of supervisord to the end of the last process."""

    def __init__(self, stack: Stack, on_ready: Callable[[], None], on_late: Callable[[], None]) -> None:
        """`on_ready` is called once when the console answers; `on_late` once when it takes over a minute."""
        self._stack = stack
        self._on_ready = on_ready
        self._on_late = on_late
        self._asked: list[float] = []
        self._start_log = stack.var / "logs" / "supervisord.start.log"

    def run(self) -> int:
        """Returns the exit code: 0 when it was asked to stop, 1 when supervisord ended by itself."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)
        processes.adopt_orphans()
        supervisord = self._start()
        try:
            self._wake(supervisord)
            self._keep(supervisord)
        finally:
            ended_by_itself = supervisord.poll() is not None
            if ended_by_itself:
                self._end_all(supervisord, patience=5.0)
            else:
                self._stop(supervisord)
        return 1 if ended_by_itself else 0

    def _keep(self, supervisord: subprocess.Popen[bytes]) -> None:
        announced, late_at = False, time.monotonic() + READY_SECONDS
        while not self._asked and supervisord.poll() is None:
            self._end_orphans(supervisord)
            if not announced and (announced := self._answers()):
                self._on_ready()
            elif not announced and time.monotonic() > late_at:
                late_at = float("inf")
                self._on_late()
            time.sleep(STEP_SECONDS)

    def _wake(self, supervisord: subprocess.Popen[bytes]) -> None:
        """The first request makes supervisord start its programs; without one it sleeps a second before."""
        client = self._stack.supervisor(timeout=3.0)
        while not self._asked and supervisord.poll() is None:
            with contextlib.suppress(SupervisorUnreachable):
                client.pid()
                return
            time.sleep(0.02)

    def start_failure(self) -> str:
        """The last words of supervisord when it did not come up."""
        with contextlib.suppress(OSError):
            return self._start_log.read_text(errors="replace").strip().rpartition("\n")[2]
        return ""

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._start_log, "wb") as output:
            return subprocess.Popen(
                stacks.supervisord_argv(),
                cwd=self._stack.var,
                env=stacks.supervisord_environment(self._stack),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal reaches the keeper alone
                preexec_fn=processes.end_with_parent(),
            )

    def _ask(self, number: int, frame: Any) -> None:
        self._asked.append(time.monotonic())

    def _hurried(self) -> bool:
        return self._asked[-1] - self._asked[0] > HURRY_SECONDS

    def _answers(self) -> bool:
        address = urlsplit(self._stack.url(self._stack.port))
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _end_orphans(self, supervisord: subprocess.Popen[bytes]) -> bool:
        """End the adopted processes; whether there were any."""
        orphans = [pid for pid in processes.children() if pid != supervisord.pid]
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return bool(orphans)

    def _stop(self, supervisord: subprocess.Popen[bytes]) -> None:
        """Everything at the same time, Redis and supervisord last; within 15 seconds."""
        try:
            self._stop_programs(supervisord)
            self._stack.supervisor(timeout=3.0).shut_down()
        except (SupervisorUnreachable, SupervisorFault):
            supervisord.terminate()
        deadline = time.monotonic() + SUPERVISOR_SECONDS
        while supervisord.poll() is None and time.monotonic() < deadline and not self._hurried():
            time.sleep(0.02)
        if supervisord.poll() is None:
            supervisord.kill()
            supervisord.wait()
        self._end_all(supervisord, patience=1.0)

    def _end_all(self, supervisord: subprocess.Popen[bytes], patience: float) -> None:
        """Whatever is still there after supervisord: what is known to be ours, then what we adopted."""
        processes.end_installation(self._stack.var, patience)
        deadline = time.monotonic() + 1.0
        while self._end_orphans(supervisord) and time.monotonic() < deadline:
            time.sleep(0.02)

    def _stop_programs(self, supervisord: subprocess.Popen[bytes]) -> None:
        # By hand, because supervisord by itself stops one program after the other, a second for each.
        client = self._stack.supervisor(timeout=3.0)
        rounds = ((lambda name: name != _LAST_TO_STOP, DRAIN_SECONDS), (lambda name: True, REDIS_SECONDS))
        for chosen, patience in rounds:
            deadline = time.monotonic() + patience
            for process in client.processes():
                if chosen(process.name) and not process.has_ended:
                    client.stop(process.name)
            while running := [p for p in client.processes() if chosen(p.name) and not p.has_ended]:
                self._end_orphans(supervisord)
                if time.monotonic() > deadline or self._hurried():
                    for process in running:
                        client.kill(process.name)
                    break
                time.sleep(0.05)
