"""What the broker calls; each task hands over at once."""

from __future__ import annotations

from celery import shared_task

from console import operations
from registry import deleting, discarding, importing

# Building one environment is a single piece of up to four minutes, with the lease kept all the while.
SOFT_SECONDS, HARD_SECONDS = 600, 660


@shared_task(name=importing.IMPORT.name, soft_time_limit=SOFT_SECONDS, time_limit=HARD_SECONDS)
def import_version(operation_id: str) -> str:
    """One slice of an import."""
    return operations.run(operation_id, importing.work)


@shared_task(name=deleting.DELETE.name, soft_time_limit=SOFT_SECONDS, time_limit=HARD_SECONDS)
def delete_version(operation_id: str) -> str:
    """Remove a version."""
    return operations.run(operation_id, deleting.work)


@shared_task(name="registry.tidy")
def tidy() -> None:
    """Remove what was left behind; every five minutes."""
    discarding.tidy()
