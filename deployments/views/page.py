"""What the tabs of a service's page have in common."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from console.access import may
from deployments import selectors
from deployments.models import Service

TABS = {
    "guides": gettext_lazy("Usage Guides"),
    "prediction": gettext_lazy("Prediction"),
    "updates": gettext_lazy("Configuration Updates"),
    "instances": gettext_lazy("Instances"),
    "events": gettext_lazy("Events"),
    "logs": gettext_lazy("Logs"),
}
# These show what goes on, so they are part of what is polled; in the others somebody may be typing.
LIVE_TABS = ("instances", "events", "logs")


def page_context(request: HttpRequest, service: Service, tab: str) -> dict[str, Any]:
    """What every tab of the page shows around itself."""
    selectors.attach_targets([service])
    own = may(request.user, "change", service)
    query = request.GET.copy()
    query.pop("tag", None)
    query["tab"] = tab
    return {
        "service": service,
        "targets": service.targets_now,  # type: ignore[attr-defined]
        "tab": tab,
        "is_live_tab": tab in LIVE_TABS,
        "poll": f"{service.get_absolute_url()}?{query.urlencode()}",
        "tabs": [
            {"label": label, "url": f"{service.get_absolute_url()}?tab={name}", "active": name == tab}
            for name, label in TABS.items()
        ],
        "can": {
            "modify": own and service.can_modify,
            "start": own and service.can_start,
            "stop": own and service.can_stop,
            "delete": own and service.can_delete,
            "describe": own,
            "predict": may(request.user, "predict", service),
        },
    }


def digest_of(text: str) -> str:
    """A short digest, for the tag of a poll."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
