"""One version: its page with tabs and a live part, and what can be done to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh

from console.access import may, require
from console.history import events_tab
from console.htmx import render_page, see_other, unchanged, wants_fragment
from console.lifecycle import IllegalTransition
from console.problems import ProblemError
from registry import package, selectors, services
from registry.engines import CATALOGUE
from registry.forms import DEPLOYMENT_TYPE_LABELS, DescriptionForm, do
from registry.models import Version
from registry.stages import stage_label

ROWS = 50


@require_GET
def version_by_id(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The page of a version whose id alone is known, as jobs know it."""
    return redirect(get_object_or_404(selectors.versions_of(request.user, request.workspace), pk=pk))


@require_GET
def version_detail(request: HttpRequest, name: str, number: str) -> HttpResponse:
    """A version: where it stands, what it is, what happened.

    While it is busy the page polls with `?tag=`: 204 when nothing is new, the live part when the work
    went on, and when the status changed, the word to load the page again.
    """
    version = _version(request, name, number)
    operation = selectors.operation_of(version)
    tab = request.GET.get("tab", "")
    tab = tab if tab in _TABS else "basic"
    work = f"{operation.state}-{operation.stage}-{operation.done}" if operation else ""
    tag = f"{version.revision}.{version.progress}.{work}.{version.events.count()}"
    if same := unchanged(request, tag):
        return same
    seen = request.GET.get("tag", "")
    if wants_fragment(request) and seen.split(".")[0] != str(version.revision):
        return HttpResponseClientRefresh()
    context = {
        "version": version,
        "operation": operation,
        "stage": stage_label(operation.stage) if operation else "",
        "tag": tag,
        "tab": tab,
        "failure": selectors.last_problem(version),
        "can": _possible(request, version),
        "tabs": _tabs(version, tab),
        "type_labels": dict(DEPLOYMENT_TYPE_LABELS),
    }
    context |= _TABS[tab](request, version)
    return render_page(request, "registry/version_detail.html", "live", context)


@require_POST
def version_retry(request: HttpRequest, name: str, number: str) -> HttpResponse:
    """Import a failed version again."""
    version = _version(request, name, number)
    services.retry_version(actor=request.user, version=version)
    messages.success(request, _("The import has started again."))
    return see_other(request, version)


@require_POST
def version_cancel(request: HttpRequest, name: str, number: str) -> HttpResponse:
    """Stop an import."""
    version = _version(request, name, number)
    services.cancel_import(actor=request.user, version=version)
    messages.success(request, _("The import is asked to stop."))
    return see_other(request, version)


@require_http_methods(["GET", "POST"])
def version_describe(request: HttpRequest, name: str, number: str) -> HttpResponse:
    """Edit the description in its place."""
    version = _version(request, name, number)
    require(request.user, "change", version)
    form = DescriptionForm(
        request.POST if request.method == "POST" else None, initial={"description": version.description}
    )
    if request.method == "POST":
        do(form, services.edit_description, actor=request.user, version=version)
        if not form.errors:
            messages.success(request, _("The description is saved."))
            return see_other(request, version)
    status = 422 if form.errors else 200
    context = {"form": form, "object": version, "url": request.path}
    return render_page(request, "registry/description_edit.html", "dialog", context, status=status)


@require_http_methods(["GET", "POST"])
def version_delete(request: HttpRequest, name: str, number: str) -> HttpResponse:
    """Delete a version, after telling what that means."""
    version = _version(request, name, number)
    require(request.user, "change", version)
    if not version.can("delete"):
        raise IllegalTransition(version, "delete")
    error, status = "", 200
    if request.method == "POST":
        try:
            services.delete_version(actor=request.user, version=version)
        except ProblemError as refusal:
            error, status = str(refusal.problem), 422
        else:
            messages.success(request, _("The version is being deleted."))
            return see_other(request, "registry:model_list")
    context = {"version": version, "users": services.users_of(version), "error": error}
    return render_page(request, "registry/version_delete.html", "dialog", context, status=status)


def _version(request: HttpRequest, name: str, number: str) -> Version:
    rows = selectors.version_detail(request.user, request.workspace)
    return get_object_or_404(rows, model__name=name, number=number)


def _possible(request: HttpRequest, version: Version) -> dict[str, bool]:
    """Which acts to offer: by the lifecycle and by the reader's role."""
    own = may(request.user, "change", version)
    return {
        "retry": own and version.can("retry"),
        "cancel": own and version.can("cancel"),
        "delete": own and version.can("delete"),
        "describe": own,
        "import": may(request.user, "import", version),
        "deploy": version.is_deployable and may(request.user, "deploy", version),
    }


def _basic(request: HttpRequest, version: Version) -> dict[str, Any]:
    engine = CATALOGUE.get(version.engine)
    return {"engine_label": engine.label if engine else version.engine}


def _parameters(request: HttpRequest, version: Version) -> dict[str, Any]:
    return {"api_rows": package.api_rows(version.apis)}


def _dependencies(request: HttpRequest, version: Version) -> dict[str, Any]:
    return {"packages": version.environment.packages if version.environment else []}


def _metrics(request: HttpRequest, version: Version) -> dict[str, Any]:
    return {
        "metrics": [
            (name, version.metrics.get(name, "")) for name in ("recall", "precision", "accuracy", "f1")
        ]
    }


def _files(request: HttpRequest, version: Version) -> dict[str, Any]:
    return {"page": Paginator(selectors.files_of(version), ROWS).get_page(request.GET.get("page"))}


_TABS = {
    "basic": _basic,
    "parameters": _parameters,
    "dependencies": _dependencies,
    "precision": _metrics,
    "files": _files,
    "events": events_tab,
}


def _tabs(version: Version, tab: str) -> list[dict[str, Any]]:
    labels = {
        "basic": _("Basic information"),
        "parameters": _("Parameter Configuration"),
        "dependencies": _("Runtime Dependency"),
        "precision": _("Model Precision"),
        "files": _("Files"),
        "events": _("Events"),
    }
    url = reverse("registry:version_detail", args=[version.model.name, version.number])
    return [
        {"label": label, "url": f"{url}?tab={key}", "active": key == tab} for key, label in labels.items()
    ]
