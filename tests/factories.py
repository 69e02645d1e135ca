"""Plain factories: each makes one valid thing, and takes what a test cares about."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.contrib.auth import get_user_model

from console.models import Membership, Role, Workspace
from registry import lifecycle, package
from registry.models import Environment, Model, Version

_numbers = count(1)


def make_workspace(name: str = "") -> Workspace:
    return Workspace.objects.create(name=name or f"workspace-{next(_numbers)}")


def make_user(workspace: Workspace | None = None, role: Role = Role.DEVELOPER, **fields: Any) -> Any:
    fields.setdefault("username", f"user-{next(_numbers)}")
    user = get_user_model().objects.create_user(password="correct horse", **fields)
    if workspace is not None:
        Membership.objects.create(workspace=workspace, user=user, role=role)
    return user


def make_environment(digest: str = "") -> Environment:
    return Environment.objects.create(
        digest=digest or f"{next(_numbers):064x}", engine="ONNX", runtime="onnxruntime"
    )


def make_model(workspace: Workspace, owner: Any = None, name: str = "") -> Model:
    return Model.objects.create(workspace=workspace, owner=owner, name=name or f"model-{next(_numbers)}")


def make_version(
    workspace: Workspace,
    owner: Any = None,
    *,
    model: Model | None = None,
    number: str = "0.0.1",
    status: str = lifecycle.PUBLISHED,
    **fields: Any,
) -> Version:
    model = model or make_model(workspace, owner)
    parts = [int(part) for part in number.split(".")]
    ordinal = model.last_ordinal + 1
    Model.objects.filter(pk=model.pk).update(last_ordinal=ordinal)
    model.last_ordinal = ordinal
    defaults: dict[str, Any] = {
        "number_rank": parts[0] * 10000 + parts[1] * 100 + parts[2],
        "ordinal": ordinal,
        "deployment_types": ["real-time", "batch", "edge"],
        "engine": "ONNX",
        "runtime": "onnxruntime1.31-python3.11",
        "model_file": "model/model.onnx",
        "manifest_digest": "0" * 64,
        "apis": package.inspect({"model/model.onnx": 1}, lambda path: b"").apis,
    }
    if status == lifecycle.PUBLISHED and "environment" not in fields:
        defaults["environment"] = make_environment()
    return Version.objects.create(
        model=model, workspace=workspace, owner=owner, number=number, status=status, **(defaults | fields)
    )
