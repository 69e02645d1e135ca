"""Which processes are ours: adopting orphans, and finding what an earlier run left behind (Linux, /proc).

Every process of an installation carries `SLIPWAY_STACK=<mark>` in its environment, the mark being the
identity of its var folder: a copy of it elsewhere is another installation, a moved one is still the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

MARK = "SLIPWAY_STACK"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PROC = Path("/proc")


def mark_of(var: Path) -> str:
    """The mark of the installation whose state is in `var` (which must exist)."""
    facts = var.stat()
    return f"{facts.st_dev:x}-{facts.st_ino:x}"


def adopt_orphans() -> None:
    """From now on a process below this one whose parent died becomes a child of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> Callable[[], None]:
    """What a child calls between fork and exec so that it gets SIGTERM when its parent dies."""
    prctl = _prctl  # resolved before the fork
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def children() -> list[int]:
    """The processes whose parent this process is, zombies included."""
    me = os.getpid()
    try:
        tasks = (_PROC / str(me) / "task").iterdir()
        return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    except OSError:  # a kernel built without /proc/<pid>/task/<tid>/children
        return [pid for pid in _pids() if _parent(pid) == me]


def reap() -> None:
    """Collect the end of adopted children; the parent's own child must be waited for by its id before."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def marked(mark: str) -> list[int]:
    """The living processes of this user that carry the mark; this process and its ancestors excepted."""
    needle = f"{MARK}={mark}".encode()
    family = _ancestors()
    found = []
    for pid in _pids():
        if pid in family:
            continue
        try:
            folder = _PROC / str(pid)
            if folder.stat().st_uid != os.getuid():
                continue
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                found.append(pid)
        except OSError:
            continue  # it ended meanwhile, or is not ours to read
    return found


def end_marked(mark: str, first: Iterable[int] = (), patience: float = 5.0) -> int:
    """End every marked process: `first` at once by SIGKILL (they would start the others again), the others by
    SIGTERM, and by SIGKILL after `patience` seconds. Returns how many there were."""
    _send(first, signal.SIGKILL)
    before = set(marked(mark))
    _send(before, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while left := marked(mark):
        if time.monotonic() > deadline:
            _send(left, signal.SIGKILL)
            if time.monotonic() > deadline + patience:
                break
        time.sleep(0.05)
        reap()
    return len(before)


def command_of(pid: int) -> list[str]:
    """The command line of a process; empty when it has ended."""
    try:
        return [os.fsdecode(part) for part in (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")[:-1]]
    except OSError:
        return []


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _pids() -> list[int]:
    try:
        return [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()]
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        # the command between the parentheses may itself hold spaces and parentheses
        return int((_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _ancestors() -> set[int]:
    family, pid = set(), os.getpid()
    while pid and pid not in family:
        family.add(pid)
        pid = _parent(pid)
    return family


def _prctl(option: int, value: int) -> None:
    _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0)


_LIBC = ctypes.CDLL(None, use_errno=True)
