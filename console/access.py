"""Who may do what: roles, the queryset that an actor sees, and the first line of every service (design §7).

Deny by default: an action that the table does not name is refused for everybody but operators. Selectors
start from `visible_to`, so a stranger meets 404 and never learns that a thing exists.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.utils.translation import gettext_lazy as _

from console.models import Membership, Role, Workspace
from console.problems import ProblemError, register

M = TypeVar("M", bound=Model)

register(
    "console.access.denied",
    title=_("Not allowed"),
    cause=_("Your role in this workspace does not allow this action."),
    fix=_("Ask an administrator of the workspace for the role that it needs."),
    http=403,
)

# The least role for each action. A developer changes what is theirs; an administrator changes everything.
LEAST_ROLE: dict[str, Role] = {
    "view": Role.VIEWER,
    "predict": Role.VIEWER,
    "import": Role.DEVELOPER,
    "deploy": Role.DEVELOPER,
    "change": Role.DEVELOPER,
    "manage_workspace": Role.ADMIN,
}
OWNERS_ONLY = {"change"}


class Denied(ProblemError):
    """The actor sees the thing but may not do this to it."""

    def __init__(self) -> None:
        super().__init__("console.access.denied")


def is_operator(actor: Any) -> bool:
    """Whether the actor runs the whole site."""
    return bool(actor and actor.is_active and actor.is_superuser)


def workspaces_of(actor: Any) -> QuerySet[Workspace]:
    """The workspaces that the actor belongs to; an operator belongs to all."""
    if is_operator(actor):
        return Workspace.objects.all()
    if not actor or not actor.is_authenticated or not actor.is_active:
        return Workspace.objects.none()
    return Workspace.objects.filter(memberships__user=actor)


def visible_to(rows: QuerySet[M], actor: Any) -> QuerySet[M]:
    """Those of `rows` (anything with a `workspace`) that the actor may see."""
    if is_operator(actor):
        return rows
    if not actor or not actor.is_authenticated or not actor.is_active:
        return rows.none()
    return rows.filter(workspace__in=workspaces_of(actor))


def role_in(actor: Any, workspace: Workspace) -> int:
    """The actor's role in `workspace`; 0 for a stranger."""
    if is_operator(actor):
        return Role.ADMIN
    if not actor or not actor.is_authenticated or not actor.is_active:
        return 0
    membership = Membership.objects.filter(workspace=workspace, user=actor).only("role").first()
    return membership.role if membership else 0


def may(actor: Any, action: str, target: Any) -> bool:
    """Whether `actor` may do `action` to `target`: a workspace, or anything with a `workspace`."""
    if is_operator(actor):
        return True
    least = LEAST_ROLE.get(action)
    if least is None:
        return False
    workspace = target if isinstance(target, Workspace) else target.workspace
    role = role_in(actor, workspace)
    if role >= Role.ADMIN or action not in OWNERS_ONLY:
        return role >= least
    return role >= least and getattr(target, "owner_id", None) == actor.pk


def require(actor: Any, action: str, target: Any) -> None:
    """The first line of a service: returns when the actor may, raises Denied otherwise."""
    if not may(actor, action, target):
        raise Denied
