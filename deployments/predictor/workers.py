"""Threads that run the model, away from the event loop.

Not `concurrent.futures`: its locks and call-backs cost a multiple of a tiny model's own time. Here a job is
one put on a `SimpleQueue`, and finished jobs come back in batches, with one wake-up of the loop for all of
them.

The queue is bounded: beyond `queue_limit` waiting calls the next is refused with 429, so that latency stays
bounded and memory flat. A call that waited longer than `patience` seconds is not run any more, because the
gateway has told its caller already that it took too long.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic
from typing import Any

from .errors import TOO_MANY, UNAVAILABLE, CallError


class Workers:
    """`count` daemon threads; `run` awaits one job on them. To be made inside the running event loop."""

    def __init__(self, count: int, queue_limit: int, patience: float) -> None:
        self.count = count
        self.pending = 0
        self._limit = queue_limit + count
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue = SimpleQueue()
        self._done: deque = deque()
        self._waking = False
        for number in range(count):
            # Daemons, so that a model that never returns cannot keep a stopped process alive.
            threading.Thread(target=self._work, name=f"model-{number}", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Calls in the queue that no thread has taken yet (a moment's figure)."""
        return max(0, self.pending - self.count)

    def submit(self, job: Callable[..., Any], *arguments: Any) -> asyncio.Future:
        """Start ``job(*arguments)`` on a worker thread; the future gives its result.

        Raises `CallError` 429 at once when the queue is full; the future raises `CallError` 503 when the job
        had to wait too long, or what the job raised.
        """
        if self.pending >= self._limit:
            raise CallError(
                429,
                TOO_MANY,
                f"{self.pending} calls are in progress or waiting in this instance, which is its limit. "
                "Send fewer calls at a time, or run more instances.",
            )
        self.pending += 1
        future = self._loop.create_future()
        self._queue.put((future, job, arguments, monotonic()))
        return future

    def _work(self) -> None:
        take, done = self._queue.get, self._done
        while True:
            future, job, arguments, since = take()
            failed = False
            try:
                if monotonic() - since > self._patience:
                    raise CallError(
                        503,
                        UNAVAILABLE,
                        f"The call waited for more than {self._patience:.0f} s behind other calls "
                        "and was not run. Try again, or run more instances.",
                    )
                result = job(*arguments)
            except BaseException as error:  # noqa: BLE001 - a thread that dies would silence the whole server
                failed, result = True, error
            done.append((future, failed, result))
            # Drop the references now: this thread may sleep long, holding a large request and its answer.
            del future, job, arguments, result
            # Read without a lock on purpose: a stale False costs one needless wake-up, and a stale True
            # cannot lose the job, because `_deliver` clears the flag before it empties the deque.
            if not self._waking:
                self._waking = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return  # the loop is closed: the process is on its way out

    def _deliver(self) -> None:
        self._waking = False
        done = self._done
        while done:
            future, failed, result = done.popleft()
            self.pending -= 1
            if future.done():
                continue  # the caller went away, or the server gave up waiting
            if failed:
                future.set_exception(result if isinstance(result, Exception) else RuntimeError(repr(result)))
            else:
                future.set_result(result)
