"""What `gallery.html` shows: one example of every component's input, without a database."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.utils import timezone

from console.lifecycle import Status
from console.problems import Problem

STATUSES = {
    "ok": Status("ok", "Running", "ok"),
    "busy": Status("busy", "Deploying", "busy", is_busy=True),
    "warn": Status("warn", "Alarm", "warn"),
    "bad": Status("bad", "Abnormal", "bad"),
    "idle": Status("idle", "Stopped", "idle", is_final=True),
}


class GalleryForm(forms.Form):
    """One field of each kind."""

    name = forms.RegexField(r"^[\w-]+$", label="Name", max_length=64, help_text="Letters, digits, - and _.")
    description = forms.CharField(
        label="Description", required=False, widget=forms.Textarea(attrs={"rows": 2})
    )
    kind = forms.ChoiceField(
        label="Meta Model Source",
        choices=[("a", "Training job"), ("b", "Object storage")],
        widget=forms.RadioSelect,
    )
    types = forms.MultipleChoiceField(
        label="Deployment Type",
        choices=[("r", "Real-Time Services"), ("b", "Batch Services")],
        widget=forms.CheckboxSelectMultiple,
    )
    size = forms.ChoiceField(
        label="Specification",
        choices=[("s", "CPU: 1 vCPU 2 GiB"), ("m", "CPU: 2 vCPUs 8 GiB"), ("g", "GPU: 1 x T4")],
        widget=forms.RadioSelect,
    )
    count = forms.IntegerField(label="Compute Nodes", min_value=1, initial=1)
    auto_stop = forms.BooleanField(label="Auto Stop", required=False)
    choice = forms.ChoiceField(label="Version", choices=[("1", "0.0.1"), ("2", "0.0.2")])


def gallery_context() -> dict[str, Any]:
    """The context of `gallery.html`."""
    now = timezone.now()
    form = GalleryForm(
        {"name": "bad name!", "kind": "b", "size": "m", "types": ["r"], "count": "0", "choice": "1"}
    )
    rows = [
        {
            "name": f"digits-classifier {n}",
            "status": list(STATUSES.values())[n % 5],
            "size": 7_345_678 * (n + 1) ** 3,
            "child": n in (2, 3),
            "menu": f"row-{n}",
        }
        for n in range(6)
    ]
    problem = Problem("tests.missing", {})
    events = [
        SimpleNamespace(kind="normal", sentence="The model was imported.", created_at=now, actor="admin"),
        SimpleNamespace(
            kind="abnormal",
            sentence="The environment cannot be resolved: numpy 9.9 does not exist.",
            problem=SimpleNamespace(fix="Correct the version in config.json, then retry."),
            created_at=now - timedelta(minutes=4),
            actor=None,
        ),
    ]
    return {
        "statuses": STATUSES,
        "status_list": list(STATUSES.values()),
        "tones": list(STATUSES),
        "moments": {
            "minutes": now - timedelta(minutes=3),
            "hours": now - timedelta(hours=2),
            "days": now - timedelta(days=12),
        },
        "problem": problem,
        "uuid": "2f1d6c0e-8c0b-4f0e-9f53-0b7b0d1f3a52",
        "rows": rows,
        "page": Paginator(range(134), 20).page(4),
        "steps": ["Fill in", "Confirm", "Done"],
        "tab_items": [
            {"label": "Usage Guides", "url": "#", "active": True, "icon": "book"},
            {"label": "Prediction", "url": "#", "active": False},
            {"label": "Events", "url": "#", "active": False, "count": 12},
        ],
        "form": form,
        "details": {"s": {"text": "For small models"}, "g": {"disabled": "Not offered by this pool"}},
        "pairs": [
            {"key": "LOG_LEVEL", "value": "info"},
            {"key": "1BAD", "value": "x", "error": "Start with a letter."},
        ],
        "events": events,
        "curl": "curl -H 'X-Apig-AppCode: …' \\\n  -d '{\"inputs\": [[0, 1, 2]]}' \\\n  http://127.0.0.1:8080/v1/infers/2f1d",
        "lines": [
            SimpleNamespace(at=now - timedelta(seconds=60 - n), text=f"line {n} <b>") for n in range(40)
        ],
        "affected": ["digits-live", "digits-test"],
    }
