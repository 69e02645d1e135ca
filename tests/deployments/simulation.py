"""A world for `reconcile.plan`: it carries actions out as the converge loop does, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count

from deployments import reconcile as r

_STATUS_AFTER = {
    ("deploying", "ready"): "running",
    ("concerning", "ready"): "running",
    ("running", "lost"): "concerning",
    ("deploying", "gave_up"): "failed",
    ("concerning", "gave_up"): "failed",
    ("deploying", "roll_back"): "deploying",
    ("stopping", "gone"): "stopped",
    ("deleting", "purge"): "purged",
}


@dataclass
class World:
    """One service, its instances, the gateway. `broken` keys crash when they start; `mute` never answer."""

    desired: r.Desired
    members: dict[str, r.Member] = field(default_factory=dict)
    published: r.Routes | None = None
    named: frozenset[str] = frozenset()
    failures: list[float] = field(default_factory=list)
    broken: frozenset[str] = frozenset()
    mute: frozenset[str] = frozenset()
    now: float = 1000.0
    stopped: list[str] = field(default_factory=list)
    conclusions: list[tuple[str, str]] = field(default_factory=list)
    _names: count = field(default_factory=count)

    @property
    def observed(self) -> r.Observed:
        members = tuple(m for m in self.members.values() if m.phase != "gone")
        return r.Observed(members, self.published, self.named, tuple(self.failures))

    def plan(self) -> list[r.Action]:
        if self.desired.status == "purged":
            return []
        return r.plan(self.desired, self.observed, self.now)

    def step(self, stop_after: int | None = None) -> list[r.Action]:
        """One pass of the loop; with `stop_after` the worker is killed after that many actions."""
        actions = self.plan()
        for action in actions[:stop_after]:
            self.apply(action)
        self.now += 0.2
        return actions

    def settle(self, most: int = 60) -> None:
        """Pass after pass until nothing is left to do; fails when that takes too many."""
        for _ in range(most):
            if not self.step():
                return
        raise AssertionError(f"no end: {self.plan()}")

    def apply(self, action: r.Action) -> None:
        match action:
            case r.Create(key, number):
                for _ in range(number):
                    name = f"n{next(self._names)}"
                    self.members[name] = r.Member(name, key, r.STARTING, since=self.now, created=self.now)
            case r.Start(name):
                self._start(name)
            case r.MarkReady(name):
                assert self.members[name].process == "up" and self.members[name].answers
                self._move(name, r.READY)
            case r.MarkUnready(name):
                self._move(name, r.UNREADY)
            case r.NoteRestart(name, restarts):
                member = self.members[name]
                phase = r.UNREADY if member.phase == r.READY else member.phase
                self.members[name] = replace(member, known_restarts=restarts)
                if phase != member.phase:
                    self._move(name, phase)
            case r.Fail(name):
                self._move(name, r.CRASHED)
                self.failures.append(self.now)
            case r.Publish(routes):
                self._publish(routes)
            case r.Retire(name):
                assert name not in self.named, "it may still get calls"
                self._move(name, r.STOPPING)
            case r.Stop(name):
                assert name not in self.named, "it may still get calls"
                self.stopped.append(name)
                if self.members[name].phase is None:
                    del self.members[name]
                else:
                    self.members[name] = replace(self.members[name], process=None, answers=False)
            case r.Vanish(name):
                self._move(name, "gone")
            case r.Conclude(what, reason):
                self._conclude(what, reason)

    def _start(self, name: str) -> None:
        member = self.members[name]
        if member.key in self.broken:
            state = {"process": "crashed", "gave_up": True, "answers": False, "detail": "exit status 1"}
        else:
            state = {"process": "up", "gave_up": False, "answers": member.key not in self.mute}
        restarts = {"restarts": 0, "known_restarts": 0, "settled_restarts": 0}
        self.members[name] = replace(member, **state, **restarts)

    def _publish(self, routes: r.Routes) -> None:
        now = r.routes(
            self.desired, self.observed.members
        )  # what the database says, as the publisher reads it
        assert now == routes, "the plan and the publisher disagree"
        for name in routes.names:
            assert self.members[name].phase == r.READY
        self.published, self.named = now, now.names

    def _conclude(self, what: str, reason: str) -> None:
        status = _STATUS_AFTER[self.desired.status, what]
        self.conclusions.append((what, reason))
        changes: dict = {"status": status}
        if what == "ready":
            changes |= {"fallback": (), "can_roll_back": False}
        if what == "roll_back":
            changes |= {
                "targets": self.desired.fallback,
                "fallback": (),
                "can_roll_back": False,
                "started": self.now,
            }
        if status == "failed":
            changes["goal"] = "stopped"
        if what == "purge":
            assert all(member.phase == "gone" for member in self.members.values())
        self.desired = replace(self.desired, **changes)

    def _move(self, name: str, phase: str) -> None:
        self.members[name] = replace(self.members[name], phase=phase, since=self.now)

    # What the world does to it.

    def die(self, name: str) -> None:
        """The process ends; the runtime starts it again."""
        self.members[name] = replace(self.members[name], restarts=self.members[name].restarts + 1)

    def lose(self, name: str) -> None:
        """The process and all that the runtime knew of it is gone, as after a restart of the machine."""
        self.members[name] = replace(self.members[name], process=None, answers=False, restarts=0)

    def fall_silent(self, name: str) -> None:
        self.members[name] = replace(self.members[name], answers=False, detail="timed out")

    def recover(self, name: str) -> None:
        self.members[name] = replace(self.members[name], answers=True)

    def crash_for_good(self, name: str) -> None:
        self.members[name] = replace(self.members[name], process="crashed", gave_up=True, answers=False)

    def phases(self) -> dict[str, str]:
        return {m.name: m.phase for m in self.members.values() if m.phase not in (None, "gone")}


def targets(**counts: int) -> tuple[r.Target, ...]:
    """Targets by key with their counts; the shares are even."""
    share, rest = divmod(100, max(1, len(counts)))
    return tuple(
        r.Target(key, share + (rest if number == 0 else 0), each)
        for number, (key, each) in enumerate(counts.items())
    )


def deploying(*, fallback: tuple[r.Target, ...] = (), **counts: int) -> r.Desired:
    return r.Desired(
        goal="running",
        status="deploying",
        targets=targets(**counts),
        fallback=fallback,
        can_roll_back=bool(fallback),
        started=1000.0,
        timeout=1200.0,
    )


def running(**counts: int) -> World:
    """A world in which a service with these instances runs."""
    world = World(deploying(**counts))
    world.settle()
    assert world.desired.status == "running"
    return world


def revise(world: World, **counts: int) -> None:
    """A new configuration is wanted."""
    before = world.desired.targets
    world.desired = replace(
        world.desired,
        status="deploying",
        targets=targets(**counts),
        fallback=before,
        can_roll_back=True,
        started=world.now,
    )
