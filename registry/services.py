"""What people do to models and versions: keyword-only, `actor` required, the first line allows or refuses.

Connections have a module of their own, offered here too. The work of an import is in `registry.importing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from console import audit, operations
from console.access import require
from console.lifecycle import IllegalTransition, fire, note
from console.models import Operation, Workspace
from console.problems import Problem, ProblemError
from registry import deleting, importing, validators
from registry.connections import create_connection, delete_connection, update_connection
from registry.deleting import users_of
from registry.lifecycle import PUBLISHING
from registry.models import Connection, FormerModel, Label, Model, Version
from registry.numbers import LARGEST_RANK, number_of, rank_of
from registry.sources.base import check_bucket, check_folder

__all__ = [
    "cancel_import", "create_connection", "delete_connection", "delete_model", "delete_version",
    "edit_description", "edit_model_description", "import_version", "retry_version", "update_connection",
    "users_of",
]  # fmt: skip


def import_version(
    *,
    actor: Any,
    workspace: Workspace,
    name: str,
    connection: Connection,
    bucket: str,
    path: str,
    number: str = "",
    labels: Sequence[str] = (),
    description: str = "",
    deployment_types: Sequence[str] = validators.DEPLOYMENT_TYPES,
) -> Version:
    """Begin to import the package in the folder `path` of `bucket` as a version of the model `name`.

    `path` is the parent of `model/`: empty, or with or without a slash at its end. Without `number` the
    proposed one is taken. Returns the version, *publishing*, with its operation on the way. Raises
    ProblemError at the wrong field: `registry.field.*`, `registry.version.duplicate`, `.numbers_used_up`.
    """
    require(actor, "import", workspace)
    labels, deployment_types = list(labels), list(deployment_types)
    _valid("name", validators.validate_model_name, name)
    if number:
        _valid("version", validators.validate_model_version, number)
    _valid("labels", validators.validate_labels, labels)
    _valid("description", validators.validate_description, description)
    _valid("deployment_types", validators.validate_deployment_types, deployment_types)
    folder = _source("path", connection, workspace, bucket, path)
    try:
        with transaction.atomic():
            model = _model_named(name, workspace, actor, description)
            number = number or _proposal(model)
            version = Version.objects.create(
                model=model,
                workspace=workspace,
                owner=actor,
                status=PUBLISHING,
                number=number,
                number_rank=rank_of(number),
                ordinal=_next_ordinal(model, number),
                description=description,
                deployment_types=[each for each in validators.DEPLOYMENT_TYPES if each in deployment_types],
                connection=connection,
                source_bucket=bucket,
                source_path=folder,
            )
            version.labels.set(_labels(workspace, labels))
            told = {"bucket": bucket, "path": folder.rstrip("/")}
            note(version, "registry.version.import_started", actor=actor, params=told)
            audit.record("version.import", version, actor=actor, connection=connection.name, **told)
            operations.open(importing.IMPORT.name, version, actor=actor)
    except IntegrityError:
        raise ProblemError("registry.version.duplicate", field="version", name=name, version=number) from None
    return version


def retry_version(*, actor: Any, version: Version) -> None:
    """Take the files of a failed version anew. Raises IllegalTransition when it has not failed."""
    require(actor, "change", version)
    with transaction.atomic():
        fire(version, "retry", actor=actor, take=version.take + 1, size_bytes=0, manifest_digest="")
        audit.record("version.retry", version, actor=actor)
        operations.open(importing.IMPORT.name, version, actor=actor)


def cancel_import(*, actor: Any, version: Version) -> None:
    """Stop the import of a version and leave nothing of it behind; the version becomes Abnormal.

    A worker that is busy with it notices within a second or so. Raises IllegalTransition when no import is
    at work.
    """
    require(actor, "change", version)
    with transaction.atomic():
        operation = _live_import(version)
        if operation is None or not version.can("cancel"):
            raise IllegalTransition(version, "cancel")
        params = operation.params | {"cancelled_by": str(actor)}
        Operation.objects.filter(pk=operation.pk).update(params=params)
        operation.params = params
        audit.record("version.cancel", version, actor=actor)
        operations.request_cancel(operation)


def delete_version(*, actor: Any, version: Version) -> None:
    """Delete a version that no service uses; its files go first, then its row. There is no way back.

    Raises ProblemError `registry.version.in_use`, and IllegalTransition while it is imported or built.
    """
    require(actor, "change", version)
    with transaction.atomic():
        if users_of(version):
            raise ProblemError(deleting.in_use(version))
        fire(version, "delete", actor=actor)
        audit.record("version.delete", version, actor=actor)
        operations.open(deleting.DELETE.name, version, actor=actor)


def delete_model(*, actor: Any, model: Model) -> list[tuple[Version, Problem]]:
    """Delete every version of a model that can be deleted; the name goes with the last one.

    Returns the versions that stay, each with the reason: partial success is normal (facts §3.3).
    """
    require(actor, "change", model)
    refused: list[tuple[Version, Problem]] = []
    for version in model.versions.select_related("model", "workspace"):
        try:
            if version.status != "deleting":
                delete_version(actor=actor, version=version)
        except ProblemError as error:
            refused.append((version, error.problem))
        except IllegalTransition:
            facts = {"name": model.name, "version": version.number}
            refused.append((version, Problem("registry.version.busy", facts)))
    return refused


def edit_description(*, actor: Any, version: Version, description: str) -> None:
    """Change the description of a version; an event says so when it differs."""
    require(actor, "change", version)
    _valid("description", validators.validate_description, description)
    if description == version.description:
        return
    with transaction.atomic():
        version.description = description
        version.save(update_fields=["description"])
        note(version, "registry.version.description_changed", actor=actor)
        audit.record("version.describe", version, actor=actor, description=description)


def edit_model_description(*, actor: Any, model: Model, description: str) -> None:
    """Change the description of a model."""
    require(actor, "change", model)
    _valid("description", validators.validate_description, description)
    with transaction.atomic():
        model.description = description
        model.save(update_fields=["description"])
        audit.record("model.describe", model, actor=actor, description=description)


def _valid(field: str, validator: Callable[[Any], None], value: Any) -> None:
    """Run a form's validator; what it refuses becomes a ProblemError at `field`."""
    try:
        validator(value)
    except ValidationError as error:
        first = error.error_list[0]
        raise ProblemError(Problem(first.code or "", first.params or {}), field=field) from None


def _source(field: str, connection: Connection, workspace: Workspace, bucket: str, path: str) -> str:
    """The folder prefix of the source, once it is plain and the connection is the workspace's own."""
    if connection.workspace_id != workspace.pk:
        raise ProblemError("registry.source.connection_gone", field="connection")
    try:
        check_bucket(bucket, connection.buckets)
        return check_folder(path.strip("/") + "/" if path.strip("/") else "")
    except ProblemError as error:
        raise ProblemError(error.problem, field=field) from None


def _model_named(name: str, workspace: Workspace, actor: Any, description: str) -> Model:
    """The model, locked against other imports under its name; made when it is not there."""
    former = FormerModel.objects.filter(workspace=workspace, name=name).first()
    memory = {"last_ordinal": former.last_ordinal, "next_rank": former.next_rank} if former else {}
    model, _made = Model.objects.get_or_create(
        workspace=workspace, name=name, defaults={"owner": actor, "description": description, **memory}
    )
    return Model.objects.select_for_update().get(pk=model.pk)


def _proposal(model: Model) -> str:
    number = number_of(model.next_rank)
    if not number:
        last = number_of(LARGEST_RANK)
        raise ProblemError("registry.version.numbers_used_up", field="version", version=last)
    return number


def _next_ordinal(model: Model, number: str) -> int:
    """Take the next ordinal of the model, and remember that `number` was given."""
    model.last_ordinal += 1
    model.next_rank = max(model.next_rank, rank_of(number) + 1)
    model.save(update_fields=["last_ordinal", "next_rank"])
    return model.last_ordinal


def _labels(workspace: Workspace, names: Iterable[str]) -> list[Label]:
    return [Label.objects.get_or_create(workspace=workspace, name=name)[0] for name in names]


def _live_import(version: Version) -> Operation | None:
    return Operation.objects.filter(
        kind=importing.IMPORT.name, target_id=version.pk, state__in=Operation.LIVE
    ).first()
