"""What the pages list and show. Every selector starts from what the actor may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Max, Prefetch, QuerySet
from django.db.models.functions import Lower

from console.access import visible_to
from console.models import Operation, Workspace
from registry import lifecycle
from registry.models import Connection, FormerModel, Model, Version, VersionEvent, VersionFile
from registry.numbers import number_of

MODEL_SORTS = {
    "name": [Lower("name"), "pk"],
    "-name": [Lower("name").desc(), "pk"],
    "created": ["created_at", "pk"],
    "-created": ["-created_at", "pk"],
    "imported": ["latest_at", "pk"],
    "-imported": ["-latest_at", "pk"],
}
"""What `?sort=` of the model list may say; the default is the last."""


def model_list(
    actor: Any, workspace: Workspace | None, *, search: str = "", status: str = "", sort: str = "-imported"
) -> QuerySet[Model]:
    """The workspace's models, each with `version_count`, `latest_at` and its versions, newest number first.

    `search` is part of a name, `status` a status that at least one version has. Two queries for a page.
    """
    rows = visible_to(Model.objects.filter(workspace=workspace), actor)
    if search:
        rows = rows.filter(name__icontains=search)
    if status:
        rows = rows.filter(pk__in=Version.objects.filter(status=status).values("model"))
    # The count leaves out models whose first version is not committed yet or whose last is just going.
    rows = rows.annotate(version_count=Count("versions"), latest_at=Max("versions__created_at"))
    rows = rows.filter(version_count__gt=0)
    newest_first = Version.objects.order_by("-number_rank").defer("config", "apis", "requirements")
    return rows.order_by(*MODEL_SORTS.get(sort, MODEL_SORTS["-imported"])).prefetch_related(
        Prefetch("versions", newest_first)
    )


def models_of(actor: Any, workspace: Workspace | None) -> QuerySet[Model]:
    """The models that the actor sees in a workspace, by name."""
    return visible_to(Model.objects.filter(workspace=workspace), actor).order_by("name")


def versions_of(actor: Any, workspace: Workspace | None) -> QuerySet[Version]:
    """The versions that the actor sees in a workspace."""
    return visible_to(Version.objects.filter(workspace=workspace), actor).select_related("model", "workspace")


def version_detail(actor: Any, workspace: Workspace | None) -> QuerySet[Version]:
    """Versions with all that their page shows in few queries; the view picks one by name and number or id."""
    rows = versions_of(actor, workspace).select_related("owner", "connection", "environment")
    return rows.prefetch_related("labels")


def deployable_versions(
    actor: Any, workspace: Workspace | None, deployment_type: str = "real-time"
) -> list[Version]:
    """The Normal versions that may be deployed as `deployment_type`, by model name, newest number first."""
    rows = versions_of(actor, workspace).filter(status=lifecycle.PUBLISHED)
    rows = rows.order_by("model__name", "-number_rank")
    # In Python: SQLite cannot ask what a JSON list contains, and a workspace's versions are few.
    return [version for version in rows if deployment_type in version.deployment_types]


def last_problem(version: Version) -> VersionEvent | None:
    """The event that says why the version failed: the one of its last transition."""
    if version.status not in (lifecycle.FAILED, lifecycle.BUILDING_FAILED):
        return None
    return version.events.filter(revision=version.revision, kind=VersionEvent.ABNORMAL).first()


def files_of(version: Version) -> QuerySet[VersionFile]:
    """The files of a version by path; those without a SHA-256 are still to be copied."""
    return version.files.order_by("path")


def operation_of(version: Version) -> Operation | None:
    """The work that is going on for a version, or the last that was."""
    return Operation.objects.filter(target_id=version.pk).order_by("-created_at").first()


@dataclass(frozen=True)
class Proposal:
    """What the import form begins with for a name: the number, and what the newest version says."""

    number: str
    latest: Version | None = None


def proposal_for(actor: Any, workspace: Workspace | None, name: str) -> Proposal:
    """The number to propose for the model `name`, 0.0.1 for a new one, and its newest version if any."""
    model = models_of(actor, workspace).filter(name=name).first() if name else None
    if model is None:
        former = visible_to(FormerModel.objects.filter(workspace=workspace, name=name), actor).first()
        return Proposal(number_of(former.next_rank if former else 1))
    newest_first = model.versions.select_related("connection").order_by("-number_rank")
    return Proposal(number_of(model.next_rank), newest_first.prefetch_related("labels").first())


def connection_list(actor: Any, workspace: Workspace | None) -> QuerySet[Connection]:
    """The workspace's connections by name."""
    return visible_to(Connection.objects.filter(workspace=workspace), actor).order_by(Lower("name"))


def connection_versions(connection: Connection) -> QuerySet[Version]:
    """The versions that came through a connection."""
    rows = Version.objects.filter(connection=connection).select_related("model")
    return rows.order_by("model__name", F("number_rank").desc())
