"""The sentences of normal events of a version (facts §3.4); abnormal events tell a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from console.events import register_events
from console.lifecycle import note
from console.problems import Problem

if TYPE_CHECKING:
    from registry.models import Version

register_events(
    {
        "registry.version.import_started": _("The import from %(bucket)s/%(path)s has started."),
        "registry.version.size_computed": _("The model size is computed: %(files)s files, %(size)s."),
        "registry.version.copy_started": _("Copying the model files has started."),
        "registry.version.files_imported": _(
            "The model files are imported: %(files)s files, %(size)s, %(seconds)s s."
        ),
        "registry.version.package_ready": _(
            "The package is checked: engine %(engine)s, runtime %(runtime)s."
        ),
        "registry.version.environment_started": _("Building the environment has started: %(requirements)s."),
        "registry.version.environment_reused": _(
            "The environment %(digest)s is reused: it holds %(packages)s packages."
        ),
        "registry.version.environment_built": _(
            "The environment %(digest)s is built: %(packages)s packages, %(seconds)s s."
        ),
        "registry.version.load_test_started": _(
            "The load test has started: the model is loaded in the sandbox."
        ),
        "registry.version.load_test_passed": _(
            "The load test passed: the model was ready after %(seconds)s s."
        ),
        "registry.version.sample_predicted": _(
            "The sample request of the package was answered with a prediction."
        ),
        "registry.version.environment_ready": _("The model is imported."),
        "registry.version.retry": _("The import is retried."),
        "registry.version.delete": _("Deleting the version has started."),
        "registry.version.description_changed": _("The description was changed."),
    }
)


def tell_once(version: Version, code: str = "", *, problem: Problem | None = None, **params: Any) -> None:
    """Leave an event unless the same one was left since the status last changed.

    For steps that a killed worker may take again: what happened twice is told once.
    """
    told = (
        {"code": problem.code, "params": dict(problem.params)}
        if problem
        else {"code": code, "params": params}
    )
    if not version.events.filter(created_at__gte=version.status_since, **told).exists():
        note(version, code, problem=problem, params=params)
