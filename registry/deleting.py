"""The work behind a deletion: the files go, then the row; the name remembers its numbers."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import RestrictedError
from django.db.models.deletion import Collector
from django.utils.translation import gettext_lazy as _

from console.models import Operation
from console.operations import Kind, Lease, LeaseLost, Permanent, register_kind
from console.problems import Problem
from registry import storage
from registry.discarding import discard
from registry.events import tell_once
from registry.lifecycle import DELETING
from registry.models import FormerModel, Model, Version


def work(lease: Lease) -> None:
    """Remove the version of the operation; safe to do again from any point."""
    version = Version.objects.select_related("model").filter(pk=lease.operation.target_id).first()
    if version is None or version.status != DELETING:
        return
    lease.beat(stage="delete")
    # A service may have taken it between the request and now: then it stays whole until that service goes.
    if users_of(version):
        raise Permanent(in_use(version))
    storage.remove(version.artifact_prefix)
    try:
        with transaction.atomic():
            if not lease.still_held():
                raise LeaseLost
            model = Model.objects.select_for_update().get(pk=version.model_id)
            discard(version.artifact_prefix)
            version.delete()
            _forget_if_empty(model)
    except RestrictedError:
        raise Permanent(in_use(version)) from None


def users_of(version: Version) -> list[Any]:
    """What would be left without this version: the services that other apps protect it with.

    The registry does not know services; it asks the database layer what restricts the deletion, and each
    such row for the thing that it belongs to (its `service`, or itself).
    """
    collector = Collector(using="default", origin=version)
    try:
        collector.collect([version])
    except RestrictedError as error:
        return list(dict.fromkeys(_owner_of(row) for row in error.restricted_objects))
    return []


def _owner_of(row: Any) -> Any:
    service = getattr(getattr(row, "revision", row), "service", None)
    return service if service is not None else row


def in_use(version: Version) -> Problem:
    """Why a version that services use is not deleted, with their names."""
    services = ", ".join(str(service) for service in users_of(version))
    facts = {"name": version.model.name, "version": version.number, "services": services}
    return Problem("registry.version.in_use", facts)


def _forget_if_empty(model: Model) -> None:
    if model.versions.exists():
        return
    FormerModel.objects.update_or_create(
        workspace_id=model.workspace_id,
        name=model.name,
        defaults={"last_ordinal": model.last_ordinal, "next_rank": model.next_rank},
    )
    model.delete()


def _deletion_failed(operation: Operation, problem: Problem) -> None:
    """Tell it on the version's page; it stays *deleting*, and the next tidy tries again."""
    version = Version.objects.filter(pk=operation.target_id).first()
    if version is not None:
        tell_once(version, problem=problem)


DELETE = register_kind(Kind("registry.delete_version", _("Delete a version"), failed=_deletion_failed))
