"""Whole imports with the real uv, sandbox and predictor; no broker and no worker process."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.db import connection as database

from console import operations
from console.models import Operation
from registry import discarding, environments, importing, services, storage
from registry.models import Connection, Environment, Version
from tests.needs import needs_sandbox
from tests.registry.conftest import CONFIG, artifacts_of, codes, run_import, write_package
from tests.waiting import until

pytestmark = [pytest.mark.live, pytest.mark.django_db(transaction=True)]

CODE = """
from model_service.python_model_service import XgSklServingBaseService

class Service(XgSklServingBaseService):
    def __init__(self, model_name, model_path):
        %s

    def _preprocess(self, data):
        return data

    def _inference(self, data):
        return {}

    def _postprocess(self, data):
        return data
"""


@pytest.fixture(scope="module", autouse=True)
def _packages_are_downloaded_once() -> None:
    """uv's cache outlives the tests' own folder, so that running them again needs no network."""
    needs_sandbox()
    cache = Path(configured.SLIPWAY_VAR) / "uv-cache"
    kept = Path(configured.BASE_DIR) / "var" / "test-uv-cache"
    kept.mkdir(parents=True, exist_ok=True)
    if not cache.exists():
        cache.symlink_to(kept, target_is_directory=True)


@pytest.fixture(autouse=True)
def _nothing_is_left(clean_var: Path) -> Iterator[None]:
    """However a test ends: no half-made file, no trial, no process of one."""
    yield
    assert not list((clean_var / "artifacts" / ".incoming").glob("*"))
    assert not list((clean_var / "trials").glob("*"))
    assert not list((clean_var / "environments").glob(".building-*"))
    assert not _processes_of(clean_var / "trials")


def _processes_of(folder: Path) -> list[str]:
    needle, found = os.fsencode(folder), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if needle in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def begin(owner: Any, connection: Connection, path: str, **more: Any) -> Version:
    given: dict[str, Any] = {"name": path, "bucket": "models", "path": path} | more
    return services.import_version(
        actor=owner, workspace=connection.workspace, connection=connection, **given
    )


def log_of(operation: Operation) -> str:
    return "\n".join(operation.lines.values_list("text", flat=True))


def assert_failed(version: Version, operation: Operation, status: str, code: str) -> None:
    """The version failed for that reason, and nothing of the attempt is left."""
    assert (operation.state, operation.problem_code) == ("failed", code), log_of(operation)
    assert version.status == status
    event = version.events.get(revision=version.revision)
    assert (event.kind, event.code) == ("abnormal", code)
    assert event.sentence and event.problem.fix
    assert not version.files.exists() and artifacts_of(version) == [] and version.environment is None


@pytest.mark.parametrize(
    ("package", "engine"),
    [("onnx-digits", "ONNX"), ("xgboost-iris", "XGBoost"), ("sklearn-wine", "Scikit_Learn")],
)
def test_an_example_becomes_normal(
    package: str, engine: str, owner: Any, connection: Connection, examples: Path
) -> None:
    version = begin(owner, connection, package)
    operation = run_import(version)
    assert operation.state == "succeeded", (operation.problem, log_of(operation))
    assert (version.status, version.engine) == ("published", engine)
    events = codes(version)
    assert events[-1] == "registry.version.environment_ready"
    assert "registry.version.load_test_passed" in events and "registry.version.sample_predicted" in events
    assert version.environment is not None and environments.find(version.environment.digest) is not None
    source = examples / package
    for file in version.files.all():
        stored = storage.read(version.artifact_prefix, file.path, 1 << 24)
        assert stored == (source / file.path).read_bytes() and len(file.sha256) == 64


def test_a_second_import_with_the_same_needs_builds_nothing(
    owner: Any, connection: Connection, examples: Path
) -> None:
    first, second = (begin(owner, connection, "onnx-digits") for _ in range(2))
    run_import(first)
    began = time.monotonic()
    run_import(second)
    assert second.environment_id == first.environment_id
    assert "registry.version.environment_reused" in codes(second)
    assert time.monotonic() - began < 30


def test_a_dependency_that_does_not_exist_is_unresolvable(
    owner: Any, connection: Connection, bucket: Path
) -> None:
    needs = {"package_name": "numpy", "package_version": "0.0.1", "restraint": "EXACT"}
    config = CONFIG | {"dependencies": [{"installer": "pip", "packages": [needs]}]}
    write_package(bucket / "needy", {"model/a.m": "x", "model/config.json": config})
    version = begin(owner, connection, "needy")
    operation = run_import(version)
    assert_failed(version, operation, "building_failed", "registry.environment.unresolvable")
    assert "numpy" in version.events.first().sentence
    assert not Environment.objects.exists()


def test_a_model_that_is_no_model_does_not_load(owner: Any, connection: Connection, bucket: Path) -> None:
    write_package(bucket / "noise", {"model/a.m": b"\x00not a pickle", "model/config.json": CONFIG})
    version = begin(owner, connection, "noise")
    assert_failed(version, run_import(version), "building_failed", "registry.trial.load_failed")


def test_an_onnx_file_that_is_none_does_not_load(owner: Any, connection: Connection, bucket: Path) -> None:
    write_package(bucket / "noise", {"model/a.onnx": b"onnx?"})
    version = begin(owner, connection, "noise")
    assert_failed(version, run_import(version), "building_failed", "registry.trial.load_failed")


def test_a_model_that_hangs_on_load_is_stopped(
    owner: Any, connection: Connection, bucket: Path, settings: Any
) -> None:
    settings.SLIPWAY_TRIAL_SECONDS = 3
    package = bucket / "slow"
    write_package(package, {"model/a.m": "x", "model/config.json": CONFIG})
    hang = "import time\n        time.sleep(600)"
    write_package(package, {"model/customize_service.py": _code(hang)})
    version = begin(owner, connection, "slow")
    assert_failed(version, run_import(version), "building_failed", "registry.trial.hung")


def test_a_model_that_ends_its_process_crashes(owner: Any, connection: Connection, bucket: Path) -> None:
    package = bucket / "suicide"
    crash = "import os\n        os._exit(7)"
    files = {"model/a.m": "x", "model/config.json": CONFIG, "model/customize_service.py": _code(crash)}
    write_package(package, files)
    version = begin(owner, connection, "suicide")
    assert_failed(version, run_import(version), "building_failed", "registry.trial.crashed")


def test_a_sample_that_is_refused_fails_the_load_test(
    owner: Any, connection: Connection, examples: Path
) -> None:
    (examples / "xgboost-iris/model/sample.json").write_text(json.dumps({"nothing": "of it"}))
    version = begin(owner, connection, "xgboost-iris")
    assert_failed(version, run_import(version), "building_failed", "registry.trial.sample_failed")


def test_cancelled_during_the_load_test_no_process_is_left(
    owner: Any, connection: Connection, bucket: Path, clean_var: Path
) -> None:
    hang = "import time\n        time.sleep(600)"
    files = {"model/a.m": "x", "model/config.json": CONFIG, "model/customize_service.py": _code(hang)}
    write_package(bucket / "slow", files)
    version = begin(owner, connection, "slow")

    def cancel_when_it_runs() -> None:
        try:
            until(lambda: _processes_of(clean_var / "trials"), 200, "the load test")
            services.cancel_import(actor=owner, version=Version.objects.get(pk=version.pk))
        finally:
            database.close()

    person = threading.Thread(target=cancel_when_it_runs)
    person.start()
    operation = run_import(version)
    person.join(30)
    assert operation.state == "cancelled" and version.status == "building_failed"
    assert version.events.first().code == "registry.version.cancelled"
    assert artifacts_of(version) == []


@pytest.mark.parametrize("step", ["copied", "checked", "environment", "load_test"])
def test_killed_between_two_steps_the_import_ends_once_and_whole(
    step: str, owner: Any, connection: Connection, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The worker's process ends here."""

    from registry import building, trial

    where: Any = {
        "copied": (storage, "copy_in"),
        "checked": (importing, "_check"),
        "environment": (environments, "ensure"),
        "load_test": (trial, "run"),
    }[step]
    real = getattr(*where)

    def killed(*args: Any, **kwargs: Any) -> Any:
        real(*args, **kwargs)
        raise Killed

    assert building.trial is trial
    version = begin(owner, connection, "onnx-digits")
    with monkeypatch.context() as patch:
        patch.setattr(*where, killed)
        operation = Operation.objects.get(target_id=version.pk)
        with pytest.raises(Killed):
            operations.run(operation.pk, importing.work)
    Operation.objects.update(lease_until="2000-01-01T00:00Z")
    operation = run_import(version)
    assert operation.state == "succeeded" and version.status == "published"
    events = codes(version)
    assert len(events) == len(set(events)), events
    files = [storage.StoredFile(file.path, file.size_bytes, file.sha256) for file in version.files.all()]
    assert storage.verify(version.artifact_prefix, files) == []
    assert Version.objects.count() == Environment.objects.count() == 1


def test_a_deleted_version_leaves_neither_files_nor_environment(
    owner: Any, connection: Connection, examples: Path
) -> None:
    from registry import deleting

    version = begin(owner, connection, "onnx-digits")
    run_import(version)
    services.delete_version(actor=owner, version=version)
    operation = Operation.objects.get(target_id=version.pk, kind=deleting.DELETE.name)
    assert operations.run(operation.pk, deleting.work) == "succeeded"
    assert artifacts_of(version) == [] and not Version.objects.exists()
    assert environments.find(version.environment_id) is not None
    discarding.tidy(keep_environment=timedelta(0))
    assert environments.find(version.environment_id) is None
    assert not Environment.objects.filter(digest=version.environment_id).exists()


def _code(body: str) -> str:
    return CODE % body
