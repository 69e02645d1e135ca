"""Which processes are ours: adopting orphans, and finding what an earlier run left behind (Linux, /proc).

Every process of an installation carries `SLIPWAY_STACK=<mark>` in its environment, the mark being the
identity of its var folder: a copy of it elsewhere is another installation, a moved one is still the same.
Some programs write over their environment (Redis does, for its title in `ps`). So each start is also on
record with its process id and start time, which together name one process since the machine was booted.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

MARK = "SLIPWAY_STACK"
SUPERVISORD = "supervisor.supervisord"  # the module that supervisord is started as
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


def of_installation(var: Path) -> list[int]:
    """The living processes of the installation in `var`; this process and its ancestors excepted."""
    if not var.is_dir():
        return []
    needle = f"{MARK}={mark_of(var)}".encode()
    recorded = dict(_recorded(var))
    family = _ancestors()
    return [
        pid
        for pid in _pids()
        if pid not in family
        and (_carries(pid, needle) or (pid in recorded and recorded[pid] == _started(pid)))
    ]


def end_installation(var: Path, patience: float = 5.0) -> int:
    """End every process of the installation in `var`; returns how many there were.

    supervisord by SIGKILL, because it would start the others again; those by SIGTERM, and by SIGKILL after
    `patience` seconds.
    """
    found = of_installation(var)
    keepers = [pid for pid in found if SUPERVISORD in command_of(pid)]
    _send(keepers, signal.SIGKILL)
    _send(set(found) - set(keepers), signal.SIGTERM)
    deadline = time.monotonic() + patience
    while left := of_installation(var):
        if time.monotonic() > deadline:
            _send(left, signal.SIGKILL)
            if time.monotonic() > deadline + patience:
                break
        time.sleep(0.05)
    return len(found)


def _carries(pid: int, needle: bytes) -> bool:
    folder = _PROC / str(pid)
    try:
        if folder.stat().st_uid != os.getuid():
            return False
        return needle in (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it ended meanwhile, or is not ours to read


def _recorded(var: Path) -> Iterator[tuple[int, int]]:
    """Process id and start time of the latest start of each program, as `start_program.py` noted them."""
    for pattern in ("supervisor/programs/*.starts", "instances/*/*.starts"):
        for path in var.glob(pattern):
            with contextlib.suppress(OSError, ValueError):
                _, pid, started = path.read_text(encoding="ascii").splitlines()[-1].split()
                yield int(pid), int(started)


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
    facts = _facts(pid)
    return int(facts[1]) if facts else 0


def _started(pid: int) -> int:
    """In clock ticks since the machine was booted; execve does not change it. 0 for one that has ended."""
    facts = _facts(pid)
    return int(facts[19]) if facts and facts[0] != "Z" else 0


def _facts(pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field (the state) on; empty when there is no such process."""
    try:
        # the command between the parentheses may itself hold spaces and parentheses
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _ancestors() -> set[int]:
    family, pid = set(), os.getpid()
    while pid and pid not in family:
        family.add(pid)
        pid = _parent(pid)
    return family


def _prctl(option: int, value: int) -> None:
    _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0)


_LIBC = ctypes.CDLL(None, use_errno=True)
