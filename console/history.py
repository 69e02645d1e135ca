"""The Events tab, the same for everything tracked (facts §3.4, §4.8)."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from console.models import Tracked, TransitionEvent

ROWS = 50


def events_of(subject: Tracked, kind: str = "") -> Any:
    """What happened to `subject`, newest first; `kind` "normal" or "abnormal" narrows it."""
    rows = subject.events.select_related("actor")
    return rows.filter(kind=kind) if kind in (TransitionEvent.NORMAL, TransitionEvent.ABNORMAL) else rows


def events_tab(request: HttpRequest, subject: Tracked) -> dict[str, Any]:
    """`page` of the events, their `kinds` as tabs, and a `tag` that changes when there are more."""
    kinds = {
        "": _("All types"),
        TransitionEvent.NORMAL: pgettext("event", "Normal"),
        TransitionEvent.ABNORMAL: pgettext("event", "Abnormal"),
    }
    kind = request.GET.get("kind", "")
    kind = kind if kind in kinds else ""
    page = Paginator(events_of(subject, kind), ROWS).get_page(request.GET.get("page"))
    return {
        "page": page,
        "tag": page.paginator.count,
        "kinds": [
            {"label": label, "url": f"?tab=events&kind={value}", "active": value == kind}
            for value, label in kinds.items()
        ],
    }
