"""How templates speak of operations: what one does, what it works on, how far it is."""

from __future__ import annotations

from typing import Any

from console import jobs
from console.components import Components
from console.models import Operation

register = Components()
register.filter("kind_label", jobs.kind_label)


@register.filter
def target_url(operation: Operation) -> str:
    """The page of the operation's target; empty when it has none."""
    return operation.target_path


@register.component
def job_progress(operation: Operation) -> dict[str, Any]:
    """How far an operation has come."""
    return {"stage": jobs.stage_label(operation)}
