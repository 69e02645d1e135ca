"""Landlock by ctypes: which files and TCP ports this process and all that follow may use.

Rights of the kernel interface, by the ABI that brought them: 1 files; 2 rename across folders; 3 truncate;
4 TCP bind and connect; 5 ioctl on devices; 6 signals and abstract Unix sockets. ABI 4 is required. What
Landlock cannot see (connecting to Unix sockets by path, chmod, signals before ABI 6) is refused by
`seccomp`.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

REQUIRED_ABI = 4
SCOPE_ABI = 6

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK, _MAKE_SYM = 1 << 6, 1 << 11, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ALL_ABI_1 = (1 << 13) - 1
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_TCP = 0b11
_SCOPES = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The kernel's Landlock ABI; 0 where there is none or it is switched off."""
    return max(0, _libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))


def restrict(read: Iterable[str], write: Iterable[str], devices: Iterable[str]) -> None:
    """Allow reading and executing beneath `read`, everything but device nodes and links beneath `write`, reading and
    writing `devices`, and nothing else; no TCP; signals and abstract sockets only among ourselves where the
    ABI knows them.

    `no_new_privs` must be set before. Raises OSError, with the path where one is the cause.
    """
    level = abi()
    handled = _ALL_ABI_1 | _REFER | _TRUNCATE | (_IOCTL_DEV if level >= 5 else 0)
    ruleset = _Ruleset(handled, _TCP, _SCOPES if level >= SCOPE_ABI else 0)
    # An older kernel refuses a structure with parts that it does not know, even when they are zero-sized in
    # effect.
    size = ctypes.sizeof(_Ruleset) if level >= SCOPE_ABI else 16
    handle = _check(_libc.syscall(_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        reading = _EXECUTE | _READ_FILE | _READ_DIR
        # No links: the gateway follows the path of an instance's socket, which lies in a folder of its own.
        writing = handled & ~(_MAKE_CHAR | _MAKE_BLOCK | _MAKE_SYM | _EXECUTE | _IOCTL_DEV)
        for paths, rights in ((read, reading), (write, writing), (devices, _READ_FILE | _WRITE_FILE)):
            for path in paths:
                _allow(handle, path, rights & handled)
        _check(_libc.syscall(_RESTRICT, ctypes.c_int(handle), ctypes.c_uint32(0)))
    finally:
        os.close(handle)


def _allow(handle: int, path: str, rights: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _ON_FILES
        rule = _PathBeneath(rights, parent)
        result = _libc.syscall(
            _ADD, ctypes.c_int(handle), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)
        )
        _check(result, path)
    finally:
        os.close(parent)


def _check(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
