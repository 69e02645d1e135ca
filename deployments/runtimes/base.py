"""What every runtime promises: start, watch, ask and stop instances of a model server.

A runtime is level-triggered. Ids are chosen by the caller before `start`, every call may be repeated, and
`list` is the only truth about what exists. Nothing here knows Django.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

State = Literal["starting", "up", "crashed", "stopping", "gone"]
# starting  asked for, no process yet
# up        a process exists; whether it answers is the business of `probe`
# crashed   the process ended by itself; the runtime starts it again unless `gave_up`
# stopping  asked to end, still finishing its requests
# gone      ended after `stop`, or never got a process; `stop` removes what is left of it


class RuntimeUnreachable(Exception):
    """The engine behind the runtime does not answer now; the same call may succeed later."""


class RuntimeRefused(Exception):
    """The engine answered that it cannot do this; the message is its reason."""


@dataclass(frozen=True)
class InstanceSpec:
    """One instance, complete and immutable: the same id always means the same spec."""

    id: str
    service_id: str
    revision: int
    target: str
    version_id: str
    package_dir: Path  # the folder that holds `model/`
    environment_dir: Path
    engine: str
    envs: dict[str, str]
    memory_bytes: int
    cpu: float  # cores; sizes the thread pools of the numeric libraries
    model_name: str
    model_version: str
    limit_bytes: int  # of one request body
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """One instance as it is now."""

    id: str
    service_id: str
    state: State
    restarts: int  # how often its process was started again
    address: str  # path of the Unix socket it listens on
    detail: str  # why it crashed, in the engine's words; else empty
    since: float | None  # epoch seconds of the start of the present process, or of its end
    revision: int = 0
    target: str = ""
    gave_up: bool = False  # crashed, and the runtime does not start it again


@dataclass(frozen=True)
class ProbeResult:
    """Whether an instance would answer a prediction now, and if not, why."""

    ready: bool
    detail: str = ""


@dataclass(frozen=True)
class LogLine:
    """A line of an instance's output. `at` (UTC) is its own time stamp, or that of the line before it."""

    at: datetime | None
    text: str


class Runtime(Protocol):
    """The door to running things. Any call may raise RuntimeUnreachable."""

    def list(self, service_id: str | None = None) -> list[Observed]:
        """Every instance that exists, ordered by id; of one service when given."""

    def start(self, spec: InstanceSpec) -> None:
        """Make the instance exist and run. Does not wait until it is ready; harmless when repeated.

        Raises RuntimeRefused when the engine cannot take it.
        """

    def probe(self, id: str) -> ProbeResult:
        """Ask the instance for its health. Never raises for an instance that is missing, busy or broken."""

    def stop(self, id: str, grace_seconds: float) -> None:
        """Ask the instance to finish its requests and end; kill it `grace_seconds` after the first such call.

        Waits at most about a second, so an idle instance is usually removed when this returns. One that
        still drains is listed as `stopping`: call again until `list` no longer names it, the last call
        removes its folder and socket. Its log stays until `forget`. 0 kills at once. An unknown id is fine.
        """

    def logs(
        self, id: str, since: datetime | None = None, until: datetime | None = None, tail: int = 500
    ) -> list[LogLine]:
        """The last `tail` lines between two moments (both included), oldest first; [] for an unknown id."""

    def forget(self, service_id: str) -> None:
        """Remove the logs of a service's instances, when the service is deleted."""


def new_instance_id() -> str:
    """A fresh instance id, `i-` and twelve hexadecimal digits."""
    return f"i-{secrets.token_hex(6)}"
