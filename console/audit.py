"""The audit trail: who, what, when, from where (design §7)."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from console.models import AuditEntry, Workspace

# The address of the request being served; the middleware sets it, workers leave it empty.
origin: ContextVar[str | None] = ContextVar("origin", default=None)


def record(
    verb: str, target: Any = None, *, actor: Any, workspace: Workspace | None = None, **data: Any
) -> None:
    """Write one entry in the current transaction. `verb` is namespaced, such as `service.stop`; `data` is JSON-able
    and must hold no secret."""
    AuditEntry.objects.create(
        workspace=workspace or getattr(target, "workspace", None),
        actor=actor if getattr(actor, "pk", None) else None,
        actor_name=str(actor) if actor else "system",
        verb=verb,
        target_kind=target._meta.label_lower if target is not None else "",
        target_id=str(target.pk) if target is not None else "",
        target_name=str(target)[:140] if target is not None else "",
        data=data,
        address=origin.get(),
    )
