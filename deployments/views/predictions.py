"""The Prediction tab, and the OpenAPI file of a service."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from console.access import require
from console.htmx import render_page
from console.problems import Problem, ProblemError
from deployments import prediction, selectors, snippets
from deployments.forms import CONTROL, EditorForm, PathForm, prediction_form
from deployments.models import Service
from deployments.prediction import FORM_TYPE, Field, Reply
from deployments.views.page import page_context


def shown(request: HttpRequest, service: Service) -> dict[str, Any]:
    """What the tab shows before anything was sent; `?path=` chooses among several APIs."""
    api, version = _api(service, request.GET.get("path", ""))
    body = snippets.body_for(version, api)
    return _context(version, api) | _controls(_fields(api, body), _pretty(body), "form")


@require_POST
def service_predict(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send one request through the gateway with the service's key, and show what came back."""
    service = get_object_or_404(selectors.service_detail(request.user, request.workspace), pk=pk)
    require(request.user, "predict", service)
    api, version = _api(service, request.POST.get("path", ""))
    example = snippets.body_for(version, api)
    fields = _fields(api, example)
    entry = "json" if "body" in request.POST else "form"
    text, problem, reply = _pretty(example), None, None
    try:
        if entry == "json":
            text = request.POST["body"]
            content, kind = prediction.json_body(text), prediction.JSON_TYPE
        else:
            fields = _typed(request, fields or [])
            content, kind = _form_content(request, api, fields)
            if kind == prediction.JSON_TYPE:
                text = _pretty(json.loads(content))
        reply = _send(service, api, content, kind)
    except ProblemError as error:
        problem = error.problem
    return _answer(request, service, api, version, fields, entry, text, problem, reply)


def _answer(
    request: HttpRequest,
    service: Service,
    api: dict[str, Any],
    version: Any,
    fields: list[Field] | None,
    entry: str,
    text: str,
    problem: Problem | None,
    reply: Reply | None,
) -> HttpResponse:
    context = page_context(request, service, "prediction") | _context(version, api)
    context |= _controls(fields, text, entry)
    context |= {
        "problem": problem,
        "reply": reply,
        "tag": f"{service.revision}.{service.progress}",
    }
    status = 422 if problem is not None and problem.http < 500 else 200
    return render_page(request, "deployments/service_detail.html", "reply", context, status=status)


@require_GET
def service_openapi(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The OpenAPI description that the running service gives of itself, as a file."""
    service = get_object_or_404(selectors.services_of(request.user, request.workspace), pk=pk)
    require(request.user, "predict", service)
    reply = prediction.call(service.pk, _key(service), method="GET", path="/openapi.json", body=None)
    if not reply.is_ok:
        raise ProblemError("deployments.prediction.unreachable", detail=f"HTTP {reply.status}")
    response = HttpResponse(reply.text, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="openapi-{service.pk}.json"'
    return response


def _send(service: Service, api: dict[str, Any], content: bytes | None, kind: str) -> Reply:
    method = api["method"]
    body = None if method == "GET" else content
    return prediction.call(
        service.pk, _key(service), method=method, path=api["url"], body=body, content_type=kind
    )


def _form_content(request: HttpRequest, api: dict[str, Any], fields: list[Field]) -> tuple[bytes, str]:
    """The body that the filled-in form makes, and its type."""
    values = {field.name: str(field.value) for field in fields if field.kind != "file"}
    if api.get("request_type") == FORM_TYPE:
        files = {
            field.name.lstrip("/"): request.FILES[CONTROL + field.name]
            for field in fields
            if field.kind == "file" and CONTROL + field.name in request.FILES
        }
        return prediction.form_body({name.lstrip("/"): value for name, value in values.items()}, files)
    return prediction.json_body(json.dumps(prediction.body_of(fields, values))), prediction.JSON_TYPE


def _typed(request: HttpRequest, fields: list[Field]) -> list[Field]:
    """The controls with what was typed into them."""
    return [replace(field, value=request.POST.get(CONTROL + field.name, "")) for field in fields]


def _fields(api: dict[str, Any], example: Any) -> list[Field] | None:
    return prediction.fields_of(api.get("request_schema"), example)


def _controls(fields: list[Field] | None, text: str, entry: str) -> dict[str, Any]:
    """The two ways to fill in a request: a form for simple shapes, and an editor."""
    return {
        "form": prediction_form(fields) if fields else None,
        "editor": EditorForm(initial={"body": text}),
        "entry": entry if fields else "json",
    }


def _context(version: Any, api: dict[str, Any]) -> dict[str, Any]:
    several = len(version.apis) > 1
    return {
        "version": version,
        "api": api,
        "path_form": PathForm(apis=version.apis, initial={"path": api["url"]}) if several else None,
        "takes_files": api.get("request_type") == FORM_TYPE,
    }


def _api(service: Service, path: str) -> tuple[dict[str, Any], Any]:
    """The chosen API of the service's version: the one with this path, else the first."""
    selectors.attach_targets([service])
    version = service.targets_now[0].version  # type: ignore[attr-defined]
    chosen = next((api for api in version.apis if api["url"] == path), None)
    if chosen is None and path:
        raise ProblemError("deployments.prediction.path", path=path[:200])
    return chosen or version.apis[0], version


def _key(service: Service) -> str:
    key = service.keys.first()
    return key.secret if key else ""


def _pretty(body: Any) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False)
