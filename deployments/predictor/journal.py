"""The log lines that a person reads in the Logs tab: one per stage, plus tracebacks of what went wrong.

Everything goes to standard error, one line with the UTC time first. There is no line per request: four of
them cost more than a tenth of the throughput, and the counters at ``/metrics`` say the same.
"""

from __future__ import annotations

import sys
import traceback
from datetime import UTC, datetime


def say(text: str) -> None:
    """Write one line: ``2026-11-20T09:00:00.123Z predictor: <text>``."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    # A value inside the text may hold line breaks (an exception's message): keep one stage on one line.
    sys.stderr.write(f"{now} predictor: {' '.join(text.splitlines())}\n")
    sys.stderr.flush()


def say_traceback(error: BaseException) -> None:
    """Write the traceback of `error`, without the predictor's own frames when model code is below them."""
    frames = error.__traceback__
    inner = frames
    while inner is not None and inner.tb_frame.f_globals.get("__name__", "").startswith(_OWN):
        inner = inner.tb_next
    lines = traceback.format_exception(type(error), error, inner or frames)
    sys.stderr.write("".join(lines))
    sys.stderr.flush()


_OWN = __name__.rpartition(".")[0] + "."
