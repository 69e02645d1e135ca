"""What can be done to a service: start, stop, delete, describe, return to an earlier configuration."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from console.access import require
from console.htmx import render_page, see_other
from console.lifecycle import IllegalTransition
from console.problems import ProblemError
from deployments import selectors, services
from deployments.forms import DescriptionForm, told
from deployments.models import Service, ServiceRevision


def _service(request: HttpRequest, pk: UUID) -> Service:
    return get_object_or_404(selectors.services_of(request.user, request.workspace), pk=pk)


@require_POST
def service_start(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Bring a stopped or abnormal service up again."""
    service = _service(request, pk)
    services.start(actor=request.user, service=service)
    messages.success(request, _("The service is being started."))
    return see_other(request, service)


@require_http_methods(["GET", "POST"])
def service_stop(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Stop a service, after telling what that means."""
    service = _asked(request, pk, "stop")
    if request.method == "POST":
        services.stop(actor=request.user, service=service)
        messages.success(request, _("The service is being stopped."))
        return see_other(request, service)
    return render_page(request, "deployments/service_stop.html", "dialog", {"service": service})


@require_http_methods(["GET", "POST"])
def service_delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete a service, after telling what that means and asking for its name."""
    service = _asked(request, pk, "delete")
    error = ""
    if request.method == "POST":
        if request.POST.get("typed_name", "") == service.name:
            services.delete(actor=request.user, service=service)
            messages.success(request, _("The service is being deleted."))
            return see_other(request, "deployments:service_list")
        error = _("The name that you typed is not the name of the service.")
    context = {"service": service, "error": error}
    status = 422 if error else 200
    return render_page(request, "deployments/service_delete.html", "dialog", context, status=status)


@require_http_methods(["GET", "POST"])
def service_describe(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Edit the description in its place."""
    service = _service(request, pk)
    require(request.user, "change", service)
    form = DescriptionForm(request.POST or None, initial={"description": service.description})
    if request.method == "POST" and form.is_valid():
        try:
            services.edit_description(
                actor=request.user, service=service, description=form.cleaned_data["description"]
            )
        except ProblemError as error:
            form.add_error("description", told(error.problem))
        else:
            messages.success(request, _("The description is saved."))
            return see_other(request, service)
    status = 422 if form.errors else 200
    context = {"form": form, "service": service}
    return render_page(request, "deployments/service_describe.html", "dialog", context, status=status)


@require_POST
def service_roll_back(request: HttpRequest, pk: UUID, number: int) -> HttpResponse:
    """Return to an earlier configuration: a new one equal to it."""
    service = _service(request, pk)
    try:
        services.roll_back_to(actor=request.user, service=service, number=number)
    except ServiceRevision.DoesNotExist as error:
        raise Http404 from error
    messages.success(request, _("The service returns to configuration %(number)s.") % {"number": number})
    return see_other(request, service)


def _asked(request: HttpRequest, pk: UUID, trigger: str) -> Service:
    """The service of a confirmation page; refused before anybody confirms what cannot be done."""
    service = _service(request, pk)
    require(request.user, "change", service)
    if not service.can(trigger):
        raise IllegalTransition(service, trigger)
    return service
