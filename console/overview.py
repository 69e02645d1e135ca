"""What the overview page shows."""

from __future__ import annotations

from typing import Any

from django.db.models import Count

from console.access import may, visible_to
from console.models import Operation, Workspace
from deployments.models import Service, ServiceEvent
from registry.models import Connection, Model, Version, VersionEvent

RECENT = 8


def overview_of(actor: Any, workspace: Workspace | None) -> dict[str, Any]:
    """Counts by status, running operations, recent events of a workspace, and what its reader may do next."""
    if workspace is None:
        return {"workspace": None}
    versions = visible_to(Version.objects.filter(workspace=workspace), actor)
    services = visible_to(Service.objects.filter(workspace=workspace), actor)
    running = visible_to(Operation.objects.filter(workspace=workspace, state__in=Operation.LIVE), actor)
    return {
        "workspace": workspace,
        "model_count": visible_to(Model.objects.filter(workspace=workspace), actor).count(),
        "version_count": versions.count(),
        "service_count": services.count(),
        "versions_by_status": _by_status(Version, versions),
        "services_by_status": _by_status(Service, services),
        "running": running.select_related("actor")[:RECENT],
        "events": _recent(versions, services),
        "has_connections": Connection.objects.filter(workspace=workspace).exists(),
        "may_import": may(actor, "import", workspace),
        "may_deploy": may(actor, "deploy", workspace),
    }


def _by_status(model: Any, rows: Any) -> list[dict[str, Any]]:
    """`[{"status": Status, "count": n}]` in the table's order; two statuses that read alike count as one."""
    counted = dict(rows.order_by().values_list("status").annotate(Count("pk")))
    merged: dict[str, dict[str, Any]] = {}
    for value, status in model.lifecycle.statuses.items():
        if value in counted:
            entry = merged.setdefault(str(status.label), {"status": status, "count": 0})
            entry["count"] += counted[value]
    return list(merged.values())


def _recent(versions: Any, services: Any) -> list[dict[str, Any]]:
    told = [
        *VersionEvent.objects.filter(subject__in=versions).select_related("subject__model", "actor")[:RECENT],
        *ServiceEvent.objects.filter(subject__in=services).select_related("subject", "actor")[:RECENT],
    ]
    told.sort(key=lambda event: event.created_at, reverse=True)
    return told[:RECENT]
