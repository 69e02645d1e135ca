"""The converge operation: read what is wanted, look at what is there, do the difference, until there is none.

`work` is what a worker does for one service; `watch` looks at all services every 15 s and opens work where
reality has drifted. Level-triggered: whatever was killed, the next look goes on from what it finds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from console import operations
from console.lifecycle import IllegalTransition, LostRace, fire, note
from console.models import Operation
from console.operations import Again, Kind, Lease, Retry, register_kind
from console.problems import Problem
from deployments import actions, doors, lifecycle, picture, reconcile, traffic
from deployments.actions import PASSING, Carrier
from deployments.gateway.base import GatewayError
from deployments.models import Instance, Service
from deployments.picture import Picture, Seen
from deployments.runtimes.base import Observed, ProbeResult, Runtime, RuntimeRefused, RuntimeUnreachable

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
IDLE_SECONDS = 5.0  # with nothing to do, work that still waits lets others have their turn
CALM_SECONDS = 20.0  # with nothing to do, an alarm is left to the watch
SECOND_LOOK_SECONDS = 0.25
PROBES_AT_ONCE = 8
ORPHAN_GRACE_SECONDS = 5.0
REST_AFTER_FAILURE = timedelta(seconds=60)
TELL_AGAIN_AFTER = timedelta(hours=1)


def work(lease: Lease) -> None:
    """Bring the operation's service to what is wanted of it; ends when there is nothing left to do."""
    carrier = Carrier(lease)
    last_act = time.monotonic()
    while True:
        lease.look_again()
        service = Service.objects.select_related("workspace").filter(pk=lease.operation.target_id).first()
        if service is None:
            return
        lease.beat(stage=service.status, done=service.progress, total=100, unit="percent")
        try:
            current = look(service, carrier.runtime)
            todo = reconcile.plan(current.desired, current.observed, time.time())
            for action in todo:
                carrier.carry_out(action, current)
                lease.beat()
            actions.show_progress(current)
        except (LostRace, IllegalTransition):
            continue  # somebody pressed a button, or another worker was here: look again
        except Retry as retry:
            if retry.problem is not None:
                tell_once(service, retry.problem)
            raise
        if todo:
            last_act = time.monotonic()
        idle = time.monotonic() - last_act
        if not todo and _may_end(current, idle):
            return
        if lease.out_of_time or (not todo and idle >= IDLE_SECONDS and service.status == lifecycle.DEPLOYING):
            raise Again
        if not todo or all(isinstance(action, reconcile.Stop) for action in todo):
            time.sleep(POLL_SECONDS)


def _may_end(current: Picture, idle: float) -> bool:
    if reconcile.is_settled(current.desired, current.observed):
        return True
    return current.service.status == lifecycle.CONCERNING and idle >= CALM_SECONDS


def look(service: Service, runtime: Runtime) -> Picture:
    """The service's picture now, its instances probed. Raises Retry when the runtime does not answer."""
    ready = Instance.objects.filter(service=service, status=lifecycle.READY)
    names = set(ready.values_list("name", flat=True))
    try:
        seen = _probe(runtime, runtime.list(str(service.pk)), names)
    except (RuntimeUnreachable, RuntimeRefused) as error:
        raise Retry(2, Problem("deployments.runtime.unreachable", {"detail": str(error)})) from error
    return picture.read([service], seen)[0]


def _probe(runtime: Runtime, listed: Iterable[Observed], ready: set[str]) -> list[Seen]:
    """Ask those that have a process; one that was ready is asked twice before it counts as not answering."""

    def ask(observed: Observed) -> Seen:
        if observed.state != "up":
            return Seen(observed)
        probe: ProbeResult = runtime.probe(observed.id)
        if not probe.ready and observed.id in ready:
            time.sleep(SECOND_LOOK_SECONDS)
            probe = runtime.probe(observed.id)
        return Seen(observed, probe)

    listed = list(listed)
    if len(listed) < 2:
        return [ask(observed) for observed in listed]
    with ThreadPoolExecutor(min(PROBES_AT_ONCE, len(listed))) as pool:
        return list(pool.map(ask, listed))


def tell_once(service: Service, problem: Problem) -> None:
    """Leave an event of `problem`, unless it has been told in this status within the hour."""
    since = max(service.status_since, timezone.now() - TELL_AGAIN_AFTER)
    if not service.events.filter(code=problem.code, created_at__gte=since).exists():
        note(service, problem=problem)


def converge_failed(operation: Operation, problem: Problem) -> None:
    """What an ended operation means for its service: a deployment fails or rolls back, the rest waits for
    the watch, which takes the work up again."""
    while (service := Service.objects.filter(pk=operation.target_id).first()) is not None:
        if problem.code in PASSING:
            return tell_once(service, problem)
        try:
            if service.status != lifecycle.DEPLOYING:
                reason = Problem("deployments.service.not_converged", {"reason": problem.cause})
                return tell_once(service, reason)
            if service.good_revision not in (0, service.wanted_revision):
                actions.roll_back(service, problem)
            else:
                stored = {"problem_code": problem.code, "problem_params": dict(problem.params)}
                fire(service, "gave_up", problem=problem, **stored)
        except LostRace:
            continue
        return None
    return None


CONVERGE = register_kind(Kind("deployments.converge", _("Deploy a service"), failed=converge_failed))


def watch() -> int:
    """Look at every service; open work where something is to do. Returns how many were opened.

    Writes nothing when all is well. Ends instances whose service is gone, and lets the gateway be told
    again, which costs it one question when it knows already.
    """
    runtime = doors.runtime()
    names = set(Instance.objects.filter(status=lifecycle.READY).values_list("name", flat=True))
    try:
        seen = _probe(runtime, runtime.list(), names)
    except (RuntimeUnreachable, RuntimeRefused) as error:
        log.warning("the runtime does not answer: %s", error)
        return 0
    services = list(Service.objects.select_related("workspace"))
    _end_strays(runtime, seen, services)
    busy = _busy()
    opened = 0
    now = time.time()
    for each in picture.read(services, seen):
        if each.service.pk in busy:
            continue
        if reconcile.plan(each.desired, each.observed, now) or _is_left(each):
            operations.open(CONVERGE.name, each.service)
            opened += 1
    try:
        traffic.publish_all()
    except GatewayError as error:
        log.warning("the gateway was not told: %s", error)
    return opened


def _busy() -> set:
    """Services that are being worked on, or whose work has just failed."""
    rows = Operation.objects.filter(kind=CONVERGE.name)
    live = rows.filter(state__in=Operation.LIVE).values_list("target_id", flat=True)
    recent = timezone.now() - REST_AFTER_FAILURE
    failed = rows.filter(state=Operation.FAILED, finished_at__gt=recent).values_list("target_id", flat=True)
    return {*live, *failed}


def _is_left(each: Picture) -> bool:
    """Whether a busy service has nobody at work on it."""
    return each.service.state.is_busy


def _end_strays(runtime: Runtime, seen: Iterable[Seen], services: Iterable[Service]) -> None:
    """End instances of services that do not exist: rows come before instances, so nobody wants these."""
    known = {str(service.pk) for service in services}
    for view in seen:
        if view.observed.service_id not in known:
            log.warning("instance %s belongs to no service: it is ended", view.observed.id)
            try:
                runtime.stop(view.observed.id, ORPHAN_GRACE_SECONDS)
            except (RuntimeUnreachable, RuntimeRefused) as error:
                log.warning("instance %s could not be ended: %s", view.observed.id, error)
