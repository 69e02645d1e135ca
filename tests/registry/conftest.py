"""Fixtures of the registry's tests: a bucket of real packages, and imports run to their end in here."""

from __future__ import annotations

import hashlib
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
    """Run the import of `version` until its operation has ended, as the worker does; returns that."""
    operation = Operation.objects.get(
        target_id=version.pk, kind=importing.IMPORT.name, state__in=Operation.LIVE
    )
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


CONFIG = {"model_type": "Scikit_Learn", "model_algorithm": "predict_analysis"}


@pytest.fixture
def plain_doors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """uv and the load test answered at once, for tests of what stands around them.

    Returns what they were asked: `{"ensure": [requirements…], "trial": [spec…]}`. `installed` holds the
    environments that are "there"; `fail` maps "ensure" or "trial" to what they raise.
    """
    from registry import environments, trial

    asked: dict[str, Any] = {"ensure": [], "trial": [], "installed": {}, "fail": {}}

    def ensure(requirements: list[str], *, on_line: Any, should_stop: Any, **_more: Any) -> Any:
        asked["ensure"].append(list(requirements))
        if should_stop():
            from registry.doors import Stopped

            raise Stopped
        if "ensure" in asked["fail"]:
            raise asked["fail"]["ensure"]
        digest = hashlib.sha256(json.dumps(sorted(requirements)).encode()).hexdigest()
        reused = digest in asked["installed"]
        info = environments.EnvironmentInfo(digest, tmp_path, ["a==1"], reused=reused, size_bytes=10)
        asked["installed"][digest] = info
        return info

    def run(spec: Any, *, on_line: Any, should_stop: Any) -> Any:
        asked["trial"].append(spec)
        if "trial" in asked["fail"]:
            raise asked["fail"]["trial"]
        return trial.TrialResult(0.5, {}, {}, None)

    monkeypatch.setattr(environments, "ensure", ensure)
    monkeypatch.setattr(environments, "find", asked["installed"].get)
    monkeypatch.setattr(environments, "list_installed", lambda: list(asked["installed"].values()))
    monkeypatch.setattr(
        environments, "remove", lambda digest: asked["installed"].pop(digest, None) is not None
    )
    monkeypatch.setattr(trial, "run", run)
    return asked


def artifacts_of(version: Version) -> list[str]:
    """Everything that lies in the artifacts for any take of `version`, half-made things too."""
    top = Path(settings.SLIPWAY_VAR) / "artifacts"
    return [str(path) for path in top.rglob("*") if version.pk.hex in str(path)]
