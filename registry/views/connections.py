"""Storage connections: Settings for administrators, readable for all members."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.access import may, require
from console.htmx import render_page, see_other
from console.problems import ProblemError
from registry import selectors, services
from registry.connections import check_connection
from registry.forms import ConnectionForm, do
from registry.models import Connection


@require_GET
def connection_list(request: HttpRequest) -> HttpResponse:
    """Where models can be imported from."""
    context = {
        "connections": selectors.connection_list(request.user, request.workspace),
        "may_manage": request.workspace is not None
        and may(request.user, "manage_workspace", request.workspace),
    }
    return render_page(request, "registry/connection_list.html", None, context)


@require_http_methods(["GET", "POST"])
def connection_create(request: HttpRequest) -> HttpResponse:
    """Add a connection."""
    require(request.user, "manage_workspace", request.workspace)
    form = ConnectionForm(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        made = do(form, services.create_connection, actor=request.user, workspace=request.workspace)
        if made is not None:
            messages.success(request, _("The connection is saved."))
            return see_other(request, "registry:connection_list")
    return _form_page(request, form, None)


@require_http_methods(["GET", "POST"])
def connection_change(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Modify a connection; its kind stays."""
    connection = _connection(request, pk)
    require(request.user, "manage_workspace", connection)
    form = ConnectionForm(request.POST if request.method == "POST" else None, connection=connection)
    if request.method == "POST":
        made = do(form, _update, actor=request.user, connection=connection)
        if made is not None:
            messages.success(request, _("The connection is saved."))
            return see_other(request, "registry:connection_list")
    return _form_page(request, form, _connection(request, pk))


@require_http_methods(["GET", "POST"])
def connection_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete a connection, after asking."""
    connection = _connection(request, pk)
    require(request.user, "manage_workspace", connection)
    if request.method == "POST":
        services.delete_connection(actor=request.user, connection=connection)
        messages.success(request, _("The connection is deleted."))
        return see_other(request, "registry:connection_list")
    context = {"connection": connection, "versions": selectors.connection_versions(connection)}
    return render_page(request, "registry/connection_delete.html", "dialog", context)


@require_POST
def connection_test(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask the storage for its buckets now, and tell what it answered."""
    connection = _connection(request, pk)
    require(request.user, "manage_workspace", connection)
    try:
        count = len(check_connection(actor=request.user, connection=connection))
    except ProblemError as error:
        messages.error(request, str(error.problem))
    else:
        words = ngettext(
            "%(name)s answers: %(count)s bucket can be seen.",
            "%(name)s answers: %(count)s buckets can be seen.",
            count,
        )
        messages.success(request, words % {"name": connection.name, "count": count})
    return see_other(request, "registry:connection_list")


def _update(*, kind: str, **given: Any) -> Connection:
    return services.update_connection(**given)


def _form_page(request: HttpRequest, form: ConnectionForm, connection: Connection | None) -> HttpResponse:
    context = {"form": form, "connection": connection}
    status = 422 if form.errors else 200
    return render_page(request, "registry/connection_form.html", None, context, status=status)


def _connection(request: HttpRequest, pk: UUID) -> Connection:
    return get_object_or_404(selectors.connection_list(request.user, request.workspace), pk=pk)
