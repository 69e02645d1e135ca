"""The work behind a deletion: the files go, then the row; the name remembers its numbers."""

from __future__ import annotations

from django.db import transaction
from django.db.models import RestrictedError
from django.utils.translation import gettext_lazy as _

from console.lifecycle import note
from console.models import Operation
from console.operations import Kind, Lease, LeaseLost, Permanent, register_kind
from console.problems import Problem
from registry import storage
from registry.discarding import discard
from registry.lifecycle import DELETING
from registry.models import FormerModel, Model, Version


def work(lease: Lease) -> None:
    """Remove the version of the operation; safe to do again from any point."""
    version = Version.objects.select_related("model").filter(pk=lease.operation.target_id).first()
    if version is None or version.status != DELETING:
        return
    lease.beat(stage="delete")
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
        # A service took it between the request and now; the version is without files, so it must go later.
        raise Permanent("registry.version.busy", name=version.model.name, version=version.number) from None


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
        note(version, problem=problem)


DELETE = register_kind(Kind("registry.delete_version", _("Delete a version"), failed=_deletion_failed))
