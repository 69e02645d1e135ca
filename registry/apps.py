from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RegistryConfig(AppConfig):
    """Models and versions: what exists."""

    name = "registry"
    verbose_name = _("Model Management")

    def ready(self) -> None:
        from registry import events, problems, services  # noqa: F401  (their registrations)
