"""What the doors (sources, storage, environments, trial) share: how a caller stops them, and tidy removal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ShouldStop = Callable[[], bool]


class Stopped(Exception):
    """The caller's `should_stop` said so. What was finished stays; a later call goes on from there."""


def never() -> bool:
    """A `should_stop` that never stops."""
    return False


def remove_tree(path: Path) -> bool:
    """Remove the folder `path` with all it holds; True when there was one.

    It disappears under its name at once (a rename), so nobody sees half of it. Folders without write
    permission are no obstacle. Never follows links.
    """
    doomed = path.with_name(f".removed-{secrets.token_hex(6)}")
    try:
        path.rename(doomed)
    except FileNotFoundError:
        return False
    sweep_tree(doomed)
    return True


def sweep_tree(path: Path) -> None:
    """Remove `path` in place, opening closed folders on the way; silent when it is gone already."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return
    for folder, folders, _names in os.walk(path):
        for each in (folder, *(os.path.join(folder, name) for name in folders)):
            if not os.path.islink(each):
                with contextlib.suppress(FileNotFoundError):
                    os.chmod(each, 0o700)
    while path.exists():
        with contextlib.suppress(FileNotFoundError):  # another sweep is at it too
            shutil.rmtree(path)


@contextlib.contextmanager
def held(path: Path, should_stop: ShouldStop = never) -> Iterator[int]:
    """Hold the lock file `path` (made when absent, removed afterwards) against every other process.

    Yields its descriptor: a child that inherits it keeps the lock for as long as it lives. Raises Stopped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if _lock(fd, should_stop) and _is_still(fd, path):
                break
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    try:
        yield fd
    finally:
        # Unlinked while held: whoever waited on this file notices that it is no longer the one at `path`.
        path.unlink(missing_ok=True)
        os.close(fd)


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock on the existing file or folder `path`; None while another has it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _lock(fd: int, should_stop: ShouldStop) -> bool:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if should_stop():
                raise Stopped from None
            time.sleep(0.05)


def _is_still(fd: int, path: Path) -> bool:
    try:
        ours, there = os.fstat(fd), os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
