"""The doors to running things. `get()` is the runtime of this installation."""

from __future__ import annotations

from functools import cache

from deployments.runtimes.base import Runtime


@cache
def get() -> Runtime:
    """The runtime of the process pool, on the embedded stack's supervisord."""
    from deployments.runtimes.process import ProcessRuntime

    return ProcessRuntime.from_settings()
