"""The process of a trial run: started in a session of its own, remembered on disk, ended with all it started.

What is remembered lets another worker, after a crash, find what is still running and end exactly that: a
process counts as ours by its session, its command line or its home folder, never by a bare number.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NOTE = "process.json"
LINE_BYTES = 4_000
KEPT_LINES = 200
WAITING_LINES = 1_000
KILL_SECONDS = 5.0


class TrialProcess:
    """A running server whose output is collected beside it."""

    def __init__(self, argv: Sequence[str], home: Path, scratch: Path) -> None:
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._home = home
        self._waiting: queue.Queue[str] = queue.Queue(WAITING_LINES)
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            cwd=scratch,
            start_new_session=True,
        )
        remember(home, self._process.pid)
        self._reader = threading.Thread(target=self._read, name="trial-output", daemon=True)
        self._reader.start()

    def returncode(self) -> int | None:
        """The exit status (negative: a signal), or None while it runs."""
        return self._process.poll()

    def lines(self) -> list[str]:
        """Lines that came since the last call; a flood is cut."""
        found: list[str] = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._waiting.get_nowait())
        return found

    def finish_reading(self) -> None:
        """Wait a moment for what a process wrote before it ended."""
        self._reader.join(1.0)

    def end(self, grace_seconds: float) -> None:
        """Ask it to stop, then kill it with everything that it started."""
        if self._process.poll() is None and grace_seconds > 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_seconds)
        kill_all(self._home)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(1.0)
        if self._process.stdout and not self._reader.is_alive():
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while raw := self._process.stdout.readline(LINE_BYTES):
            line = "".join(c for c in raw.decode("utf-8", "replace") if c.isprintable() or c == "\t").rstrip()
            if line:
                self.last_lines.append(line)
                with contextlib.suppress(queue.Full):
                    self._waiting.put_nowait(line)


@dataclass(frozen=True)
class _Seen:
    pid: int
    session: int
    started: int


def remember(home: Path, pid: int) -> None:
    """Note on disk which session belongs to the trial in `home`."""
    seen = _look(pid)
    facts = {"session": pid, "started": seen.started if seen else 0, "boot": _boot()}
    (home / NOTE).write_text(json.dumps(facts), encoding="ascii")


def kill_all(home: Path) -> int:
    """Kill every process of the trial in `home` and wait until they are gone; how many there were."""
    killed: set[int] = set()
    deadline = time.monotonic() + KILL_SECONDS
    while found := _processes_of(home):
        for pid in found:
            killed.add(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return len(killed)


def _processes_of(home: Path) -> list[int]:
    session = _session(home)
    needle = os.fsencode(f"{home}/")
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        seen = _look(int(name))
        if seen and (seen.session == session or _names(seen.pid, needle)):
            found.append(seen.pid)
    return found


def _session(home: Path) -> int | None:
    """The remembered session, if its number cannot belong to anybody else by now."""
    try:
        facts = json.loads((home / NOTE).read_text(encoding="ascii"))
        session, started = int(facts["session"]), int(facts["started"])
    except (OSError, ValueError, KeyError):
        return None
    if facts.get("boot") != _boot():
        return None
    leader = _look(session)
    # While a session has members its number is not given again. A leader that began at another time is a
    # stranger, and so is everybody in its session.
    return session if leader is None or leader.started == started else None


def _names(pid: int, needle: bytes) -> bool:
    """Whether the process was started with a path of this trial, as an argument or as its home folder."""
    with contextlib.suppress(OSError):
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():
            return False
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if any(argument.startswith(needle) for argument in arguments):
            return True
        return b"\0HOME=" + needle in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    return False


def _look(pid: int) -> _Seen | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    if fields[0] in "ZX":
        return None  # dead already; only its parent has not noticed
    return _Seen(pid, int(fields[3]), int(fields[19]))


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
