"""What every request carries: the workspace, the caller's address for the audit trail, refusals told as pages."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from console import audit
from console.access import workspaces_of
from console.lifecycle import IllegalTransition, LostRace
from console.models import Workspace
from console.problems import Problem, ProblemError

Handler = Callable[[HttpRequest], HttpResponse]


class WorkspaceMiddleware:
    """Sets `request.workspace` (the one chosen in this session, or the first, or None) and the audit origin."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.workspace = _workspace(request) if request.user.is_authenticated else None
        token = audit.origin.set(request.META.get("REMOTE_ADDR") or None)
        try:
            return self.get_response(request)
        finally:
            audit.origin.reset(token)


def _workspace(request: HttpRequest) -> Workspace | None:
    mine = workspaces_of(request.user)
    chosen = request.session.get("workspace")
    return (mine.filter(pk=chosen).first() if chosen else None) or mine.order_by("created_at").first()


class ProblemMiddleware:
    """Turns a refusal that a view let through into a page that names the cause and the fix."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, ProblemError):
            problem = error.problem
        elif isinstance(error, LostRace):
            problem = Problem("console.changed_meanwhile")
        elif isinstance(error, IllegalTransition):
            problem = Problem("console.not_in_this_state", {"status": str(error.obj.state.label)})
        else:
            return None
        return render(request, "console/refused.html", {"problem": problem}, status=problem.http)
