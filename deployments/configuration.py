"""What a service may be configured with: versions, specifications, counts, shares and variables, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils.crypto import salted_hmac

from console.access import visible_to
from console.models import Workspace
from console.problems import Problem, ProblemError
from deployments.models import RevisionTarget, ServiceRevision, Specification
from registry import launch
from registry.models import Version

DEFAULT_SPECIFICATION = "modelarts.vm.cpu.2u"
DEFAULT_TIMEOUT_SECONDS = 20 * 60
LEAST_TIMEOUT_MINUTES, MOST_TIMEOUT_MINUTES = 3, 120  # facts §4.2
MOST_INSTANCES = 128  # of one version (facts §4.4, design §12)
MOST_VARIABLES = 64
DEPLOYMENT_TYPE = "real-time"


@dataclass(frozen=True)
class TargetSpec:
    """One version to deploy: specification's code, number of compute nodes, share in percent, variables."""

    version_id: UUID
    specification: str = DEFAULT_SPECIFICATION
    instance_count: int = 1
    weight: int = 100
    envs: Mapping[str, str] = field(default_factory=dict)


Resolved = list[tuple[TargetSpec, Version, Specification]]


def resolve(
    targets: Sequence[TargetSpec],
    timeout_seconds: int,
    actor: Any,
    workspace: Workspace,
    kept: frozenset[Any] = frozenset(),
) -> Resolved:
    """The rows behind `targets`, or the first reason why not. Versions in `kept` run already and may stay."""
    if not LEAST_TIMEOUT_MINUTES * 60 <= timeout_seconds <= MOST_TIMEOUT_MINUTES * 60:
        raise ProblemError("deployments.timeout", "timeout", minutes=f"{timeout_seconds / 60:g}")
    if not targets:
        raise ProblemError("deployments.targets.none", "version")
    visible = visible_to(Version.objects.filter(workspace=workspace), actor).select_related("model")
    versions = visible.in_bulk([target.version_id for target in targets])
    resolved: Resolved = []
    for target in targets:
        version = versions.get(target.version_id)
        if version is None:
            raise ProblemError("deployments.version.missing", "version")
        if version in [other for _, other, _ in resolved]:
            raise ProblemError("deployments.version.twice", "version", version=str(version))
        if version.pk not in kept:
            require_deployable(version)
        resolved.append((target, version, _specification(target)))
    total = sum(target.weight for target in targets)
    if total != 100 or any(not 0 <= target.weight <= 100 for target in targets):
        raise ProblemError("deployments.targets.weights", "weight", sum=total)
    return resolved


def _specification(target: TargetSpec) -> Specification:
    """The specification of a target, whose count and variables are checked on the way."""
    if not 1 <= target.instance_count <= MOST_INSTANCES:
        count = {"count": target.instance_count, "limit": MOST_INSTANCES}
        raise ProblemError("deployments.targets.count", "instance_count", **count)
    if len(target.envs) > MOST_VARIABLES:
        params = {"count": len(target.envs), "limit": MOST_VARIABLES}
        raise ProblemError("deployments.variable.many", "envs", **params)
    for problem in check_variables(target.envs).values():
        raise ProblemError(problem, "envs")
    specification = Specification.objects.filter(code=target.specification, is_open=True).first()
    if specification is None:
        raise ProblemError(
            "deployments.specification.missing", "specification", specification=target.specification
        )
    return specification


def require_deployable(version: Version) -> None:
    if not version.is_deployable:
        params = {"version": str(version), "status": str(version.state.label)}
        raise ProblemError("deployments.version.not_normal", "version", **params)
    if DEPLOYMENT_TYPE not in version.deployment_types:
        raise ProblemError("deployments.version.type_not_allowed", "version", version=str(version))


def spec_of(target: RevisionTarget, instance_count: int | None = None) -> TargetSpec:
    """`target` as it would be asked for again."""
    return TargetSpec(
        version_id=target.version_id,
        specification=target.specification_id,
        instance_count=instance_count or target.instance_count,
        weight=target.weight,
        envs=target.envs,
    )


def check_variables(envs: Mapping[str, str]) -> dict[str, Problem]:
    """What is wrong with environment variables, by name; the form and `deploy` ask the same."""
    problems: dict[str, Problem] = {}
    for name, value in envs.items():
        if not launch.env_name_is_valid(name):
            problems[name] = Problem("deployments.variable.name", {"name": name[:80]})
        elif launch.forbidden_env(name):
            problems[name] = Problem("deployments.variable.forbidden", {"name": name})
        elif "\0" in value or len(value.encode(errors="replace")) > launch.ENV_VALUE_BYTES:
            problems[name] = Problem("deployments.variable.value", {"name": name})
    return problems


def key_of(target: TargetSpec, version: Version, specification: Specification) -> str:
    """What makes an instance what it is; a keyed digest, because variables may be confidential."""
    parts = [
        str(version.pk),
        version.manifest_digest,
        version.environment_id,
        specification.code,
        str(specification.cpu),
        specification.memory_mb,
        sorted(target.envs.items()),
    ]
    return salted_hmac("deployments.target", json.dumps(parts), algorithm="sha256").hexdigest()[:32]


def is_same(present: ServiceRevision, resolved: Resolved) -> bool:
    now = [(target.key, target.weight, target.instance_count) for target in present.targets.all()]
    return now == [(key_of(*row), row[0].weight, row[0].instance_count) for row in resolved]


def versions_of(revision: ServiceRevision) -> frozenset[Any]:
    return frozenset(revision.targets.values_list("version_id", flat=True))


def told(targets: Sequence[TargetSpec]) -> list[dict[str, Any]]:
    """What the audit trail keeps of a configuration: names of variables, never their values."""
    return [
        {
            "version": str(target.version_id),
            "specification": target.specification,
            "instance_count": target.instance_count,
            "weight": target.weight,
            "variables": sorted(target.envs),
        }
        for target in targets
    ]
