"""Waiting for something to become true, with a deadline: never a sleep for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 15.0, what: str = "") -> T:
    """The first true value of `condition`; AssertionError with its last value when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what or 'condition'} not met in {seconds} s; last: {value!r}"
        time.sleep(0.02)
