"""What the pages of services list and show. Every selector starts from what the actor may see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Lower
from django.utils import timezone

from console.access import visible_to
from console.models import Workspace
from deployments import doors, lifecycle
from deployments.models import (
    Instance,
    RevisionTarget,
    Service,
    ServiceRevision,
    Specification,
)
from deployments.runtimes.base import LogLine, RuntimeUnreachable

SERVICE_SORTS = {
    "name": [Lower("name"), "pk"],
    "-name": [Lower("name").desc(), "pk"],
    "created": ["created_at", "pk"],
    "-created": ["-created_at", "pk"],
}
LOG_MINUTES = (5, 30, 60)  # facts §4.8
LOG_LINES = 500
FORMER_INSTANCES = 10


def services_of(actor: Any, workspace: Workspace | None) -> QuerySet[Service]:
    """The services that the actor sees in a workspace."""
    rows = visible_to(Service.objects.filter(workspace=workspace), actor)
    return rows.select_related("workspace", "owner")


def service_list(
    actor: Any,
    workspace: Workspace | None,
    *,
    search: str = "",
    status: str = "",
    sort: str = "-created",
) -> QuerySet[Service]:
    """The workspace's services, each with `ready_count` and `wanted_count` instances."""
    rows = services_of(actor, workspace)
    if search:
        rows = rows.filter(name__icontains=search)
    if status:
        rows = rows.filter(status=status)
    return _counted(rows).order_by(*SERVICE_SORTS.get(sort, SERVICE_SORTS["-created"]))


def service_detail(actor: Any, workspace: Workspace | None) -> QuerySet[Service]:
    """Services with their counts; the view picks one."""
    return _counted(services_of(actor, workspace))


def _counted(rows: QuerySet[Service]) -> QuerySet[Service]:
    targets = RevisionTarget.objects.filter(
        revision__service=OuterRef("pk"), revision__number=OuterRef("wanted_revision")
    ).order_by()
    wanted = targets.values("revision").annotate(total=Sum("instance_count")).values("total")
    ready = Count("instances", filter=Q(instances__status=lifecycle.READY), distinct=True)
    return rows.annotate(ready_count=ready, wanted_count=Subquery(wanted))


def attach_targets(services: Iterable[Service]) -> None:
    """Give each service `targets_now`, the targets of its wanted configuration; one query for all."""
    services = list(services)
    numbers = {service.wanted_revision for service in services}
    rows = RevisionTarget.objects.filter(revision__service__in=services, revision__number__in=numbers)
    found: dict[tuple[Any, int], list[RevisionTarget]] = defaultdict(list)
    for target in rows.select_related("revision", "version__model", "specification"):
        found[target.revision.service_id, target.revision.number].append(target)
    for service in services:
        service.targets_now = found[service.pk, service.wanted_revision]  # type: ignore[attr-defined]


def revisions_of(service: Service) -> QuerySet[ServiceRevision]:
    """The configurations of a service, newest first, with their targets."""
    targets = "targets__version__model", "targets__specification"
    return service.revisions.select_related("author").prefetch_related(*targets)


def instances_of(service: Service) -> list[Instance]:
    """The instances of a service, oldest first, and after them the last few that are gone."""
    rows = service.instances.select_related("target__version__model", "target__revision")
    here = list(rows.exclude(status=lifecycle.GONE))
    return here + list(rows.filter(status=lifecycle.GONE).order_by("-status_since")[:FORMER_INSTANCES])


@dataclass(frozen=True)
class Logs:
    """The lines of one instance, or why there are none."""

    lines: list[LogLine]
    detail: str = ""


def logs_of(instance: Instance | None, minutes: int) -> Logs:
    """The last lines of an instance within `minutes`; empty for None."""
    if instance is None:
        return Logs([])
    since = timezone.now() - timedelta(minutes=minutes)
    try:
        return Logs(doors.runtime().logs(instance.name, since=since, tail=LOG_LINES))
    except RuntimeUnreachable as error:
        return Logs([], str(error))


def open_specifications() -> list[Specification]:
    """The sizes of compute nodes that may be chosen."""
    return list(Specification.objects.filter(is_open=True))
