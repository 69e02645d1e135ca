"""The list of real-time services."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from console.access import LEAST_ROLE, role_in
from console.htmx import render_page, unchanged
from console.models import Role
from deployments import selectors
from deployments.lifecycle import SERVICE
from deployments.models import Service
from deployments.views.page import digest_of

ROWS = 20


@require_GET
def service_list(request: HttpRequest) -> HttpResponse:
    """Every real-time service of the workspace (facts §4.7)."""
    search, status = request.GET.get("q", "").strip(), request.GET.get("status", "")
    sort = request.GET.get("sort", "-created")
    status = status if status in SERVICE.statuses else ""
    rows = selectors.service_list(request.user, request.workspace, search=search, status=status, sort=sort)
    page = Paginator(rows, ROWS).get_page(request.GET.get("page"))
    tag = _tag(page)
    if same := unchanged(request, tag):
        return same
    selectors.attach_targets(page)
    role = role_in(request.user, request.workspace) if request.workspace else 0
    for service in page:
        mine = role >= Role.DEVELOPER and service.owner_id == request.user.pk
        service.is_own = mine or role >= Role.ADMIN  # as `may(…, "change", service)`, with one query for all
    context = {
        "page": page,
        "tag": tag,
        "q": search,
        "status": status,
        "sort": sort,
        "statuses": [(value, str(each.label)) for value, each in SERVICE.statuses.items()],
        "busy": any(service.state.is_busy for service in page),
        "may_deploy": role >= LEAST_ROLE["deploy"],
    }
    return render_page(request, "deployments/service_list.html", "rows", context)


def _tag(services: Iterable[Service]) -> str:
    """What the rows show; the poll is answered when it changes."""
    seen = "".join(
        f"{service.pk.hex}{service.revision}.{service.progress}.{service.ready_count}" for service in services
    )
    return digest_of(seen)
