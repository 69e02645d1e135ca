from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeploymentsConfig(AppConfig):
    """Services: what runs."""

    name = "deployments"
    verbose_name = _("Service Deployment")

    def ready(self) -> None:
        from deployments import events, problems, services  # noqa: F401  (their registrations)
