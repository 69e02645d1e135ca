"""Deploying and modifying: the form, the confirmation page, the work that they begin (facts §4.2)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from console.access import require
from console.htmx import render_page, see_other
from console.lifecycle import IllegalTransition
from console.problems import ProblemError
from deployments import lifecycle, selectors, services
from deployments.forms import ConfigurationForm, DeployForm, initial_of, propose_name, unsealed
from deployments.models import Service
from registry.models import Version
from registry.selectors import deployable_versions

STEPS = (gettext_lazy("Service settings"), gettext_lazy("Specification Confirmation"))


@require_http_methods(["GET", "POST"])
def service_deploy(request: HttpRequest) -> HttpResponse:
    """Fill in → Next → Specification Confirmation → Create Now. Nothing is written before the last step.

    One address for all steps: `go` says which button was pressed; the confirmation page carries what was
    filled in as one signed field.
    """
    require(request.user, "deploy", request.workspace)
    if request.method == "GET":
        return _page(request, _deploy_form(request))
    go = request.POST.get("go", "next")
    if go in ("create", "previous"):
        return _confirmed(request, go)
    form = _deploy_form(request, request.POST)
    if go == "add_row":
        return _page(request, _unvalidated(form))
    if not _is_possible(request, form):
        return _page(request, form, status=422)
    context = _summary(form) | {"sealed": form.sealed(), "steps": STEPS}
    return render_page(request, "deployments/service_confirm.html", None, context)


@require_http_methods(["GET", "POST"])
def service_modify(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The same fields for a service that exists; a new configuration takes over without a gap."""
    service = get_object_or_404(selectors.services_of(request.user, request.workspace), pk=pk)
    require(request.user, "change", service)
    if not service.can_modify:
        raise IllegalTransition(service, "revise")
    target = services.targets_of(service)[0]
    initial = initial_of(target, target.revision.timeout_seconds)
    form = ConfigurationForm(
        request.POST if request.method == "POST" else None,
        versions=_versions(request, target.version),
        specifications=selectors.open_specifications(),
        initial=initial,
    )
    if request.method == "POST":
        if request.POST.get("go") == "add_row":
            form = _unvalidated(form)
        elif form.is_valid() and _modified(request, service, form):
            return see_other(request, service)
    status = 422 if form.errors else 200
    context = {"form": form, "service": service}
    return render_page(request, "deployments/service_modify.html", None, context, status=status)


def _modified(request: HttpRequest, service: Service, form: ConfigurationForm) -> bool:
    before = service.wanted_revision
    try:
        services.modify(
            actor=request.user, service=service, targets=[form.target], timeout_seconds=form.timeout_seconds
        )
    except ProblemError as error:
        form.add_refusal(error)
        return False
    if service.wanted_revision == before:
        messages.info(request, _("Nothing was changed."))
    elif service.status in lifecycle.RESTING:
        messages.success(request, _("The configuration is saved. It takes effect at the next start."))
    else:
        messages.success(request, _("The service is being updated."))
    return True


def _confirmed(request: HttpRequest, go: str) -> HttpResponse:
    """What the buttons of the confirmation page do: create now, or go back with the values kept."""
    try:
        form = _deploy_form(request, unsealed(request.POST.get("confirmed", "")))
    except ProblemError as error:
        form = _deploy_form(request)
        return _page(request, form, status=422, refusal=error.problem)
    if go == "previous":
        return _page(request, _unvalidated(form))
    if form.is_valid():
        try:
            service = services.deploy(actor=request.user, workspace=request.workspace, **_wish(form))
        except ProblemError as error:
            form.add_refusal(error)
        else:
            messages.success(request, _("The service is being deployed."))
            return see_other(request, service)
    return _page(request, form, status=422)


def _is_possible(request: HttpRequest, form: DeployForm) -> bool:
    """Whether the form is valid and the service layer would take it; its refusal is put into the form."""
    if not form.is_valid():
        return False
    try:
        services.check_deploy(actor=request.user, workspace=request.workspace, **_wish(form))
    except ProblemError as error:
        form.add_refusal(error)
        return False
    return True


def _wish(form: DeployForm) -> dict[str, Any]:
    return {
        "name": form.cleaned_data["name"],
        "description": form.cleaned_data["description"],
        "targets": [form.target],
        "timeout_seconds": form.timeout_seconds,
    }


def _deploy_form(request: HttpRequest, data: Any = None) -> DeployForm:
    versions = _versions(request)
    chosen = request.GET.get("version", "")
    initial = {"name": propose_name()}
    if chosen in {str(version.pk) for version in versions}:
        initial["version"] = chosen
    return DeployForm(
        data, versions=versions, specifications=selectors.open_specifications(), initial=initial
    )


def _versions(request: HttpRequest, present: Version | None = None) -> list[Version]:
    """What may be chosen; the version that runs may stay although it is not Normal any more."""
    versions = deployable_versions(request.user, request.workspace)
    if present is not None and present not in versions:
        versions = sorted([*versions, present], key=lambda version: version.model.name)
    return versions


def _unvalidated(form: Any) -> Any:
    """The form with what was typed, before anybody judges it."""
    form._errors = {}
    return form


def _page(request: HttpRequest, form: DeployForm, status: int = 200, **context: Any) -> HttpResponse:
    context |= {"form": form, "has_versions": bool(form.versions), "steps": STEPS}
    return render_page(request, "deployments/service_deploy.html", None, context, status=status)


def _summary(form: DeployForm) -> dict[str, Any]:
    """What the confirmation page tells, as one reads it."""
    return {
        "wish": _wish(form),
        "target": form.target,
        "version": form.versions[form.cleaned_data["version"]],
        "specification": form.specifications[form.cleaned_data["specification"]],
        "variables": form.pairs,
        "minutes": form.cleaned_data["timeout"],
    }
