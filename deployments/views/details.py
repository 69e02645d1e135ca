"""One service: its page with tabs and a live part."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from console.history import events_tab
from console.htmx import render_page, unchanged
from deployments import selectors, snippets, traffic
from deployments.forms import LogsForm
from deployments.models import Service
from deployments.views import predictions
from deployments.views.page import LIVE_TABS, TABS, digest_of, page_context
from registry import package

ROWS = 50


@require_GET
def service_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A service: where it stands, how it is called, what happened (facts §4.8)."""
    service = get_object_or_404(selectors.service_detail(request.user, request.workspace), pk=pk)
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else "guides"
    shown = _SHOW[tab](request, service) if tab in LIVE_TABS else {}
    tag = f"{service.revision}.{service.progress}.{service.ready_count}.{shown.pop('tag', '')}"
    if same := unchanged(request, tag):
        return same
    context = page_context(request, service, tab) | shown | {"tag": tag}
    if "tag" in request.GET:
        return render_page(request, "deployments/service_detail.html", "live", context)
    if tab not in LIVE_TABS:
        context |= _SHOW[tab](request, service)
    return render_page(request, "deployments/service_detail.html", None, context)


def _guides(request: HttpRequest, service: Service) -> dict[str, Any]:
    """How it is called: address, key, APIs with their parameters, code that can be pasted."""
    selectors.attach_targets([service])
    version = service.targets_now[0].version  # type: ignore[attr-defined]
    address = traffic.address(service)
    key = service.keys.first()
    guides = []
    for api, row in zip(version.apis, package.api_rows(version.apis), strict=True):
        body = snippets.body_for(version, api)
        made = snippets.snippets_of(version, api, address, key.secret, body) if key else []
        guides.append({"row": row, "snippets": made})
    return {"address": address, "key": key, "version": version, "guides": guides}


def _updates(request: HttpRequest, service: Service) -> dict[str, Any]:
    return {"revisions": list(selectors.revisions_of(service))}


def _instances(request: HttpRequest, service: Service) -> dict[str, Any]:
    rows = selectors.instances_of(service)
    tag = "".join(f"{row.name}{row.revision}{row.restarts}" for row in rows)
    return {"instances": rows, "tag": digest_of(tag)}


def _logs(request: HttpRequest, service: Service) -> dict[str, Any]:
    """One instance's last lines within a window of time (facts §4.8)."""
    rows = selectors.instances_of(service)
    chosen = next((row for row in rows if row.name == request.GET.get("instance")), rows[0] if rows else None)
    minutes = _minutes(request.GET.get("minutes", ""))
    logs = selectors.logs_of(chosen, minutes)
    last = logs.lines[-1] if logs.lines else None
    return {
        "instances": rows,
        "form": LogsForm(
            instances=rows, initial={"instance": chosen.name if chosen else "", "minutes": minutes}
        ),
        "logs": logs,
        "tag": digest_of(f"{len(logs.lines)}{last.at if last else ''}{last.text if last else ''}{chosen}"),
    }


def _minutes(text: str) -> int:
    return int(text) if text in {str(minutes) for minutes in selectors.LOG_MINUTES} else 30


_SHOW = {
    "guides": _guides,
    "prediction": predictions.shown,
    "updates": _updates,
    "instances": _instances,
    "events": events_tab,
    "logs": _logs,
}
