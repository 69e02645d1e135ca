"""What to do next so that what runs becomes what is wanted: `plan(desired, observed, now) -> actions`, pure.

No ORM, no clock, no outside. The converge loop reads a picture, carries the actions out in their order,
and asks again until there are none. Every action may be repeated: a loop that was killed anywhere goes on
from what it finds. The rules (lessons §3.2): new instances are ready before any share moves to them; old ones
are retired only when the gateway no longer names them; nothing shrinks before its replacement is ready; a
version without a ready instance gets no traffic.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

MOST_FAILURES = 3  # instances given up on within the window before a deployment is
FAILURE_WINDOW = 600.0  # seconds; with somebody ready, replacing goes on at this pace instead of giving up
MOST_RESTARTS = 5  # of one instance that never ran well in between, before another takes its place
SETTLED_SECONDS = 60.0  # ready for that long: what it did before is forgiven

STARTING, READY, UNREADY, CRASHED, STOPPING = "starting", "ready", "unready", "crashed", "stopping"
LIVE = (STARTING, READY, UNREADY)
_ORDER = {READY: 0, UNREADY: 1, STARTING: 2}

Goal = Literal["running", "stopped", "deleted"]


@dataclass(frozen=True)
class Target:
    """One version of a revision. Instances of the same `key` are interchangeable; `weight` is in percent."""

    key: str
    weight: int
    count: int


@dataclass(frozen=True)
class Routes:
    """What the gateway is told: shares `(key, weight, instance names)`, or why there are none.

    `absent`: the service is not there at all, its address answers 404.
    """

    shares: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    unavailable: str = ""
    absent: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The instances that get calls."""
        return frozenset(name for _, _, names in self.shares for name in names)


@dataclass(frozen=True)
class Desired:
    """What is wanted of one service, and where it stands."""

    goal: Goal
    status: str
    targets: tuple[Target, ...]
    # The last good revision while another one is being deployed: it serves until that one is wholly ready.
    fallback: tuple[Target, ...] = ()
    can_roll_back: bool = False
    started: float = 0.0  # epoch seconds at which this deployment began
    timeout: float = 1200.0  # seconds that it may take, and that an instance may take to come (back) up


@dataclass(frozen=True)
class Member:
    """One instance: its row merged with what the runtime says. `phase` None: there is no row (an orphan)."""

    name: str
    key: str = ""
    phase: str | None = None
    since: float = 0.0  # epoch seconds at which the phase began
    created: float = 0.0
    process: str | None = None  # what the runtime says (`runtimes.base.State`); None: it does not know it
    answers: bool = False
    detail: str = ""
    gave_up: bool = False
    restarts: int = 0  # as the runtime counts
    known_restarts: int = 0  # as the row says
    settled_restarts: int = 0

    @property
    def is_live(self) -> bool:
        return self.phase in LIVE


@dataclass(frozen=True)
class Observed:
    """What is there: instances, what the gateway was told, and when instances were given up on."""

    members: tuple[Member, ...] = ()
    # What the gateway serves for certain; None while that is unknown (told, and not confirmed).
    published: Routes | None = None
    # Every instance that the gateway may name, confirmed or not.
    named: frozenset[str] = frozenset()
    failures: tuple[float, ...] = ()


@dataclass(frozen=True)
class Create:
    """Choose names for `count` new instances of `key` and write their rows."""

    key: str
    count: int


@dataclass(frozen=True)
class Start:
    """Ask the runtime for the instance (again)."""

    name: str


@dataclass(frozen=True)
class MarkReady:
    """It answers: warm it up and let it have traffic."""

    name: str


@dataclass(frozen=True)
class MarkUnready:
    """It was ready and does not answer now."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class NoteRestart:
    """Its process ended by itself and was started again."""

    name: str
    restarts: int
    detail: str = ""
    ran_well: bool = False  # for long before: its earlier restarts are forgiven


@dataclass(frozen=True)
class Fail:
    """It is given up on."""

    name: str
    reason: Literal["crashes", "silent"]
    detail: str = ""


@dataclass(frozen=True)
class Publish:
    """Tell the gateway."""

    routes: Routes


@dataclass(frozen=True)
class Retire:
    """It is no longer wanted and gets no calls: from now on it is stopping."""

    name: str


@dataclass(frozen=True)
class Stop:
    """Ask the runtime to end it, with time for its last requests; repeated until it is gone."""

    name: str


@dataclass(frozen=True)
class Vanish:
    """The runtime has nothing of it any more."""

    name: str


@dataclass(frozen=True)
class Conclude:
    """The service's status follows: `ready`, `lost`, `gave_up`, `roll_back`, `gone` or `purge`."""

    what: Literal["ready", "lost", "gave_up", "roll_back", "gone", "purge"]
    reason: str = ""


Change = MarkReady | MarkUnready | NoteRestart | Fail | Retire | Vanish
Action = Change | Create | Start | Publish | Stop | Conclude


def plan(desired: Desired, observed: Observed, now: float) -> list[Action]:
    """The next actions, in the order in which they are safe; none when there is nothing to do now."""
    actions: list[Action] = []
    members = [_look_at(member, desired, now, actions) for member in observed.members]
    failed_now = sum(isinstance(action, Fail) for action in actions)
    failures = failed_now + sum(
        1 for at in observed.failures if at >= desired.started and at > now - FAILURE_WINDOW
    )
    verdict = _verdict(desired, members, failures, now)
    if verdict is not None:
        return [*actions, verdict]

    if desired.goal == "running":
        actions += _capacity(desired, members, may_create=failures < MOST_FAILURES)
    wanted_routes = routes(desired, members)
    if wanted_routes != observed.published:
        actions.append(Publish(wanted_routes))
    actions += _clearance(desired, members, observed)
    actions += _conclusion(desired, members, observed, wanted_routes)
    return actions


def chosen(targets: Iterable[Target], members: Iterable[Member]) -> dict[str, list[Member]]:
    """For each target its `count` best live instances: ready ones first, then the oldest."""
    best: dict[str, list[Member]] = {}
    pool = [member for member in members if member.is_live]
    for target in targets:
        own = [member for member in pool if member.key == target.key]
        own.sort(key=lambda member: (_ORDER[member.phase or ""], member.created, member.name))
        best[target.key] = own[: target.count]
    return best


def is_whole(targets: Iterable[Target], members: Iterable[Member]) -> bool:
    """Whether every target has all its instances ready."""
    targets = tuple(targets)
    best = chosen(targets, members)
    return all(
        len(best[target.key]) == target.count and all(m.phase == READY for m in best[target.key])
        for target in targets
    )


def routes(desired: Desired, members: Iterable[Member]) -> Routes:
    """What the gateway should serve now; depends on rows alone, so that every publisher says the same."""
    members = tuple(members)
    if desired.goal == "deleted":
        return Routes(absent=True)
    if desired.goal == "stopped":
        return Routes(unavailable=desired.status)
    shares: tuple = ()
    if desired.fallback and not is_whole(desired.targets, members):
        shares = _shares(desired.fallback, members)
    shares = shares or _shares(desired.targets, members)
    # A running service that lost its last instance is about to be in alarm.
    reason = "concerning" if desired.status == "running" else desired.status
    return Routes(shares=shares, unavailable="" if shares else reason)


def _shares(targets: tuple[Target, ...], members: tuple[Member, ...]) -> tuple:
    best = chosen(targets, members)
    shares = (
        (target.key, target.weight, tuple(sorted(m.name for m in best[target.key] if m.phase == READY)))
        for target in targets
        if target.weight > 0
    )
    return tuple(share for share in shares if share[2])


def _look_at(member: Member, desired: Desired, now: float, actions: list[Action]) -> Member:
    """What its row should say now: adds the action, returns the member as it will be."""
    if not member.is_live:
        if member.phase == STOPPING and member.process is None:
            actions.append(Vanish(member.name))
            return replace(member, phase="gone")
        return member
    if desired.goal != "running":
        return member  # it will be retired, whatever it does
    ran_well = member.phase == READY and now - member.since >= SETTLED_SECONDS
    forgiven = member.known_restarts if ran_well else member.settled_restarts
    if member.gave_up or member.restarts - forgiven >= MOST_RESTARTS:
        actions.append(Fail(member.name, "crashes", member.detail))
        return replace(member, phase=CRASHED)
    if member.restarts > member.known_restarts:
        actions.append(NoteRestart(member.name, member.restarts, member.detail, ran_well))
        phase = UNREADY if member.phase == READY else member.phase
        return replace(member, phase=phase, known_restarts=member.restarts)
    answers = member.process == "up" and member.answers
    if member.phase == READY and not answers:
        actions.append(MarkUnready(member.name, member.detail))
        return replace(member, phase=UNREADY)
    if member.phase != READY and answers:
        actions.append(MarkReady(member.name))
        return replace(member, phase=READY)
    # While deploying the deployment's own deadline decides.
    if member.phase != READY and desired.status != "deploying" and now - member.since >= desired.timeout:
        actions.append(Fail(member.name, "silent", member.detail))
        return replace(member, phase=CRASHED)
    return member


def _verdict(desired: Desired, members: list[Member], failures: int, now: float) -> Conclude | None:
    """Whether the deployment has failed, and why."""
    if desired.goal != "running":
        return None
    if desired.status == "deploying":
        if is_whole(desired.targets, members):
            return None  # it made it, if only just
        reason = ""
        if now - desired.started >= desired.timeout:
            reason = "timeout"
        elif failures >= MOST_FAILURES:
            reason = "crashes"
        if reason:
            return Conclude("roll_back" if desired.can_roll_back else "gave_up", reason)
    elif desired.status == "concerning" and failures >= MOST_FAILURES:
        nobody = not any(member.phase == READY for member in members)
        return Conclude("gave_up", "crashes") if nobody else None
    return None


def _capacity(desired: Desired, members: list[Member], *, may_create: bool) -> list[Action]:
    """Missing instances, and wanted ones whose process is not there."""
    actions: list[Action] = []
    wanted = {member.name for own in chosen(desired.targets, members).values() for member in own}
    wanted |= {member.name for own in chosen(desired.fallback, members).values() for member in own}
    for target in desired.targets:
        have = sum(1 for member in members if member.is_live and member.key == target.key)
        if have < target.count and may_create:
            actions.append(Create(target.key, target.count - have))
    actions += [
        Start(member.name) for member in members if member.name in wanted and member.process in (None, "gone")
    ]
    return actions


def _clearance(desired: Desired, members: list[Member], observed: Observed) -> list[Action]:
    """Instances that nobody wants: retired when the gateway names them no more, then stopped."""
    actions: list[Action] = []
    keep: set[str] = set()
    if desired.goal == "running":
        keep = {member.name for own in chosen(desired.targets, members).values() for member in own}
        if not is_whole(desired.targets, members):
            kept_keys = {target.key for target in desired.fallback}
            keep |= {member.name for member in members if member.is_live and member.key in kept_keys}
    for member in members:
        if member.phase is None:
            actions.append(Stop(member.name))
        elif member.phase == "gone" or member.name in keep or member.name in observed.named:
            continue
        elif member.phase == STOPPING:
            actions.append(Stop(member.name))
        else:
            actions += [Retire(member.name), Stop(member.name)]
    return actions


def _conclusion(
    desired: Desired, members: list[Member], observed: Observed, wanted_routes: Routes
) -> list[Action]:
    """The status that follows from what is there, once the gateway says so too."""
    whole = desired.goal == "running" and is_whole(desired.targets, members)
    if desired.status == "running" and desired.goal == "running" and not whole:
        return [Conclude("lost")]
    if wanted_routes != observed.published:
        return []
    if desired.status in ("deploying", "concerning") and whole:
        return [Conclude("ready")]
    empty = all(member.phase == "gone" for member in members)
    if desired.status == "stopping" and empty:
        return [Conclude("gone")]
    if desired.status == "deleting" and empty:
        return [Conclude("purge")]
    return []


def is_settled(desired: Desired, observed: Observed) -> bool:
    """Whether nothing will happen by itself: no plan, no wait. A loop may end here."""
    if any(member.phase == STOPPING for member in observed.members):
        return False
    return desired.status in ("running", "stopped", "failed", "finished") and observed.published is not None
