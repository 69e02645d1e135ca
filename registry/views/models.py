"""Models by name: the list, one name with its versions, its description, its deletion."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods

from console.access import may, require
from console.htmx import render_page, see_other, unchanged
from registry import selectors, services
from registry.forms import SHORT_TYPE_LABELS, DescriptionForm, do
from registry.lifecycle import VERSION
from registry.models import Model, Version

ROWS = 20


@require_GET
def model_list(request: HttpRequest) -> HttpResponse:
    """Every model of the workspace; a row opens to its versions."""
    search, status = request.GET.get("q", "").strip(), request.GET.get("status", "")
    sort = request.GET.get("sort", "-imported")
    status = status if status in VERSION.statuses else ""
    rows = selectors.model_list(request.user, request.workspace, search=search, status=status, sort=sort)
    page = Paginator(rows, ROWS).get_page(request.GET.get("page"))
    shown = [version for model in page for version in model.versions.all()]
    tag = _tag(shown)
    if same := unchanged(request, tag):
        return same
    context = {
        "page": page,
        "tag": tag,
        "q": search,
        "status": status,
        "sort": sort,
        "statuses": _status_choices(),
        "busy": any(version.state.is_busy for version in shown),
        "type_labels": SHORT_TYPE_LABELS,
        "may_import": request.workspace is not None and may(request.user, "import", request.workspace),
        "may_change": _may_change(request),
    }
    return render_page(request, "registry/model_list.html", "rows", context)


@require_GET
def model_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One model with its versions."""
    rows = selectors.model_list(request.user, request.workspace)
    model = get_object_or_404(rows, name=name)
    tag = _tag(model.versions.all())
    if same := unchanged(request, tag):
        return same
    context = {
        "model": model,
        "tag": tag,
        "busy": any(version.state.is_busy for version in model.versions.all()),
        "type_labels": SHORT_TYPE_LABELS,
        "may_import": may(request.user, "import", request.workspace),
        "may_change": _may_change(request),
    }
    return render_page(request, "registry/model_detail.html", "versions", context)


@require_http_methods(["GET", "POST"])
def model_describe(request: HttpRequest, name: str) -> HttpResponse:
    """Edit the description of a model in its place."""
    model = _model(request, name)
    require(request.user, "change", model)
    form = DescriptionForm(
        request.POST if request.method == "POST" else None, initial={"description": model.description}
    )
    if request.method == "POST":
        do(form, services.edit_model_description, actor=request.user, model=model)
        if not form.errors:
            messages.success(request, _("The description is saved."))
            return see_other(request, model)
    status = 422 if form.errors else 200
    context = {"form": form, "object": model, "url": request.path}
    return render_page(request, "registry/description_edit.html", "dialog", context, status=status)


@require_http_methods(["GET", "POST"])
def model_delete(request: HttpRequest, name: str) -> HttpResponse:
    """Delete a model with its versions, after asking."""
    model = _model(request, name)
    require(request.user, "change", model)
    versions = list(model.versions.select_related("model", "workspace"))
    error = ""
    if request.method == "POST":
        if request.POST.get("typed_name", "") == model.name:
            return _deleted(request, model, len(versions))
        error = _("The name that you typed is not the name of the model.")
    context = {"model": model, "versions": versions, "error": error}
    context["services"] = [each for version in versions for each in services.users_of(version)]
    return render_page(request, "registry/model_delete.html", "dialog", context, 422 if error else 200)


def _deleted(request: HttpRequest, model: Model, count: int) -> HttpResponse:
    refused = services.delete_model(actor=request.user, model=model)
    for _version, problem in refused:
        messages.warning(request, str(problem))
    deleted = count - len(refused)
    if deleted:
        words = ngettext(
            "%(count)s version is being deleted.", "%(count)s versions are being deleted.", deleted
        )
        messages.success(request, words % {"count": deleted})
    return see_other(request, "registry:model_list")


def _model(request: HttpRequest, name: str) -> Model:
    return get_object_or_404(selectors.models_of(request.user, request.workspace), name=name)


def _status_choices() -> list[tuple[str, str]]:
    """The statuses as a filter; two that read alike are told apart by what failed."""
    return [
        (value, _("Abnormal (build)") if value == "building_failed" else str(status.label))
        for value, status in VERSION.statuses.items()
    ]


def _may_change(request: HttpRequest) -> bool:
    """Whether acts are shown at all: a viewer sees none. Whose model it is, the service asks."""
    return request.workspace is not None and may(request.user, "import", request.workspace)


def _tag(versions: Iterable[Version]) -> str:
    """What a list of versions shows of their statuses; the poll is answered when it changes."""
    seen = "".join(f"{version.pk.hex}{version.revision}" for version in versions)
    return hashlib.sha256(seen.encode()).hexdigest()[:16]
