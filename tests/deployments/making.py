"""Plain factories and drivers for services."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from console import operations
from console.models import Operation
from deployments import converge, services
from deployments.models import Instance, Service
from deployments.services import TargetSpec
from registry.models import Version
from tests.factories import make_version

_numbers = count(1)


def make_service(
    owner: Any,
    workspace: Any,
    *,
    version: Version | None = None,
    name: str = "",
    instance_count: int = 1,
    envs: Mapping[str, str] | None = None,
    **fields: Any,
) -> Service:
    """A service that has just been asked for; `work_on` deploys it."""
    version = version or make_version(workspace, owner)
    target = TargetSpec(version.pk, instance_count=instance_count, envs=envs or {})
    return services.deploy(
        actor=owner,
        workspace=workspace,
        name=name or f"service-{next(_numbers)}",
        targets=[target],
        **fields,
    )


def work_on(service: Service, most: int = 30) -> Service:
    """Do what the workers would, until no work is live; returns the service as it is then."""
    for _ in range(most):
        live = Operation.objects.filter(target_id=service.pk, state__in=Operation.LIVE).first()
        if live is None:
            break
        Operation.objects.filter(pk=live.pk).update(not_before=None)
        operations.run(live.pk, converge.work)
    return Service.objects.filter(pk=service.pk).first() or service


def make_running(owner: Any, workspace: Any, **fields: Any) -> Service:
    """A service that runs; needs the fixtures `runtime` and `gateway`."""
    service = work_on(make_service(owner, workspace, **fields))
    assert service.status == "running", [event.sentence for event in service.events.all()]
    return service


def names_of(service: Service, *statuses: str) -> list[str]:
    """The names of the service's instances in these statuses."""
    return sorted(
        Instance.objects.filter(service=service, status__in=statuses).values_list("name", flat=True)
    )


def codes_of(service: Service) -> list[str]:
    """The codes of its events, oldest first."""
    return list(service.events.order_by("id").values_list("code", flat=True))
