"""The jobs pages: what the ledger of operations shows, and what people may do to it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from console import audit, operations
from console.access import may, require, visible_to
from console.models import Operation, Workspace
from console.problems import ProblemError, register

register(
    "console.job.not_cancellable",
    title=_("Cannot be cancelled"),
    cause=_("This job has ended, or it is of a kind that must run to its end."),
    fix=_("Look at its result on this page."),
    documented="ModelArts.3519",
    http=409,
)


def job_list(actor: Any, workspace: Workspace, *, state: str = "", search: str = "") -> QuerySet[Operation]:
    """The workspace's operations that the actor sees, newest first."""
    rows = visible_to(Operation.objects.filter(workspace=workspace), actor).select_related("actor")
    if state in Operation.STATES:
        rows = rows.filter(state=state)
    if search:
        rows = rows.filter(target_name__icontains=search)
    return rows


def kind_label(operation: Operation) -> str:
    """What the operation does, in the reader's language."""
    kind = operations.kinds.get(operation.kind)
    return str(kind.label) if kind else operation.kind


def stage_label(operation: Operation) -> str:
    """What the operation is at, in the reader's language; empty before it says."""
    kind = operations.kinds.get(operation.kind)
    return str(kind.stages.get(operation.stage, operation.stage)) if kind else operation.stage


def can_cancel(actor: Any, operation: Operation) -> bool:
    """Whether the actor could cancel the operation now."""
    kind = operations.kinds.get(operation.kind)
    return bool(operation.is_live and kind and kind.is_cancellable and may(actor, "import", operation))


def cancel_job(*, actor: Any, operation: Operation) -> None:
    """Ask the operation to stop and leave nothing behind. Raises ProblemError when it cannot be cancelled."""
    require(actor, "import", operation)
    kind = operations.kinds.get(operation.kind)
    if not (kind and kind.is_cancellable and operations.request_cancel(operation)):
        raise ProblemError("console.job.not_cancellable")
    audit.record("job.cancel", operation, actor=actor)
