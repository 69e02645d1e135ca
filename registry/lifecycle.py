"""The life of a version: stored values are the documented API's, labels the documented words (facts §3.1).

A failed version owns no files, so `retry` always takes them anew: what was corrected at the source counts.
"""

from __future__ import annotations

from django.utils.translation import pgettext_lazy

from console.lifecycle import Lifecycle, Status

PUBLISHING, BUILDING, PUBLISHED = "publishing", "building", "published"
FAILED, BUILDING_FAILED, DELETING = "failed", "building_failed", "deleting"

VERSION = Lifecycle(
    statuses=[
        Status(PUBLISHING, pgettext_lazy("version status", "Importing"), "busy", is_busy=True),
        Status(BUILDING, pgettext_lazy("version status", "Building"), "busy", is_busy=True),
        Status(PUBLISHED, pgettext_lazy("version status", "Normal"), "ok"),
        Status(FAILED, pgettext_lazy("version status", "Abnormal"), "bad"),
        Status(BUILDING_FAILED, pgettext_lazy("version status", "Abnormal"), "bad"),
        Status(DELETING, pgettext_lazy("version status", "Deleting"), "busy", is_busy=True),
    ],
    table={
        "package_ready": {PUBLISHING: BUILDING},
        "fail": {PUBLISHING: FAILED},
        # Resolving and downloading packages can take minutes: whoever started that may stop it too.
        "cancel": {PUBLISHING: FAILED, BUILDING: BUILDING_FAILED},
        "environment_ready": {BUILDING: PUBLISHED},
        "build_failed": {BUILDING: BUILDING_FAILED},
        "edit_dependencies": {PUBLISHED: BUILDING, BUILDING_FAILED: BUILDING},
        "replace_files": {PUBLISHED: PUBLISHING},
        "retry": {FAILED: PUBLISHING, BUILDING_FAILED: PUBLISHING},
        "delete": {PUBLISHED: DELETING, FAILED: DELETING, BUILDING_FAILED: DELETING},
    },
)
