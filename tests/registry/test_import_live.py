"""Whole imports with the real uv, the real sandbox and the real predictor; no broker and no worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry import services
from registry.models import Connection, Version
from tests.needs import needs_sandbox
from tests.registry.conftest import codes, run_import

pytestmark = [pytest.mark.live, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _sandbox() -> None:
    needs_sandbox()


def begin(owner: Any, connection: Connection, path: str, **more: Any) -> Version:
    given: dict[str, Any] = {"name": path.strip("/") or "model", "bucket": "models", "path": path} | more
    return services.import_version(
        actor=owner, workspace=connection.workspace, connection=connection, **given
    )


@pytest.mark.parametrize("package", ["onnx-digits", "xgboost-iris", "sklearn-wine"])
def test_an_example_becomes_normal(
    package: str, owner: Any, connection: Connection, examples: Path, clean_var: Path
) -> None:
    version = begin(owner, connection, package)
    operation = run_import(version)
    assert operation.state == "succeeded", (operation.problem, [line.text for line in operation.lines.all()])
    assert version.status == "published"
