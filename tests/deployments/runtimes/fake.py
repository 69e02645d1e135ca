"""A Runtime in memory, for tests of what stands above it. The contract suite keeps it honest.

What an instance does is said by the environment variable BEHAVIOUR in its spec: `ready` (default), `unready`
(listens, is not healthy), `crash` (ends while it loads), `slow` (drains until `release`), `deaf` (ignores the
request to end). `kill`, `release` and `break_down` are what the world does to it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deployments.runtimes.base import (
    InstanceSpec,
    LogLine,
    Observed,
    ProbeResult,
    RuntimeRefused,
    RuntimeUnreachable,
    State,
)


@dataclass
class _Instance:
    spec: InstanceSpec
    state: State = "up"
    restarts: int = 0
    detail: str = ""
    gave_up: bool = False
    since: float = field(default_factory=time.time)
    kill_at: float | None = None
    released: bool = False

    @property
    def behaviour(self) -> str:
        return self.spec.envs.get("BEHAVIOUR", "ready")


class FakeRuntime:
    def __init__(self) -> None:
        self.instances: dict[str, _Instance] = {}
        self.lines: dict[tuple[str, str], list[LogLine]] = {}
        self.calls: list[tuple[str, str]] = []
        self.refuse: str | None = None
        self._broken = False

    # --- the contract ---

    def list(self, service_id: str | None = None) -> list[Observed]:
        self._reach()
        for instance in self.instances.values():
            self._advance(instance)
        return [
            _observed(instance)
            for _, instance in sorted(self.instances.items())
            if service_id in (None, instance.spec.service_id)
        ]

    def start(self, spec: InstanceSpec) -> None:
        self._reach()
        self.calls.append(("start", spec.id))
        if self.refuse:
            raise RuntimeRefused(self.refuse)
        known = self.instances.get(spec.id)
        if known and known.state not in ("gone", "crashed"):
            return
        restarts = known.restarts + 1 if known else 0
        instance = self.instances[spec.id] = _Instance(spec, restarts=restarts)
        self._log(instance, "starting")
        if instance.behaviour == "crash":
            self._log(instance, "cannot load")
            instance.state, instance.detail, instance.gave_up = "crashed", "exit status 3", True
            instance.restarts += 1

    def probe(self, id: str) -> ProbeResult:
        if self._broken or id not in self.instances:
            return ProbeResult(False, "not listening yet")
        instance = self.instances[id]
        self._advance(instance)
        if instance.state != "up":
            return ProbeResult(False, instance.detail or instance.state)
        return ProbeResult(False, "503 loading") if instance.behaviour == "unready" else ProbeResult(True)

    def stop(self, id: str, grace_seconds: float) -> None:
        self._reach()
        self.calls.append(("stop", id))
        instance = self.instances.get(id)
        if instance is None:
            return
        kill_at = time.time() + grace_seconds
        instance.kill_at = min(kill_at, instance.kill_at or kill_at)
        if instance.state == "up":
            instance.state = "stopping"
        self._advance(instance)
        if instance.state in ("gone", "crashed"):
            del self.instances[id]

    def logs(
        self, id: str, since: datetime | None = None, until: datetime | None = None, tail: int = 500
    ) -> list[LogLine]:
        lines = [line for (_, owner), lines in self.lines.items() if owner == id for line in lines]
        kept = [line for line in lines if not (since and line.at < since) and not (until and line.at > until)]
        return kept[-tail:] if tail > 0 else []

    def forget(self, service_id: str) -> None:
        self.lines = {key: lines for key, lines in self.lines.items() if key[0] != service_id}

    # --- the world ---

    def kill(self, id: str) -> None:
        """The process dies; the runtime starts it again."""
        instance = self.instances[id]
        instance.restarts += 1
        instance.since = time.time()
        self._log(instance, "starting again")

    def crash(self, id: str, detail: str = "exit status 1", gave_up: bool = True) -> None:
        """The process dies and stays dead."""
        instance = self.instances[id]
        instance.state, instance.detail, instance.gave_up = "crashed", detail, gave_up

    def release(self, id: str) -> None:
        """The last request of a draining `slow` instance is done."""
        self.instances[id].released = True

    def break_down(self, broken: bool = True) -> None:
        """The engine behind the runtime stops answering (or answers again)."""
        self._broken = broken

    def lose_everything(self) -> None:
        """The whole stack was restarted: no instance is left."""
        self.instances.clear()

    def _reach(self) -> None:
        if self._broken:
            raise RuntimeUnreachable("broken by the test")

    def _advance(self, instance: _Instance) -> None:
        if instance.state != "stopping":
            return
        drained = instance.behaviour not in ("slow", "deaf") or instance.released
        if drained or (instance.kill_at is not None and time.time() >= instance.kill_at):
            instance.state = "gone"

    def _log(self, instance: _Instance, text: str) -> None:
        key = (instance.spec.service_id, instance.spec.id)
        self.lines.setdefault(key, []).append(LogLine(datetime.now(UTC), text))


def _observed(instance: _Instance) -> Observed:
    return Observed(
        id=instance.spec.id,
        service_id=instance.spec.service_id,
        state=instance.state,
        restarts=instance.restarts,
        address=f"/run/fake/{instance.spec.id}/s.sock",
        detail=instance.detail,
        since=instance.since,
        revision=instance.spec.revision,
        target=instance.spec.target,
        gave_up=instance.gave_up,
    )
