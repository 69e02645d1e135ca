"""What the stages of an import and a deletion are called on the pages."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

STAGES: dict[str, str | Promise] = {
    "": _("Waiting for a worker"),
    "list": _("Computing the model size"),
    "copy": _("Copying the model files"),
    "check": _("Checking the package"),
    "environment": _("Building the environment"),
    "load_test": _("Load test"),
    "delete": _("Deleting the files"),
}


def stage_label(stage: str) -> str:
    """The words for `stage`, in the reader's language; the stage itself when it has none."""
    return str(STAGES.get(stage, stage))
