"""The import page: one form, with a look into object storage inside it.

Going to a folder sends the whole form, so nothing that was typed is lost; without scripts it answers with a
redirect to a plain GET address that holds every value and can be reloaded, shared and gone back to.
"""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from console.access import require
from console.htmx import render_page, see_other, wants_fragment
from console.problems import ProblemError
from registry import selectors, services, validators
from registry.browsing import Browsing, browse
from registry.forms import ImportForm, add_refusal
from registry.models import Connection

TEXTS = ("name", "version", "labels", "description")
_NOT_KEPT = ("csrfmiddlewaretoken", "browse", "go", "more", "at")


@require_http_methods(["GET", "POST"])
def model_import(request: HttpRequest) -> HttpResponse:
    """Import a model, or a new version of one (`?name=`)."""
    require(request.user, "import", request.workspace)
    if request.method == "POST" and not ({"browse", "go", "more"} & set(request.POST)):
        return _create(request)
    data = request.GET
    if request.method == "POST":
        data = _gone_to(request.POST)
        if not wants_fragment(request):
            return see_other(request, f"{reverse('registry:model_import')}?{data.urlencode()}")
    browsing = _look(request, data)
    response = _page(
        request, ImportForm(initial=_initial(request, data, browsing), **_about(request, browsing))
    )
    if request.method == "POST":
        response["HX-Push-Url"] = f"{reverse('registry:model_import')}?{data.urlencode()}"
    return response


@require_GET
def number_hint(request: HttpRequest) -> HttpResponse:
    """Which number comes next for the name that is being typed."""
    proposal = selectors.proposal_for(request.user, request.workspace, request.GET.get("name", ""))
    return render_page(request, "registry/number_hint.html", None, {"proposal": proposal})


def _create(request: HttpRequest) -> HttpResponse:
    browsing = _look(request, request.POST)
    form = ImportForm(request.POST, **_about(request, browsing))
    if form.is_valid():
        values = {
            name: form.cleaned_data[name] for name in (*TEXTS, "connection", "bucket", "deployment_types")
        }
        try:
            version = services.import_version(
                actor=request.user,
                workspace=request.workspace,
                number=values.pop("version"),
                path=browsing.path,
                **values,
            )
        except ProblemError as error:
            add_refusal(form, error)
        else:
            messages.success(request, _("The import has started."))
            return see_other(request, version)
    return _page(request, form, status=422)


def _page(request: HttpRequest, form: ImportForm, status: int = 200) -> HttpResponse:
    name = str(form["name"].value() or "")
    context = {
        "form": form,
        "browsing": form.browsing,
        "sources": [{"label": _("Object Storage Service (OBS)"), "url": "", "active": True}],
        "connections": form.fields["connection"].queryset,
        "proposal": selectors.proposal_for(request.user, request.workspace, name),
    }
    return render_page(request, "registry/model_import.html", "import", context, status=status)


def _about(request: HttpRequest, browsing: Browsing) -> dict[str, Any]:
    return {
        "connections": selectors.connection_list(request.user, request.workspace),
        "browsing": browsing,
        "browse_url": reverse("registry:model_import"),
    }


def _gone_to(posted: QueryDict) -> QueryDict:
    """The form as the query of a GET: at the folder that was asked for."""
    data = posted.copy()
    for name in _NOT_KEPT:
        data.pop(name, None)
    if "go" in posted:
        data["path"] = posted["go"]
    elif posted.get("more"):
        data["after"] = posted["more"]
    # Another connection or bucket was chosen: the folder belongs to the one before.
    if posted.get("at", _at(posted)) != _at(posted):
        data["path"] = ""
    data["filled"] = "1"
    return data


def _at(data: QueryDict) -> str:
    return f"{data.get('connection', '')}/{data.get('bucket', '')}"


def _look(request: HttpRequest, data: QueryDict) -> Browsing:
    connections = selectors.connection_list(request.user, request.workspace)
    chosen: Connection | None = None
    if data.get("connection"):
        try:
            chosen = connections.filter(pk=UUID(data["connection"])).first()
        except ValueError:
            chosen = None
    else:
        chosen = connections.first()
    return browse(chosen, data.get("bucket", ""), data.get("path", ""), data.get("after", ""))


def _initial(request: HttpRequest, data: QueryDict, browsing: Browsing) -> dict[str, Any]:
    """What the form shows: what was typed, otherwise the newest version of the name, otherwise a proposal."""
    name = data.get("name", f"model-{secrets.token_hex(2)}")
    proposal = selectors.proposal_for(request.user, request.workspace, name)
    number = data.get("version", "")
    if number in ("", data.get("proposed")):
        number = proposal.number
    initial: dict[str, Any] = {
        "name": name,
        "version": number,
        "proposed": proposal.number,
        "connection": browsing.connection,
        "bucket": browsing.bucket,
        "path": browsing.path,
        "deployment_types": list(validators.DEPLOYMENT_TYPES),
    }
    if "filled" in data:
        initial["deployment_types"] = data.getlist("deployment_types")
        return initial | {field: data.get(field, "") for field in ("labels", "description")}
    latest = proposal.latest
    if latest is not None:
        initial |= {
            "labels": [label.name for label in latest.labels.all()],
            "description": latest.description,
            "deployment_types": latest.deployment_types,
        }
    return initial
