"""Private files that another process watches: whole or not at all, readable by their owner alone."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def private_folder(path: Path) -> None:
    """Make the folder (and its parents) if absent; mode 0700 in any case."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path`, mode 0600, by renaming: a reader or watcher sees the old or the new, never a
    part.

    One writer per file at a time (the caller holds a lock). Not synced to disk: a lost machine is not a lost
    configuration, the console publishes again.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
    os.rename(temporary, path)


def read(path: Path) -> bytes:
    """The content, b"" if there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Hold an exclusive lock among threads and processes; raises TimeoutError. A killed holder lets go by
    itself.
    """
    deadline = time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} is held by somebody else") from None
                time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)
