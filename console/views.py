"""Pages of the shell: sign-in, overview, jobs, health, errors."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template import loader
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console import jobs, signin
from console.forms import SignInForm
from console.htmx import render_page, see_other, unchanged
from console.overview import overview_of

log = logging.getLogger(__name__)

public: Callable[[Any], Any] = login_not_required


@public
@never_cache
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in by password; the page tells how to get a one-time link."""
    wanted = request.POST.get("next") or request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure()):
        wanted = settings.LOGIN_REDIRECT_URL
    if request.user.is_authenticated:
        return redirect(wanted)
    form = SignInForm(request, data=request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.get_user())
        return see_other(request, wanted)
    status = 422 if request.method == "POST" else 200
    return render(request, "console/sign_in.html", {"form": form, "next": wanted}, status=status)


@public
@never_cache
@require_GET
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in by a one-time link."""
    user = signin.redeem(token)
    if user is None:
        if request.user.is_authenticated:
            return redirect("overview")
        return render(request, "console/sign_in_link_invalid.html", status=410)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("overview")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return see_other(request, settings.LOGOUT_REDIRECT_URL)


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """What is there, what happens, and the next step."""
    context = overview_of(request.user, request.workspace) | {"live_url": request.path}
    return render_page(request, "console/overview.html", "live", context)


@require_GET
def job_list(request: HttpRequest) -> HttpResponse:
    """The ledger of operations."""
    state, search = request.GET.get("state", ""), request.GET.get("q", "").strip()
    rows = jobs.job_list(request.user, request.workspace, state=state, search=search)
    page = Paginator(rows, 25).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "state": state,
        "q": search,
        "states": jobs.Operation.STATES.values(),
        "busy": any(operation.is_live for operation in page),
    }
    return render_page(request, "console/job_list.html", "rows", context)


@require_GET
def job_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One operation: progress, log, reason."""
    operation = get_object_or_404(jobs.job_list(request.user, request.workspace), pk=pk)
    tag = f"{operation.state}.{operation.stage}.{operation.done}.{operation.lines.count()}"
    nothing_new = unchanged(request, tag)
    if nothing_new is not None:
        return nothing_new
    context = {
        "operation": operation,
        "tag": tag,
        "lines": list(operation.lines.order_by("-id")[:500])[::-1],
        "can_cancel": jobs.can_cancel(request.user, operation),
    }
    return render_page(request, "console/job_detail.html", "job", context)


@require_POST
def job_cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask a live operation to stop."""
    operation = get_object_or_404(jobs.job_list(request.user, request.workspace), pk=pk)
    jobs.cancel_job(actor=request.user, operation=operation)
    messages.success(request, _("The job is asked to stop."))
    return see_other(request, "job_detail", pk)


@public
@never_cache
@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """200 when the console answers and its database does; told to anybody, so it tells nothing else."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    get_user_model().objects.only("pk").first()  # the tables are there: migrations ran
    return JsonResponse({"status": "ok", "version": settings.SLIPWAY_VERSION})


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(request, "400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(request, "403.html", status=403)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """A bug: the page shows a number that the log tells the rest of. Touches neither session nor database."""
    error_id = secrets.token_hex(4)
    log.error(
        "error %s at %s %s; its traceback is the one just before", error_id, request.method, request.path
    )
    return HttpResponse(loader.get_template("500.html").render({"error_id": error_id}), status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that was sent from a page too old, or from elsewhere."""
    return render(request, "csrf_failure.html", status=403)
