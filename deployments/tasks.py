"""Celery tasks of services: thin doors to the converge loop."""

from __future__ import annotations

from celery import shared_task

from console import operations
from deployments import converge


@shared_task(name="deployments.converge")
def converge_service(operation_id: str) -> str:
    """Bring one service to what is wanted of it."""
    return operations.run(operation_id, converge.work)


@shared_task(name="deployments.watch")
def watch() -> int:
    """Look at every service; every 15 s."""
    return converge.watch()
