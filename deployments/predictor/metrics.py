"""Counters of this process in Prometheus' text format. No library: a few integers touched on the event loop
only.
"""

from __future__ import annotations

import resource
import sys
import time
from bisect import bisect_left
from collections import defaultdict

TEXT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Figures of prediction calls (the declared API and Open Inference ``infer``), not of probes."""

    def __init__(self, name: str, version: str, engine: str, load_seconds: float = 0.0) -> None:
        self.in_flight = 0
        self.load_seconds = load_seconds
        self._labels = f'model="{_escape(name)}",version="{_escape(version)}",engine="{_escape(engine)}"'
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0
        self._model_failures = 0
        self._started = time.time()

    def finished(self, api: str, status: int, seconds: float) -> None:
        """Count one call of `api` (``declared`` or ``open-inference``) that was answered with `status`."""
        self._requests[api, status] += 1
        self._buckets[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds
        if status == 500:
            self._model_failures += 1

    def render(self, waiting: int) -> bytes:
        """The page at ``/metrics``; `waiting` is the present length of the queue."""
        lines: list[str] = []
        put = lines.append
        _head(put, "slipway_predictor_model_info", "gauge", "The model that this process serves.")
        put(f"slipway_predictor_model_info{{{self._labels}}} 1")
        _head(
            put,
            "slipway_predictor_requests_total",
            "counter",
            "Prediction calls answered, by API and status.",
        )
        for (api, status), count in sorted(self._requests.items()):
            put(f'slipway_predictor_requests_total{{api="{api}",code="{status}"}} {count}')
        _head(
            put,
            "slipway_predictor_model_failures_total",
            "counter",
            "Calls in which the model failed (MR.0105).",
        )
        put(f"slipway_predictor_model_failures_total {self._model_failures}")
        name = "slipway_predictor_request_seconds"
        _head(put, name, "histogram", "Time from the request's head to the end of its answer.")
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._buckets, strict=True):
            total += count
            put(f'{name}_bucket{{le="{bound}"}} {total}')
        put(f"{name}_sum {self._seconds:.6f}")
        put(f"{name}_count {total}")
        for key, kind, text, value in (
            (
                "slipway_predictor_requests_in_flight",
                "gauge",
                "Prediction calls not answered yet.",
                self.in_flight,
            ),
            ("slipway_predictor_queue_length", "gauge", "Calls that wait for a worker thread.", waiting),
            (
                "slipway_predictor_load_seconds",
                "gauge",
                "Time that loading the model took.",
                self.load_seconds,
            ),
            ("process_start_time_seconds", "gauge", "Start of the process, Unix time.", self._started),
            ("process_cpu_seconds_total", "counter", "Processor time used.", time.process_time()),
            ("process_resident_memory_bytes", "gauge", "Memory in use.", resident_bytes()),
        ):
            _head(put, key, kind, text)
            put(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}")
        return ("\n".join(lines) + "\n").encode()


def resident_bytes() -> int:
    """Resident memory of this process; its peak where the system has no ``/proc``."""
    try:
        with open("/proc/self/statm", "rb") as handle:
            return int(handle.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _head(put, name: str, kind: str, text: str) -> None:
    put(f"# HELP {name} {text}")
    put(f"# TYPE {name} {kind}")


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
