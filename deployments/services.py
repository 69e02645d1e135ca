"""Everything that changes a service. Each call says who acts, asks whether they may, and changes what is
wanted; the converge loop makes it true.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.utils import timezone

from console import audit, operations
from console.access import require
from console.lifecycle import IllegalTransition, LostRace, fire, note
from console.models import Workspace
from console.problems import Problem, ProblemError
from deployments import lifecycle
from deployments.configuration import (
    DEFAULT_SPECIFICATION,
    DEFAULT_TIMEOUT_SECONDS,
    Resolved,
    TargetSpec,
    is_same,
    key_of,
    require_deployable,
    resolve,
    spec_of,
    told,
    versions_of,
)
from deployments.converge import CONVERGE
from deployments.models import AccessKey, RevisionTarget, Service, ServiceRevision, Specification
from registry import validators

__all__ = ["TargetSpec"]


def deploy(
    *,
    actor: Any,
    workspace: Workspace,
    name: str,
    targets: Sequence[TargetSpec],
    description: str = "",
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS,
) -> Service:
    """Create a service and begin to deploy it; returns at once with status *deploying*.

    Raises Denied, and ProblemError at the field `name`, `description`, `version`, `specification`,
    `instance_count`, `weight`, `envs` or `timeout`; then nothing was written.
    """
    require(actor, "deploy", workspace)
    with transaction.atomic():
        _take_turn(actor)
        resolved = check_deploy(
            actor=actor,
            workspace=workspace,
            name=name,
            targets=targets,
            description=description,
            timeout_seconds=timeout_seconds,
        )
        service = _create(actor, workspace, name, description)
        _add_revision(service, 1, resolved, timeout_seconds, actor)
        AccessKey.objects.create(
            service=service, name="default", secret=secrets.token_urlsafe(32), created_by=actor
        )
        note(service, "deployments.service.deploy", actor=actor)
        audit.record("service.deploy", service, actor=actor, targets=told(targets))
        operations.open(CONVERGE.name, service, actor=actor)
    return service


def check_deploy(
    *,
    actor: Any,
    workspace: Workspace,
    name: str,
    targets: Sequence[TargetSpec],
    description: str = "",
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS,
) -> Resolved:
    """Raise what `deploy` would raise now, writing nothing: for the page before the confirmation."""
    require(actor, "deploy", workspace)
    _check(validators.validate_model_name, name, "name")
    _check(validators.validate_description, description, "description")
    _refuse_over_quota(actor)
    if Service.objects.filter(workspace=workspace, name=name).exists():
        raise ProblemError("deployments.service.name_taken", "name", name=name)
    return resolve(targets, timeout_seconds, actor, workspace)


def modify(
    *, actor: Any, service: Service, targets: Sequence[TargetSpec], timeout_seconds: int | None = None
) -> Service:
    """Give the service a new configuration: a new revision, rolled out with no gap.

    A configuration equal to the present one changes nothing. One given to a stopped or abnormal service
    takes effect at its next start. Raises what `deploy` raises, IllegalTransition and LostRace.
    """
    require(actor, "change", service)
    if not service.can_modify:
        raise IllegalTransition(service, "revise")
    with transaction.atomic():
        present = service.revisions.get(number=service.wanted_revision)
        timeout_seconds = timeout_seconds or present.timeout_seconds
        resolved = resolve(targets, timeout_seconds, actor, service.workspace, kept=versions_of(present))
        if timeout_seconds == present.timeout_seconds and is_same(present, resolved):
            return service
        number = (service.revisions.aggregate(last=Max("number"))["last"] or 0) + 1
        if service.status in lifecycle.RESTING:
            _move(service, "revise", wanted_revision=number)
            note(service, "deployments.service.revised_at_rest", actor=actor, params={"number": number})
        else:
            fire(
                service,
                "revise",
                actor=actor,
                params={"number": number},
                wanted_revision=number,
                deploy_started_at=timezone.now(),
            )
        _add_revision(service, number, resolved, timeout_seconds, actor)
        audit.record("service.modify", service, actor=actor, number=number, targets=told(targets))
        operations.open(CONVERGE.name, service, actor=actor)
    return service


def scale(*, actor: Any, service: Service, instance_count: int, version_id: UUID | None = None) -> Service:
    """Change the number of compute nodes of one version (of the only one when none is named)."""
    require(actor, "change", service)
    specs = [
        spec_of(target, instance_count if version_id in (None, target.version_id) else None)
        for target in targets_of(service)
    ]
    return modify(actor=actor, service=service, targets=specs)


def roll_back_to(*, actor: Any, service: Service, number: int) -> Service:
    """Configure the service as in an earlier revision: a new revision equal to that one.

    Raises ServiceRevision.DoesNotExist for an unknown number and what `modify` raises.
    """
    require(actor, "change", service)
    revision = service.revisions.get(number=number)
    specs = [spec_of(target) for target in revision.targets.all()]
    return modify(actor=actor, service=service, targets=specs, timeout_seconds=revision.timeout_seconds)


def stop(*, actor: Any, service: Service) -> None:
    """Let the service finish its calls and end its instances. Raises IllegalTransition and LostRace."""
    _command(service, "stop", actor, desired=Service.STOP)


def start(*, actor: Any, service: Service) -> None:
    """Bring a stopped or abnormal service up again. Raises IllegalTransition, LostRace, ProblemError when a
    version of its configuration is not Normal any more.
    """
    require(actor, "change", service)
    if service.can("start"):
        for target in targets_of(service):
            require_deployable(target.version)
    _command(
        service,
        "start",
        actor,
        desired=Service.RUN,
        deploy_started_at=timezone.now(),
        problem_code="",
        problem_params={},
    )


def delete(*, actor: Any, service: Service) -> None:
    """End the service for good: its address, keys, configurations and logs go. Cannot be undone."""
    _command(service, "delete", actor, desired=Service.DELETE)


def edit_description(*, actor: Any, service: Service, description: str) -> None:
    """Change the description; raises ProblemError at `description`."""
    require(actor, "change", service)
    _check(validators.validate_description, description, "description")
    with transaction.atomic():
        if not Service.objects.filter(pk=service.pk).update(description=description):
            raise LostRace(service, "description")
        note(service, "deployments.service.description", actor=actor)
        audit.record("service.edit_description", service, actor=actor)
    service.description = description


def seed_specifications() -> None:
    """Make sure that the documented public specification is there (facts §4.3); safe to repeat."""
    Specification.objects.get_or_create(
        code=DEFAULT_SPECIFICATION,
        defaults={
            "name_en": "CPU: 2 vCPUs 8 GiB",
            "name_zh": "CPU 2核 8GiB",
            "cpu": 2,
            "memory_mb": 8192,
            "position": 10,
        },
    )


def targets_of(service: Service) -> list[RevisionTarget]:
    """The targets of the configuration that is wanted now."""
    rows = RevisionTarget.objects.select_related("version__model", "specification", "revision")
    return list(rows.filter(revision__service=service, revision__number=service.wanted_revision))


def _command(service: Service, trigger: str, actor: Any, **changes: Any) -> None:
    """A person's wish: one conditional update, its event, its audit entry, and the work."""
    require(actor, "change", service)
    with transaction.atomic():
        fire(service, trigger, actor=actor, **changes)
        audit.record(f"service.{trigger}", service, actor=actor)
        operations.open(CONVERGE.name, service, actor=actor)


def _move(service: Service, trigger: str, **changes: Any) -> None:
    """Change a service that stays in its status; raises LostRace like `fire`."""
    rows = Service.objects.filter(pk=service.pk, status=service.status, revision=service.revision)
    if rows.update(revision=F("revision") + 1, **changes) != 1:
        raise LostRace(service, trigger)
    service.revision += 1
    for name, value in changes.items():
        setattr(service, name, value)


def _take_turn(actor: Any) -> None:
    """Hold the actor's row until the transaction ends, so that two deployments count one after the other."""
    get_user_model().objects.filter(pk=actor.pk).update(is_active=F("is_active"))


def _refuse_over_quota(actor: Any) -> None:
    """Stopped and abnormal services count; one that is being deleted is as good as gone (facts §4.1)."""
    limit = settings.SLIPWAY_SERVICES_PER_USER
    count = Service.objects.filter(owner=actor).exclude(status=lifecycle.DELETING).count()
    if count >= limit:
        raise ProblemError("deployments.service.quota", count=count, limit=limit)


def _create(actor: Any, workspace: Workspace, name: str, description: str) -> Service:
    try:
        with transaction.atomic():
            return Service.objects.create(
                workspace=workspace,
                owner=actor,
                name=name,
                description=description,
                status=lifecycle.DEPLOYING,
            )
    except IntegrityError as error:
        raise ProblemError("deployments.service.name_taken", "name", name=name) from error


def _add_revision(
    service: Service, number: int, resolved: Resolved, timeout_seconds: int, actor: Any
) -> None:
    revision = ServiceRevision.objects.create(
        service=service, number=number, author=actor, timeout_seconds=timeout_seconds
    )
    for target, version, specification in resolved:
        RevisionTarget.objects.create(
            revision=revision,
            version=version,
            weight=target.weight,
            specification=specification,
            instance_count=target.instance_count,
            environment_variables=json.dumps(dict(target.envs), ensure_ascii=False, sort_keys=True),
            key=key_of(target, version, specification),
        )


def _check(validator: Callable[[str], None], value: str, field: str) -> None:
    """Ask a shape's validator; its refusal as a problem at `field`."""
    try:
        validator(value)
    except ValidationError as error:
        first = error.error_list[0]
        raise ProblemError(Problem(first.code or "", dict(first.params or {})), field) from error
