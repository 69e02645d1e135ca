"""Tasks of the shell: the sweep over the operation ledger."""

from __future__ import annotations

from celery import shared_task

from console import operations


@shared_task(name="console.sweep")
def sweep() -> None:
    """Heal the ledger; every 15 s."""
    operations.sweep()
