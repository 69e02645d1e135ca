"""Fixtures of the registry's tests: a bucket of real packages, and imports run to their end in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from console import operations
from console.models import Operation, Workspace
from registry import importing
from registry.models import Connection, Version

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def bucket(tmp_path: Path, settings: Any) -> Path:
    """The folder of a bucket `models` beneath the only root that local connections may have."""
    root = tmp_path / "objects"
    settings.SLIPWAY_LOCAL_ROOTS = [str(root)]
    made = root / "models"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def connection(workspace: Workspace, bucket: Path) -> Connection:
    return Connection.objects.create(
        workspace=workspace, name="local", kind=Connection.LOCAL, root=str(bucket.parent)
    )


@pytest.fixture
def examples(bucket: Path) -> Path:
    """The bucket with every package of `examples/` in it."""
    for package in EXAMPLES.iterdir():
        if (package / "model").is_dir():
            shutil.copytree(package, bucket / package.name)
    return bucket


@pytest.fixture
def clean_var() -> Iterator[Path]:
    """The installation's folder, with no artifacts before and after the test."""
    var = Path(settings.SLIPWAY_VAR)
    shutil.rmtree(var / "artifacts", ignore_errors=True)
    yield var
    shutil.rmtree(var / "artifacts", ignore_errors=True)


def write_package(parent: Path, files: dict[str, Any]) -> Path:
    """Write `files` (path -> bytes, text, or a JSON value) below `parent`; returns `parent`."""
    for path, content in files.items():
        target = parent / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return parent


def run_import(version: Version, most_slices: int = 50) -> Operation:
    """Run the import of `version` until its operation has ended, as the worker does; returns the operation."""
    operation = Operation.objects.get(target_id=version.pk, kind=importing.IMPORT.name, state__in=Operation.LIVE)
    for _slice in range(most_slices):
        Operation.objects.filter(pk=operation.pk).update(not_before=None)
        operations.run(operation.pk, importing.work)
        operation.refresh_from_db()
        if not operation.is_live:
            version.refresh_from_db()
            return operation
    raise AssertionError(f"the import has not ended after {most_slices} slices: {operation.stage}")


def codes(version: Version) -> list[str]:
    """The events of a version, oldest first."""
    return list(version.events.order_by("created_at", "id").values_list("code", flat=True))
