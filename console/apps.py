"""The project package is an app too: it owns workspaces, operations and the audit trail."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ConsoleConfig(AppConfig):
    name = "console"
    verbose_name = _("Console")

    def ready(self) -> None:
        from console import celery, events, operations, refusals  # noqa: F401  (their registrations)
