"""State as data: one table per model, and `fire`, the only way a status changes (design §3).

The table drives the buttons, the refusals and the tests. `fire` is one conditional UPDATE on
`(status, revision)` plus one event row in the same transaction: of two people who press at once one
wins, and the other gets `LostRace`, a normal outcome with a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from django.db import transaction
from django.utils import timezone
from django.utils.functional import Promise

Tone = Literal["ok", "busy", "warn", "bad", "idle"]


@dataclass(frozen=True)
class Status:
    """One value of a status: what is stored, what people read, and how it looks."""

    value: str
    label: str | Promise
    tone: Tone
    is_busy: bool = False
    is_final: bool = False


class IllegalTransition(Exception):
    """The table has no way from the object's status by this trigger."""

    def __init__(self, obj: Any, trigger: str) -> None:
        self.obj, self.trigger, self.status = obj, trigger, obj.status
        super().__init__(f"{obj._meta.label_lower} is {obj.status}: it cannot {trigger}")


class LostRace(Exception):
    """Somebody changed the object between our reading and our writing; nothing was written."""

    def __init__(self, obj: Any, trigger: str) -> None:
        self.obj, self.trigger = obj, trigger
        super().__init__(f"{obj._meta.label_lower} {obj.pk} changed meanwhile: {trigger} was not applied")


class Lifecycle:
    """A table `(status, trigger) -> status` over the listed statuses.

    `table` maps each trigger to `{from_status: to_status}`. Raises ValueError where it names a status
    that is not listed.
    """

    def __init__(self, statuses: Iterable[Status], table: Mapping[str, Mapping[str, str]]) -> None:
        self.statuses: dict[str, Status] = {status.value: status for status in statuses}
        self.table: dict[tuple[str, str], str] = {
            (source, trigger): to for trigger, ways in table.items() for source, to in ways.items()
        }
        unknown = {name for (source, _), to in self.table.items() for name in (source, to)} - set(
            self.statuses
        )
        if unknown:
            raise ValueError(f"statuses without a description: {sorted(unknown)}")
        self.triggers: tuple[str, ...] = tuple(table)

    @property
    def values(self) -> list[str]:
        """The stored values, for a database constraint."""
        return list(self.statuses)

    @property
    def choices(self) -> list[tuple[str, str | Promise]]:
        """`(value, label)` pairs for a model field."""
        return [(status.value, status.label) for status in self.statuses.values()]

    def can(self, status: str, trigger: str) -> bool:
        """Whether `trigger` leads anywhere from `status`."""
        return (status, trigger) in self.table

    def sources(self, trigger: str) -> list[str]:
        """The statuses from which `trigger` is possible."""
        return [source for (source, name) in self.table if name == trigger]

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Every `(from, trigger, to)` of the table, in its order."""
        return ((source, trigger, to) for (source, trigger), to in self.table.items())


class Codified(Protocol):
    """What `fire` keeps of a problem."""

    code: str
    params: Mapping[str, Any]


def fire(
    obj: Any,
    trigger: str,
    *,
    actor: Any = None,
    problem: Codified | None = None,
    code: str = "",
    params: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Any:
    """Move `obj` by `trigger`, write `changes` to its other fields, and leave one event; returns the event.

    The event tells `problem`, or else `code` with `params`, or else the transition itself. On return `obj`
    carries the new values. Raises IllegalTransition where the table has no such way and LostRace where
    the row changed since `obj` was read; then nothing was written.
    """
    lifecycle: Lifecycle = obj.lifecycle
    source = obj.status
    to = lifecycle.table.get((source, trigger))
    if to is None:
        raise IllegalTransition(obj, trigger)
    now = timezone.now()
    written = {"status": to, "revision": obj.revision + 1, "status_since": now, "progress": 0} | changes
    with transaction.atomic():
        rows = type(obj)._base_manager.filter(pk=obj.pk, status=source, revision=obj.revision)
        if rows.update(**written) != 1:
            raise LostRace(obj, trigger)
        event = obj.events.create(
            trigger=trigger,
            from_status=source,
            to_status=to,
            revision=written["revision"],
            **_told(obj, trigger, problem, code, params),
            actor=actor,
        )
    for name, value in written.items():
        setattr(obj, name, value)
    return event


def note(
    obj: Any,
    code: str = "",
    *,
    actor: Any = None,
    problem: Codified | None = None,
    params: Mapping[str, Any] | None = None,
) -> Any:
    """Leave an event without a transition: a step that was taken, or a `problem` that was met."""
    return obj.events.create(**_told(obj, "", problem, code, params), actor=actor)


def _told(obj: Any, trigger: str, problem: Codified | None, code: str, params: Any) -> dict[str, Any]:
    if problem is not None:
        return {"kind": "abnormal", "code": problem.code, "params": dict(problem.params)}
    return {
        "kind": "normal",
        "code": code or f"{obj._meta.label_lower}.{trigger}",
        "params": dict(params or {}),
    }


def advance(obj: Any, percent: int) -> bool:
    """Raise the progress of a busy `obj` to `percent` (0–100); false when it has moved on meanwhile."""
    percent = max(0, min(100, percent))
    moved = type(obj)._base_manager.filter(pk=obj.pk, revision=obj.revision).update(progress=percent) == 1
    if moved:
        obj.progress = percent
    return moved
