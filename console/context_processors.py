"""What every page of the shell needs: product, workspace, navigation, languages, colour scheme.

Works for anonymous readers and on error pages; touches no table of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

THEMES = ("auto", "light", "dark")
THEME_COOKIE = "slipway_theme"

# Languages are offered in their own words, whatever the reader's language is.
LANGUAGE_NAMES = {"en": "English", "zh-hans": "简体中文"}


@dataclass(frozen=True)
class Entry:
    """One place of the side navigation; current when the view's name starts with one of `places`."""

    section: str | Promise
    label: str | Promise
    icon: str
    view: str
    places: tuple[str, ...]


MODELS, SERVICES = _("Model Management"), _("Service Deployment")
OPERATIONS, SETTINGS = _("Operations"), _("Settings")

# The documents' order (design §9). An entry shows when its view exists, so nothing here is a promise.
ENTRIES = (
    Entry("", _("Overview"), "layout-dashboard", "overview", ("overview",)),
    Entry("", _("Training Jobs"), "school", "registry:training_list", ("registry:training_",)),
    Entry(MODELS, _("Models"), "cube", "registry:model_list", ("registry:model_", "registry:version_")),
    Entry(MODELS, _("Optimized Models"), "bolt", "registry:optimized_list", ("registry:optimized_",)),
    Entry(MODELS, _("Templates"), "template", "registry:template_list", ("registry:template_",)),
    Entry(SERVICES, _("Real-Time Services"), "rocket", "deployments:service_list", ("deployments:service_",)),
    Entry(SERVICES, _("Batch Services"), "stack-2", "deployments:batch_list", ("deployments:batch_",)),
    Entry(SERVICES, _("Edge Services"), "router", "deployments:edge_list", ("deployments:edge_",)),
    Entry(OPERATIONS, _("Resource Pools"), "cpu", "deployments:pool_list", ("deployments:pool_",)),
    Entry(OPERATIONS, _("Access Keys"), "key", "deployments:key_list", ("deployments:key_",)),
    Entry(OPERATIONS, _("Jobs"), "activity", "job_list", ("job_",)),
    Entry(
        SETTINGS, _("Storage Connections"), "database", "registry:connection_list", ("registry:connection_",)
    ),
)


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context of `base.html` and of the stand-alone pages."""
    user = getattr(request, "user", None)
    return {
        "workspace": getattr(request, "workspace", None),
        "navigation": _navigation(request) if user is not None and user.is_authenticated else [],
        "other_languages": [
            {"code": code, "name": LANGUAGE_NAMES.get(code, label)}
            for code, label in settings.LANGUAGES
            if code != get_language()
        ],
        "theme": _theme(request),
        "themes": THEMES,
    }


def _theme(request: HttpRequest) -> str:
    chosen = request.COOKIES.get(THEME_COOKIE, "auto")
    return chosen if chosen in THEMES else "auto"


def _navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Sections in order, each `{"label": …, "items": [{label, url, icon, active}]}`."""
    match = getattr(request, "resolver_match", None)
    here = match.view_name if match else ""
    sections: list[dict[str, Any]] = []
    for entry in ENTRIES:
        try:
            url = reverse(entry.view)
        except NoReverseMatch:
            continue
        if not sections or sections[-1]["label"] != entry.section:
            sections.append({"label": entry.section, "items": []})
        active = here.startswith(entry.places)
        sections[-1]["items"].append({"label": entry.label, "url": url, "icon": entry.icon, "active": active})
    return sections
