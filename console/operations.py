"""Background work that cannot be lost (design §4).

An `Operation` row is the truth and Celery only delivers: the row is written before the message, the message
goes out on commit, and the task reads the row again. A claim writes a fresh random lease owner, and every
later write is filtered on it, so a second delivery claims nothing and a stale worker changes nothing. A sweep
sends again what was never claimed and takes back what a dead worker held.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.models import Operation, OperationLine, Workspace
from console.problems import Problem, ProblemError, register

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=settings.SLIPWAY_LEASE_SECONDS)
SLICE_SECONDS = 45.0
MOST_ATTEMPTS = 5
RESEND_AFTER = timedelta(seconds=60)
BEAT_SECONDS = 0.5
MOST_LINES = 2000

register(
    "worker.lost",
    title=_("The worker was lost"),
    cause=_("The worker that did this ended %(attempts)s times without finishing."),
    fix=_("See the worker's log; the machine may be short of memory. Then retry."),
)
register(
    "worker.internal",
    title=_("An error inside Slipway"),
    cause=_("An unexpected error stopped this job; its number is %(operation)s."),
    fix=_("Retry. If it fails again, give this number to the operator: the worker's log tells the details."),
)
register(
    "worker.cancelled",
    title=_("Cancelled"),
    cause=_("The job was cancelled."),
    fix=_("Retry when you want it done after all."),
)


class LeaseLost(Exception):
    """Another worker holds the operation now, or it has ended: stop at once and write nothing."""


class Cancelled(Exception):
    """A person asked to cancel; the work should leave nothing behind."""


class Again(Exception):
    """The slice is over; the work goes on at once in another task."""


class Retry(Exception):
    """The outside failed in a way that may pass; try again after `delay` seconds, telling `problem` meanwhile."""

    def __init__(self, delay: float, problem: Problem | None = None) -> None:
        super().__init__(delay)
        self.delay, self.problem = delay, problem


class Permanent(ProblemError):
    """The work cannot succeed; trying again would meet the same `problem`."""


@dataclass(frozen=True)
class Kind:
    """A kind of operation: its Celery task name, its label, and what its target does when it fails.

    `stages` gives the words for each stage that the work reports.
    """

    name: str
    label: str | Promise
    failed: Callable[[Operation, Problem], None]
    is_cancellable: bool = False
    stages: Mapping[str, str | Promise] = field(default_factory=dict)


kinds: dict[str, Kind] = {}


def register_kind(kind: Kind) -> Kind:
    """Make `kind` known. `failed` runs in the transaction that ends a failed or cancelled operation."""
    kinds[kind.name] = kind
    return kind


def open(
    kind: str,
    target: Any,
    *,
    actor: Any = None,
    workspace: Workspace | None = None,
    params: dict[str, Any] | None = None,
) -> Operation:
    """The live operation of `kind` on `target`: a new one, or the one at work, nudged to look again.

    A nudge makes sure that a change made while the work was ending is not missed: `finish` sees it and the
    work runs once more. Call it in the transaction that made the work necessary; the message is sent on commit.
    """
    for _attempt in range(3):
        live = Operation.objects.filter(kind=kind, target_id=target.pk, state__in=Operation.LIVE)
        if live.update(nudges=F("nudges") + 1):
            operation = live.first()
            if operation is not None:
                if operation.state == Operation.QUEUED:
                    live.filter(state=Operation.QUEUED).update(not_before=None)
                    _send_on_commit(operation)
                return operation
        try:
            with transaction.atomic():
                operation = Operation.objects.create(
                    kind=kind,
                    target_kind=target._meta.label_lower,
                    target_id=target.pk,
                    target_name=str(target)[:140],
                    target_path=target.get_absolute_url() if hasattr(target, "get_absolute_url") else "",
                    workspace=workspace or target.workspace,
                    actor=actor if getattr(actor, "pk", None) else None,
                    params=params or {},
                )
        except IntegrityError:
            continue  # somebody else opened it between our look and our insert
        _send_on_commit(operation)
        return operation
    raise RuntimeError(f"cannot open {kind} on {target.pk}: it keeps opening and ending")


def _send_on_commit(operation: Operation, delay: float = 0) -> None:
    transaction.on_commit(lambda: _send(operation.pk, operation.kind, delay))


def _send(operation_id: Any, kind: str, delay: float = 0) -> None:
    """Hand the message to the broker; when the broker is away the sweep sends it later."""
    try:
        current_app.send_task(kind, args=[str(operation_id)], countdown=delay or None, retry=False)
    except Exception as error:  # any transport's own errors: the row is safe, so delivery may wait
        log.warning("could not send %s %s: %s", kind, operation_id, error)
    else:
        Operation.objects.filter(pk=operation_id).update(sent_at=timezone.now())


class Lease:
    """A worker's hold on one operation; every write through it fails once the hold is lost."""

    def __init__(self, operation: Operation, owner: str) -> None:
        self.operation = operation
        self.owner = owner
        self.nudges = operation.nudges
        self._until = time.monotonic() + SLICE_SECONDS
        self._beaten = 0.0
        self._pending: dict[str, Any] = {}
        self._rate_from = (time.monotonic(), operation.done)
        self._lines = 0

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that the operation was opened with."""
        return self.operation.params

    @property
    def out_of_time(self) -> bool:
        """Whether the slice is used up: long work should save its place and raise Again."""
        return time.monotonic() >= self._until

    def _rows(self) -> Any:
        return Operation.objects.filter(pk=self.operation.pk, state=Operation.RUNNING, lease_owner=self.owner)

    def beat(
        self,
        *,
        done: int | None = None,
        total: int | None = None,
        unit: str | None = None,
        stage: str | None = None,
        force: bool = False,
    ) -> None:
        """Say that the work goes on and how far it is; cheap to call often.

        Raises LeaseLost when the hold is gone and Cancelled when a person asked for it.
        """
        told = {"done": done, "total": total, "unit": unit, "stage": stage}
        self._pending |= {name: value for name, value in told.items() if value is not None}
        now = time.monotonic()
        changed_stage = stage is not None and stage != self.operation.stage
        if not (force or changed_stage) and now - self._beaten < BEAT_SECONDS:
            return
        if changed_stage:
            self._rate_from = (now, self._pending.get("done", 0))
        elif done is not None and now > self._rate_from[0]:
            self._pending["rate"] = max(0.0, (done - self._rate_from[1]) / (now - self._rate_from[0]))
        written = self._pending | {"lease_until": timezone.now() + LEASE}
        if not self._rows().update(**written):
            raise LeaseLost
        for name, value in written.items():
            setattr(self.operation, name, value)
        self._pending, self._beaten = {}, now
        if Operation.objects.filter(pk=self.operation.pk, is_cancel_requested=True).exists():
            raise Cancelled

    def log(self, text: str) -> None:
        """Keep one line of what a tool said, for the job's page; at most 2,000 lines a slice."""
        self._lines += 1
        if self._lines <= MOST_LINES:
            OperationLine.objects.create(operation=self.operation, text=text[:2000])

    def look_again(self) -> None:
        """Call before reading what is wanted: nudges up to now are answered by what is read next."""
        self.nudges = Operation.objects.values_list("nudges", flat=True).get(pk=self.operation.pk)

    def still_held(self) -> bool:
        """Whether the hold stands, asked inside the transaction that is about to write something final."""
        return self._rows().exists()


def claim(operation_id: Any) -> Lease | None:
    """Take the operation: one conditional UPDATE. None when it is not due, ended, or held by another."""
    now = timezone.now()
    owner = secrets.token_hex(16)
    due = Q(state=Operation.QUEUED) & (Q(not_before=None) | Q(not_before__lte=now))
    abandoned = Q(state=Operation.RUNNING, lease_until__lt=now)
    taken = Operation.objects.filter(due | abandoned, pk=operation_id).update(
        state=Operation.RUNNING,
        lease_owner=owner,
        lease_until=now + LEASE,
        attempt=F("attempt") + 1,
        not_before=None,
    )
    if not taken:
        return None
    Operation.objects.filter(pk=operation_id, started_at=None).update(started_at=now)
    return Lease(Operation.objects.select_related("workspace", "actor").get(pk=operation_id), owner)


def run(operation_id: Any, work: Callable[[Lease], None]) -> str:
    """Claim the operation and do `work`; returns what became of it, for the log.

    `work` may raise Again, Retry, Permanent or any ProblemError, LeaseLost and Cancelled; anything else is a
    bug: it is logged with the operation's number and shown as such.
    """
    lease = claim(operation_id)
    if lease is None:
        return "not ours"
    try:
        work(lease)
    except LeaseLost:
        return "lease lost"
    except Again:
        return _requeue(lease)
    except Cancelled:
        return _end(lease, Operation.CANCELLED, Problem("worker.cancelled"))
    except Retry as again:
        problem = again.problem or Problem("worker.lost", {"attempts": lease.operation.attempt})
        if lease.operation.attempt >= MOST_ATTEMPTS:
            return _end(lease, Operation.FAILED, problem)
        return _requeue(lease, delay=again.delay, problem=problem, keep_attempts=True)
    except ProblemError as error:
        return _end(lease, Operation.FAILED, error.problem)
    except SoftTimeLimitExceeded:
        return _requeue(lease, keep_attempts=True)
    except Exception:
        log.exception("operation %s (%s) met a bug", operation_id, lease.operation.kind)
        return _end(lease, Operation.FAILED, Problem("worker.internal", {"operation": str(operation_id)}))
    return _end(lease, Operation.SUCCEEDED, None)


def _requeue(
    lease: Lease, *, delay: float = 0, problem: Problem | None = None, keep_attempts: bool = False
) -> str:
    not_before = timezone.now() + timedelta(seconds=delay) if delay else None
    with transaction.atomic():
        requeued = lease._rows().update(
            state=Operation.QUEUED,
            lease_owner="",
            lease_until=None,
            not_before=not_before,
            problem_code=problem.code if problem else "",
            problem_params=dict(problem.params) if problem else {},
            **({} if keep_attempts else {"attempt": 0}),
        )
        if requeued:
            _send_on_commit(lease.operation, delay)
    return "queued again" if requeued else "lease lost"


def _end(lease: Lease, state: str, problem: Problem | None) -> str:
    with transaction.atomic():
        rows = lease._rows()
        if state == Operation.SUCCEEDED:
            rows = rows.filter(nudges=lease.nudges)
        ended = rows.update(
            state=state,
            finished_at=timezone.now(),
            lease_owner="",
            lease_until=None,
            problem_code=problem.code if problem else "",
            problem_params=dict(problem.params) if problem else {},
            **lease._pending,
        )
        if ended and problem is not None:
            _tell_target(lease.operation, problem)
    if ended:
        return state
    # Nudged while it was ending: what was asked for meanwhile has not been looked at yet.
    return _requeue(lease) if state == Operation.SUCCEEDED else "lease lost"


def _tell_target(operation: Operation, problem: Problem) -> None:
    kind = kinds.get(operation.kind)
    if kind is not None:
        kind.failed(operation, problem)


def request_cancel(operation: Operation) -> bool:
    """Ask a live operation to stop; false when it has ended. A queued one ends at once."""
    with transaction.atomic():
        queued = Operation.objects.filter(pk=operation.pk, state=Operation.QUEUED)
        if queued.update(
            state=Operation.CANCELLED,
            finished_at=timezone.now(),
            is_cancel_requested=True,
            problem_code="worker.cancelled",
        ):
            _tell_target(operation, Problem("worker.cancelled"))
            return True
    running = Operation.objects.filter(pk=operation.pk, state=Operation.RUNNING)
    return running.update(is_cancel_requested=True) == 1


def sweep() -> dict[str, int]:
    """Send again what nobody claimed and take back what a dead worker held; safe to run twice at once."""
    now = timezone.now()
    counts = {"sent": 0, "taken_back": 0, "given_up": 0}
    abandoned = Operation.objects.filter(state=Operation.RUNNING, lease_until__lt=now)
    for operation in abandoned:
        held = Operation.objects.filter(
            pk=operation.pk, state=Operation.RUNNING, lease_owner=operation.lease_owner, lease_until__lt=now
        )
        if operation.attempt >= MOST_ATTEMPTS:
            problem = Problem("worker.lost", {"attempts": operation.attempt})
            with transaction.atomic():
                if held.update(
                    state=Operation.FAILED,
                    finished_at=now,
                    lease_owner="",
                    lease_until=None,
                    problem_code=problem.code,
                    problem_params=dict(problem.params),
                ):
                    _tell_target(operation, problem)
                    counts["given_up"] += 1
        elif held.update(
            state=Operation.QUEUED, lease_owner="", lease_until=None, not_before=None, sent_at=None
        ):
            counts["taken_back"] += 1
    waiting = Operation.objects.filter(
        Q(not_before=None) | Q(not_before__lte=now),
        Q(sent_at=None) | Q(sent_at__lt=now - RESEND_AFTER),
        state=Operation.QUEUED,
    )
    for operation_id, kind in waiting.values_list("pk", "kind"):
        _send(operation_id, kind)
        counts["sent"] += 1
    return counts
