"""What is wanted and what is there, read into the plain values that `reconcile` works on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from deployments import lifecycle, reconcile
from deployments.models import Instance, RevisionTarget, Service
from deployments.runtimes import base as runtimes


@dataclass(frozen=True)
class Seen:
    """One instance as the runtime and its probe tell it."""

    observed: runtimes.Observed
    probe: runtimes.ProbeResult | None = None


@dataclass(frozen=True)
class Picture:
    """One service: its rows, and what `reconcile.plan` is asked with."""

    service: Service
    desired: reconcile.Desired
    observed: reconcile.Observed
    targets: dict[str, RevisionTarget]  # by key; the wanted revision's before the good one's
    instances: dict[str, Instance]  # by name; those that are not gone
    addresses: dict[str, str]  # by name, as the runtime says


def read(services: Iterable[Service], seen: Iterable[Seen] = ()) -> list[Picture]:
    """The pictures of `services`, in their order; three queries for any number of them.

    `seen` must have been asked of the runtime before this call: a name without a row is then truly an
    orphan, because rows are written before their instance is started.
    """
    services = list(services)
    targets = _targets(services)
    instances: dict[Any, list[Instance]] = defaultdict(list)
    rows = Instance.objects.filter(service__in=services).exclude(status=lifecycle.GONE)
    for instance in rows.select_related("target"):
        instances[instance.service_id].append(instance)
    failures: dict[Any, list[float]] = defaultdict(list)
    horizon = timezone.now() - timedelta(seconds=reconcile.FAILURE_WINDOW)
    failed = Instance.objects.filter(service__in=services, failed_at__gt=horizon)
    for service_id, failed_at in failed.values_list("service_id", "failed_at"):
        failures[service_id].append(failed_at.timestamp())
    views: dict[str, dict[str, Seen]] = defaultdict(dict)
    for view in seen:
        views[view.observed.service_id][view.observed.id] = view
    return [
        _picture(
            service,
            targets,
            {instance.name: instance for instance in instances[service.pk]},
            views[str(service.pk)],
            tuple(sorted(failures[service.pk])),
        )
        for service in services
    ]


def _targets(services: list[Service]) -> dict[tuple[Any, int], list[RevisionTarget]]:
    """The targets of the wanted and the good revisions, by service and revision number."""
    numbers = {number for service in services for number in (service.wanted_revision, service.good_revision)}
    rows = RevisionTarget.objects.filter(
        revision__service__in=services, revision__number__in=numbers
    ).select_related("revision", "specification", "version__model")
    found: dict[tuple[Any, int], list[RevisionTarget]] = defaultdict(list)
    for target in rows.order_by("pk"):
        found[target.revision.service_id, target.revision.number].append(target)
    return found


def _picture(
    service: Service,
    targets: Mapping[tuple[Any, int], list[RevisionTarget]],
    instances: dict[str, Instance],
    views: Mapping[str, Seen],
    failures: tuple[float, ...],
) -> Picture:
    wanted = targets[service.pk, service.wanted_revision]
    has_other_good = service.good_revision not in (0, service.wanted_revision)
    good = targets[service.pk, service.good_revision] if has_other_good else []
    published, named = _told(service)
    return Picture(
        service=service,
        desired=reconcile.Desired(
            goal=goal(service),
            status=service.status,
            targets=_plain(wanted),
            fallback=_plain(good),
            can_roll_back=bool(good),
            started=service.deploy_started_at.timestamp(),
            timeout=float(wanted[0].revision.timeout_seconds),
        ),
        observed=reconcile.Observed(
            members=tuple(
                _member(name, instances.get(name), views.get(name))
                for name in sorted(instances.keys() | views.keys())
            ),
            published=published,
            named=named,
            failures=failures,
        ),
        targets={target.key: target for target in [*good, *wanted]},
        instances=instances,
        addresses={name: view.observed.address for name, view in views.items()},
    )


def goal(service: Service) -> reconcile.Goal:
    """What the loop works towards. A failed service wants nothing until somebody starts it again."""
    if service.desired == Service.DELETE:
        return "deleted"
    if service.desired == Service.STOP or service.status == lifecycle.FAILED:
        return "stopped"
    return "running"


def _plain(targets: Iterable[RevisionTarget]) -> tuple[reconcile.Target, ...]:
    return tuple(reconcile.Target(t.key, t.weight, t.instance_count) for t in targets)


def _member(name: str, instance: Instance | None, view: Seen | None) -> reconcile.Member:
    process: dict[str, Any] = {}
    if view is not None:
        observed, probe = view.observed, view.probe
        process = {
            "process": observed.state,
            "answers": bool(probe and probe.ready),
            "detail": observed.detail or (probe.detail if probe else ""),
            "gave_up": observed.gave_up,
            "restarts": observed.restarts,
        }
    if instance is None:
        return reconcile.Member(name, **process)
    if view is None:
        process["restarts"] = instance.restarts
    return reconcile.Member(
        name,
        key=instance.target.key,
        phase=instance.status,
        since=instance.status_since.timestamp(),
        created=instance.created_at.timestamp(),
        known_restarts=instance.restarts,
        settled_restarts=instance.settled_restarts,
        **process,
    )


def _told(service: Service) -> tuple[reconcile.Routes | None, frozenset[str]]:
    """What the gateway was told (`Service.routes`): the confirmed routes, and every name it may hold."""
    stored = service.routes
    named = frozenset(stored.get("named", ()))
    if not stored.get("is_confirmed"):
        return None, named
    routes = reconcile.Routes(
        shares=tuple((key, weight, tuple(names)) for key, weight, names in stored["shares"]),
        unavailable=stored["unavailable"],
        absent=stored["absent"],
    )
    return routes, named
