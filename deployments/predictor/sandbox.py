"""Start a process that foreign code may take over: ``python -I sandbox.py SPEC.json``. Standard library only.

SPEC.json::

    {"argv": [program, argument, …],          an absolute path first; run by execve, no shell
     "env": {name: value},                    the whole environment, nothing is added
     "read": [path, …],                       files and folders to read and execute (see `system_paths`)
     "write": [folder, …],                    scratch: everything but device nodes and executing
     "limits": {"memory_bytes": n, "file_bytes": n, "open_files": n, "tasks": n}}    each optional

After this, whatever runs can read what is listed, write to scratch, accept calls on Unix sockets that it
binds in scratch, and nothing else: no other file, no connection to anything, no other process. It stays so
through execve and for every thread. In order: limits, `no_new_privs`, no capabilities, Landlock, seccomp,
execve.

What remains visible: that a file exists, its size and its times (Landlock does not restrict ``stat``).
Processor time is shared fairly, not capped; a container or pod does that.

Memory: RLIMIT_DATA, which counts private writable memory (heap, thread stacks, arrays), is set to
`memory_bytes`. RLIMIT_AS would count reservations and mapped libraries too, several GB for a small model;
it is set to twice the memory plus 4 GiB, to bound shared memory, which RLIMIT_DATA leaves out.

Exit code 78 and one line on standard error when the kernel cannot do this or the spec is wrong; 127 when
the program cannot be started.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

if not __package__:  # run by path: load the neighbours as a package, without putting this folder on sys.path
    import importlib.util

    _here = Path(__file__).resolve().parent
    _spec = importlib.util.spec_from_file_location(
        "slipway_predictor", _here / "__init__.py", submodule_search_locations=[str(_here)]
    )
    sys.modules["slipway_predictor"] = importlib.util.module_from_spec(_spec)
    from slipway_predictor import landlock, seccomp
else:
    from . import landlock, seccomp

EXIT_REFUSED = 78
EXIT_NOT_STARTED = 127

_GIB = 1024**3
_SYSTEM = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld-musl-x86_64.path",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
    # How many processors and how much memory there are, for the thread pools of numeric libraries.
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/filesystems",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/osrelease",
    "/sys/bus/pci/devices",  # ONNX Runtime looks for graphics cards and warns when it may not
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/kernel/mm/transparent_hugepage",
    "/sys/fs/cgroup/cpu.max",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_DEVICES = ("/dev/null",)
_KEPT_CAPABILITY = (
    2  # CAP_DAC_READ_SEARCH: root may read a checkout in somebody's private home, as it could before
)


class Refused(Exception):
    """The sandbox cannot be built; the message says why and what to do."""


@dataclass(frozen=True)
class Spec:
    """What to run and what it may touch; see the module's text."""

    argv: list[str]
    env: dict[str, str]
    read: list[str]
    write: list[str]
    limits: dict[str, int] = field(default_factory=dict)


def system_paths() -> list[str]:
    """The existing system files that Python and numeric libraries read: for a spec's ``read``.

    ``/proc/self`` is not among them: it names the process that opens it, so `confine` adds it by itself.
    """
    return [path for path in _SYSTEM if os.path.exists(path)]


def interpreter_paths(python: str | os.PathLike[str]) -> list[str]:
    """What the interpreter `python` needs to start: for a spec's ``read``.

    A virtual environment's ``bin/python`` is a link to an installation elsewhere: that installation's
    prefix, or, when it is the system's own under /usr, only the program and its standard library.
    """
    program = Path(python).resolve()
    prefix = program.parent.parent
    if str(prefix) not in ("/", "/usr", "/usr/local"):
        return [str(prefix)]
    found = [program]
    for folder in ("lib", "lib64"):
        found += (prefix / folder).glob("python3*")
        found += (prefix / folder).glob("libpython3*")
    return [str(path) for path in found if path.exists()]


def unsupported() -> str | None:
    """Why this machine cannot run the sandbox, in one sentence; None when it can."""
    if sys.platform != "linux":
        return f"Models run in a sandbox that only Linux has; this is {sys.platform}."
    if not seccomp.supported():
        return f"The sandbox knows x86_64 and aarch64; this machine is {os.uname().machine}."
    level = landlock.abi()
    if level < landlock.REQUIRED_ABI:
        release = os.uname().release
        return (
            f"The kernel ({release}) offers Landlock ABI {level}; {landlock.REQUIRED_ABI} is needed: use "
            "Linux 6.7 or newer, with landlock in the list of security modules (boot parameter lsm=)."
        )
    return None


def read_spec(path: str) -> Spec:
    """Read and check a spec file. Raises `Refused`."""
    try:
        content: Any = json.loads(Path(path).read_text("utf-8"))
        spec = Spec(**content)
    except (OSError, ValueError, TypeError) as error:
        raise Refused(f"The sandbox's spec cannot be read: {error}.") from error
    texts = [*spec.argv, *spec.env, *spec.env.values(), *spec.read, *spec.write]
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise Refused("argv, env, read and write in the sandbox's spec must hold strings.")
    if not spec.argv or not os.path.isabs(spec.argv[0]):
        raise Refused("argv in the sandbox's spec must begin with an absolute path.")
    if not all(type(value) is int and value > 0 for value in spec.limits.values()):
        raise Refused("limits in the sandbox's spec must be whole numbers above 0.")
    return spec


def confine(spec: Spec) -> None:
    """Give up everything but what `spec` lists, for this process and for good. Raises `Refused`."""
    reason = unsupported()
    if reason:
        raise Refused(reason)
    _prefer_to_be_killed()
    _close_inherited()
    _limit(spec.limits)
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
        raise Refused("The kernel does not let this process give up privileges (no_new_privs).")
    for capability in range(64):
        if capability != _KEPT_CAPABILITY:
            libc.prctl(
                24, capability, 0, 0, 0
            )  # PR_CAPBSET_DROP; without privileges there is nothing to drop
    own = str(Path(__file__).resolve().parent)
    try:
        landlock.restrict([*spec.read, own, "/proc/self"], spec.write, _existing(_DEVICES))
        seccomp.install(scoped_signals=landlock.abi() >= landlock.SCOPE_ABI)
    except OSError as error:
        raise Refused(f"The sandbox cannot be built: {error}.") from error


def main(arguments: list[str]) -> NoReturn:
    """Confine this process, then become the program of the spec."""
    if len(arguments) != 1:
        _leave(EXIT_REFUSED, "usage: python -I sandbox.py SPEC.json")
    try:
        spec = read_spec(arguments[0])
        confine(spec)
    except Refused as refused:
        _leave(EXIT_REFUSED, str(refused))
    try:
        os.execve(spec.argv[0], spec.argv, spec.env)  # noqa: S606 - without a shell is the point
    except (OSError, ValueError) as error:
        _leave(EXIT_NOT_STARTED, f"{spec.argv[0]} cannot be started: {error}.")


def _leave(code: int, text: str) -> NoReturn:
    sys.stderr.write(f"sandbox: {text}\n")
    sys.stderr.flush()
    os._exit(code)


def _limit(limits: dict[str, int]) -> None:
    memory = limits.get("memory_bytes")
    wanted = {
        resource.RLIMIT_CORE: 0,  # a core file would hold the secrets of the environment
        resource.RLIMIT_NOFILE: limits.get("open_files", 1024),
        resource.RLIMIT_NPROC: limits.get("tasks", 4096),  # counted over the user; bounds a flood of threads
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if memory:
        wanted[resource.RLIMIT_DATA] = memory
        wanted[resource.RLIMIT_AS] = 2 * memory + 4 * _GIB
    if "file_bytes" in limits:
        wanted[resource.RLIMIT_FSIZE] = limits["file_bytes"]
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _close_inherited() -> None:
    """Standard input becomes empty, and every descriptor but the two outputs is closed: each is a way
    around rules.
    """
    empty = os.open("/dev/null", os.O_RDONLY)
    os.dup2(empty, 0)
    os.closerange(3, max(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4096))


def _prefer_to_be_killed() -> None:
    """When memory runs out, the kernel shall take a model and not the console's database or queue."""
    try:
        Path("/proc/self/oom_score_adj").write_text("500")
    except OSError:
        pass


def _existing(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if os.path.exists(path)]


if __name__ == "__main__":
    main(sys.argv[1:])
