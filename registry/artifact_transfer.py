"""Bytes on their way into the artifacts: counted, bounded, stopped, and hashed beside the writing."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from console.problems import ProblemError
from registry.doors import ShouldStop, Stopped, never

PROGRESS_SECONDS = 0.2
DISK_CHECK_BYTES = 64 << 20
CHUNKS_IN_FLIGHT = 8  # bounds the memory of a copy: this many chunks wait for the hash at most


class Source(Protocol):
    """What is to be taken (a `registry.sources.base.Entry`)."""

    @property
    def size(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...


OpenStream = Callable[[Source, int], Iterator[bytes]]


@dataclass(frozen=True)
class StoredFile:
    """One stored file: path below the version's prefix, bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class Hasher:
    """SHA-256 in a thread of its own, so that hashing and writing share the time (hashlib frees the GIL)."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._waiting: queue.Queue[bytes | None] = queue.Queue(CHUNKS_IN_FLIGHT)
        self._thread = threading.Thread(target=self._work, name="hasher", daemon=True)
        self._thread.start()

    def update(self, chunk: bytes) -> None:
        """Take `chunk`, which must not change afterwards; waits while too many are waiting."""
        self._waiting.put(chunk)

    def finish(self) -> str:
        """The digest in hex, once everything is hashed."""
        self._waiting.put(None)
        self._thread.join()
        return self._hash.hexdigest()

    def _work(self) -> None:
        while (chunk := self._waiting.get()) is not None:
            self._hash.update(chunk)


class Transfer:
    """The watch over one copy: reports progress, asks whether to stop, and keeps within `budget` bytes."""

    def __init__(
        self,
        *,
        on_progress: Callable[[int], None] = lambda delta: None,
        should_stop: ShouldStop = never,
        budget: int | None = None,
        free_bytes: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._budget = budget
        self._free_bytes = free_bytes
        self._taken = self._unreported = self._unchecked = 0
        self._reported_at = time.monotonic()

    def is_stopped(self) -> bool:
        """Whether the caller wants this to end."""
        return self._should_stop()

    def pause(self) -> None:
        """Report what is not reported yet and stop here if asked to."""
        if self._unreported:
            self._on_progress(self._unreported)
            self._unreported = 0
        self._reported_at = time.monotonic()
        if self._should_stop():
            raise Stopped

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """`chunks`, counted as they are asked for. Raises Stopped, `registry.storage.full`, too_large."""
        for chunk in chunks:
            self._taken += len(chunk)
            if self._budget is not None and self._taken > self._budget:
                # A source that gives more than it listed: the sum was what we had room for.
                raise ProblemError("registry.source.too_large", path="", size=self._taken, limit=self._budget)
            yield chunk
            self._unreported += len(chunk)
            self._unchecked += len(chunk)
            if self._unchecked >= DISK_CHECK_BYTES:
                self._unchecked = 0
                free = self._free_bytes()
                if free is not None and free < 0:
                    raise ProblemError("registry.storage.full", needed=-free, free=0)
            if time.monotonic() - self._reported_at >= PROGRESS_SECONDS:
                self.pause()
        self.pause_report()

    def pause_report(self) -> None:
        """Report what is not reported yet, without asking whether to stop."""
        if self._unreported:
            delta, self._unreported = self._unreported, 0
            self._on_progress(delta)

    def digest(self, chunks: Iterable[bytes]) -> str:
        """SHA-256 of `chunks` in hex, watched."""
        found = hashlib.sha256()
        for chunk in self.watched(chunks):
            found.update(chunk)
        return found.hexdigest()
