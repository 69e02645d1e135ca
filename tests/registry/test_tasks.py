"""The work behind imports and deletions: killed anywhere, done twice, refused, cancelled, tidied.

uv and the load test are answered at once here (`plain_doors`); `test_import_live` uses the real ones.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database
from django.utils import timezone

from console import operations
from console.models import Operation, Workspace
from console.operations import Cancelled
from console.problems import ProblemError
from registry import deleting, discarding, importing, package_source, services, storage, tasks
from registry.models import Connection, Discarded, Environment, Model, Version, VersionFile
from registry.sources.local import LocalStore
from tests.registry.conftest import CONFIG, artifacts_of, codes, run_import, write_package
from tests.registry.s3 import ACCESS_KEY, SECRET_KEY, free_port, serve_s3
from tests.registry.test_services import use

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("clean_var")]

MODEL = b"never unpickled here" * 1000
PACKAGE = {
    "model/wine.m": MODEL,
    "model/config.json": CONFIG,
    "model/data/rows.csv": "a,b\n",
    "README.md": "no",
}
HAPPY = [
    "registry.version.import_started",
    "registry.version.size_computed",
    "registry.version.files_imported",
    "registry.version.package_ready",
    "registry.version.environment_started",
    "registry.version.environment_built",
    "registry.version.load_test_started",
    "registry.version.load_test_passed",
    "registry.version.environment_ready",
]


class Killed(BaseException):
    """The worker's process ends here: nothing in it may catch this."""


@pytest.fixture
def version(owner: Any, connection: Connection, bucket: Path) -> Version:
    write_package(bucket / "wine", PACKAGE)
    return services.import_version(
        actor=owner, workspace=connection.workspace, connection=connection,
        name="wine", bucket="models", path="wine",
    )  # fmt: skip


def again(owner: Any, connection: Connection, **more: Any) -> Version:
    given: dict[str, Any] = {"name": "wine", "bucket": "models", "path": "wine"} | more
    return services.import_version(
        actor=owner, workspace=connection.workspace, connection=connection, **given
    )


def operation_of(version: Version) -> Operation:
    return Operation.objects.filter(target_id=version.pk).latest("created_at")


def let_go(operation: Operation) -> None:
    """The lease of a killed worker has run out."""
    Operation.objects.filter(pk=operation.pk, state="running").update(
        lease_until=timezone.now() - timedelta(seconds=1)
    )


def assert_whole(version: Version) -> None:
    version.refresh_from_db()
    assert version.status == "published"
    assert codes(version) == HAPPY
    files = {file.path: file for file in version.files.all()}
    assert sorted(files) == ["model/config.json", "model/data/rows.csv", "model/wine.m"]
    assert storage.verify(version.artifact_prefix, [as_stored(file) for file in files.values()]) == []
    assert version.size_bytes == sum(file.size_bytes for file in files.values())
    assert version.environment is not None and version.engine == "Scikit_Learn"


def assert_nothing_left(version: Version, status: str, code: str) -> None:
    version.refresh_from_db()
    assert version.status == status
    last = version.events.filter(revision=version.revision).get()
    assert (last.kind, last.code) == ("abnormal", code)
    assert not version.files.exists() and artifacts_of(version) == []
    assert version.environment is None and version.manifest_digest == "" and version.size_bytes == 0


def as_stored(file: VersionFile) -> storage.StoredFile:
    return storage.StoredFile(file.path, file.size_bytes, file.sha256)


def test_an_import_becomes_normal_with_the_documented_events(version: Version, plain_doors: Any) -> None:
    operation = run_import(version)
    assert operation.state == "succeeded"
    assert_whole(version)
    assert plain_doors["ensure"][0][0].startswith("scikit-learn")
    (spec,) = plain_doors["trial"]
    assert (Path(spec.package_dir) / "model/wine.m").read_bytes() == MODEL


def test_only_the_package_is_taken_and_nothing_beside_it(version: Version, plain_doors: Any) -> None:
    run_import(version)
    assert not any("README" in path for path in artifacts_of(version))


def test_a_second_package_with_the_same_needs_reuses_the_environment(
    version: Version, owner: Any, connection: Connection, plain_doors: Any
) -> None:
    run_import(version)
    second = again(owner, connection)
    run_import(second)
    assert second.environment == Version.objects.get(pk=version.pk).environment
    assert "registry.version.environment_reused" in codes(second)
    assert Environment.objects.count() == 1


def test_killed_before_any_write_the_next_run_ends_with_one_result(
    version: Version, owner: Any, connection: Connection, plain_doors: Any
) -> None:
    """Every INSERT, UPDATE and DELETE of an import in turn is where the worker's process ends."""
    point = 0
    while True:
        point += 1
        subject = version if point == 1 else again(owner, connection)
        plain_doors["installed"].clear()
        Environment.objects.filter(versions=None).delete()
        operation = operation_of(subject)
        if not _killed_at(point, operation):
            break
        let_go(operation)
        run_import(subject)
        subject.refresh_from_db()
        assert subject.status == "published", (point, codes(subject))
        events = [code for code in codes(subject) if not code.startswith("registry.version.environment_")]
        assert events == [code for code in HAPPY if not code.startswith("registry.version.environment_")], (
            point
        )
        gave = ("registry.version.environment_built", "registry.version.environment_reused")
        assert len([code for code in codes(subject) if code in gave]) == 1, point
        assert storage.verify(subject.artifact_prefix, [as_stored(f) for f in subject.files.all()]) == [], (
            point
        )
        services.delete_version(actor=owner, version=subject)
        operations.run(operation_of(subject).pk, deleting.work)
    assert point > 15, "the import wrote less than it must: the kills were not tried"


def _killed_at(point: int, operation: Operation) -> bool:
    """Run the import until its write number `point`; false when it has fewer."""
    seen = 0

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal seen
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            seen += 1
            if seen == point:
                raise Killed
        return execute(sql, params, many, context)

    with database.execute_wrapper(wrapper):
        try:
            operations.run(operation.pk, importing.work)
        except Killed:
            return True
    return False


def test_killed_in_the_middle_of_a_file_the_copy_goes_on_where_it_stopped(
    version: Version, bucket: Path, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets = []
    real = LocalStore.stream

    def stream(self: Any, where: str, entry: Any, offset: int = 0) -> Any:
        offsets.append((entry.name, offset))
        for count, chunk in enumerate(real(self, where, entry, offset)):
            half = len(chunk) // 2
            yield chunk[:half]
            if entry.name == "wine.m" and len(offsets) == 3 and count == 0:
                raise Killed
            yield chunk[half:]

    monkeypatch.setattr(LocalStore, "stream", stream)
    with pytest.raises(Killed):
        operations.run(operation_of(version).pk, importing.work)
    let_go(operation_of(version))
    run_import(version)
    assert_whole(version)
    assert offsets[2][0] == offsets[3][0] == "wine.m" and offsets[3][1] > 0
    assert len(offsets) == 4, "files that were stored already are not read again"


def test_a_long_copy_goes_on_in_slices(
    version: Version, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "SLICE_SECONDS", 0.0)
    operation = operation_of(version)
    assert operations.run(operation.pk, importing.work) == "queued again"
    monkeypatch.setattr(operations, "SLICE_SECONDS", 45.0)
    run_import(version)
    assert_whole(version)


def test_a_stale_worker_changes_nothing(version: Version, plain_doors: Any) -> None:
    stale = operations.claim(operation_of(version).pk)
    assert stale is not None
    let_go(operation_of(version))
    run_import(version)
    with pytest.raises(operations.LeaseLost):
        stale.operation.target_id = version.pk
        Version.objects.filter(pk=version.pk).update(status="publishing")
        importing.work(stale)
    Version.objects.filter(pk=version.pk).update(status="published")
    assert_whole(version)


def test_delivered_twice_it_is_done_once(version: Version, plain_doors: Any) -> None:
    operation = run_import(version)
    assert tasks.import_version(str(operation.pk)) == "not ours"
    assert_whole(version)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"other/wine.m": "x"}, "registry.package.subpath_missing"),
        ({"wine.m": "x", "config.json": CONFIG}, "registry.package.model_chosen"),
        ({"model/wine.m": "x"}, "registry.package.config_missing"),
        (
            {"model/a.m": "x", "model/b.m": "x", "model/config.json": CONFIG},
            "registry.package.model_file_more_than_one",
        ),
        ({"model/config.json": CONFIG}, "registry.package.model_file_missing"),
        ({"model/a.m": "x", "model/config.json": "{"}, "registry.package.config_not_json"),
        (
            {"model/a.m": "x", "model/config.json": CONFIG | {"model_type": "Kaffe"}},
            "registry.package.engine_unknown",
        ),
        ({"model/a.m": "x", "model/config.json": CONFIG | {"oops": 1}}, "registry.package.key_unknown"),
        ({"model/a.m": "", "model/config.json": CONFIG}, "registry.package.model_file_empty"),
        (
            {"model/a.m": "x", "model/config.json": CONFIG, "model/customize_service.py": "import os"},
            "registry.package.code_class_missing",
        ),
    ],
)  # fmt: skip
def test_a_bad_package_fails_with_its_reason_and_leaves_nothing(
    files: dict[str, Any], code: str, owner: Any, connection: Connection, bucket: Path, plain_doors: Any
) -> None:
    write_package(bucket / "bad", files)
    version = again(owner, connection, name="bad", path="bad")
    operation = run_import(version)
    assert (operation.state, operation.problem_code) == ("failed", code)
    assert_nothing_left(version, "failed", code)


def test_every_problem_of_a_package_is_told(
    owner: Any, connection: Connection, bucket: Path, plain_doors: Any
) -> None:
    write_package(
        bucket / "bad", {"model/a.m": "x", "model/b.m": "x", "model/config.json": CONFIG | {"oops": 1}}
    )
    version = again(owner, connection, name="bad", path="bad")
    run_import(version)
    told = {"registry.package.key_unknown", "registry.package.model_file_more_than_one"}
    assert told <= set(version.events.filter(kind="abnormal").values_list("code", flat=True))


def test_a_legacy_runtime_is_accepted_with_an_event_that_names_both(
    owner: Any, connection: Connection, bucket: Path, plain_doors: Any
) -> None:
    write_package(bucket / "old", {"model/a.m": "x", "model/config.json": CONFIG | {"runtime": "python3.6"}})
    version = again(owner, connection, name="old", path="old")
    run_import(version)
    assert version.status == "published"
    event = version.events.get(code="registry.package.runtime_aliased")
    assert (event.params["runtime"], event.params["used"]) == ("python3.6", version.runtime)
    assert "python3.6" in event.sentence and version.runtime in event.sentence


def test_larger_than_the_limit_is_refused_before_the_copy(
    version: Version, plain_doors: Any, settings: Any
) -> None:
    settings.SLIPWAY_MODEL_BYTES = 1000
    run_import(version)
    assert_nothing_left(version, "failed", "registry.source.too_large")


def test_over_the_quota_is_refused_and_what_others_have_counts(
    version: Version, owner: Any, connection: Connection, plain_doors: Any, settings: Any
) -> None:
    settings.SLIPWAY_ARTIFACT_QUOTA_BYTES = 30_000
    run_import(version)
    second = again(owner, connection)
    run_import(second)
    assert_nothing_left(second, "failed", "registry.storage.quota")
    assert_whole(version)


def test_a_full_disk_fails_with_its_reason(version: Version, plain_doors: Any, settings: Any) -> None:
    settings.SLIPWAY_DISK_FLOOR_BYTES = 1 << 60
    run_import(version)
    assert_nothing_left(version, "failed", "registry.storage.full")


@pytest.mark.parametrize("harm", ["vanished", "changed"])
def test_a_file_that_does_not_stay_as_it_was_listed_fails_the_import(
    harm: str, version: Version, bucket: Path, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.copy_in

    def copy_in(*args: Any, **kwargs: Any) -> Any:
        victim = bucket / "wine/model/wine.m"
        victim.unlink() if harm == "vanished" else victim.write_bytes(b"other")
        return real(*args, **kwargs)

    monkeypatch.setattr(storage, "copy_in", copy_in)
    run_import(version)
    assert_nothing_left(version, "failed", f"registry.source.{harm}")


def test_a_storage_that_is_away_is_tried_again_with_growing_pauses_and_then_given_up(
    version: Version, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Any) -> Any:
        raise ProblemError("registry.source.unreachable", detail="connection refused")

    monkeypatch.setattr(package_source.PackageSource, "inspect", away)
    operation, pauses = operation_of(version), []
    for _attempt in range(operations.MOST_ATTEMPTS - 1):
        Operation.objects.filter(pk=operation.pk).update(not_before=None)
        before = timezone.now()
        assert operations.run(operation.pk, importing.work) == "queued again"
        operation.refresh_from_db()
        pauses.append((operation.not_before - before).total_seconds())
        version.refresh_from_db()
        assert version.status == "publishing" and operation.problem_code == "registry.source.unreachable"
    assert pauses == sorted(pauses) and pauses[-1] > 2 * pauses[0]
    run_import(version)
    assert_nothing_left(version, "failed", "registry.source.unreachable")


def test_a_storage_that_comes_back_is_imported_from(
    version: Version, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Any) -> Any:
        monkeypatch.undo_inspect()
        raise ProblemError("registry.source.unreachable", detail="timeout")

    real = package_source.PackageSource.inspect
    monkeypatch.undo_inspect = lambda: setattr(package_source.PackageSource, "inspect", real)  # type: ignore[attr-defined]
    monkeypatch.setattr(package_source.PackageSource, "inspect", away)
    run_import(version)
    assert_whole(version)


def test_the_connection_was_removed_meanwhile(
    version: Version, connection: Connection, plain_doors: Any
) -> None:
    connection.delete()
    run_import(version)
    assert_nothing_left(version, "failed", "registry.source.connection_gone")


@pytest.mark.parametrize(
    ("door", "code"),
    [
        ("ensure", "registry.environment.unresolvable"),
        ("trial", "registry.trial.load_failed"),
        ("trial", "registry.trial.hung"),
    ],
)
def test_a_failure_of_the_building_half_leaves_nothing(
    door: str, code: str, version: Version, plain_doors: Any
) -> None:
    plain_doors["fail"][door] = ProblemError(code, detail="why", seconds=1)
    run_import(version)
    assert_nothing_left(version, "building_failed", code)
    discarding.tidy(keep_environment=timedelta(0))
    assert not Environment.objects.exists() and plain_doors["installed"] == {}


def test_a_retry_after_a_failed_build_takes_what_was_corrected(
    version: Version, owner: Any, bucket: Path, plain_doors: Any
) -> None:
    plain_doors["fail"]["trial"] = ProblemError("registry.trial.load_failed", detail="why")
    run_import(version)
    del plain_doors["fail"]["trial"]
    (bucket / "wine/model/wine.m").write_bytes(b"corrected")
    services.retry_version(actor=owner, version=version)
    run_import(version)
    assert version.status == "published"
    assert storage.read(version.artifact_prefix, "model/wine.m", 100) == b"corrected"


@pytest.mark.parametrize("stage", ["copy", "environment", "load_test"])
def test_cancelled_at_any_stage_nothing_is_left(
    stage: str, version: Version, owner: Any, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = operations.Lease.beat

    def beat(self: Any, **told: Any) -> None:
        if told.get("stage") == stage:
            services.cancel_import(actor=owner, version=Version.objects.get(pk=version.pk))
            told["force"] = True
        real(self, **told)

    monkeypatch.setattr(operations.Lease, "beat", beat)
    operation = run_import(version)
    assert operation.state == "cancelled"
    status = "failed" if stage == "copy" else "building_failed"
    assert_nothing_left(version, status, "registry.version.cancelled")
    assert str(owner) in version.events.first().sentence


def test_a_worker_that_is_lost_for_good_fails_the_version(version: Version, plain_doors: Any) -> None:
    operation = operation_of(version)
    for _attempt in range(operations.MOST_ATTEMPTS):
        assert operations.claim(operation.pk) is not None
        let_go(operation)
    operations.sweep()
    assert_nothing_left(version, "failed", "worker.lost")


def test_a_bug_fails_the_version_with_a_number(
    version: Version, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(storage, "manifest_digest", broken)
    operation = run_import(version)
    assert_nothing_left(version, "failed", "worker.internal")
    assert str(operation.pk) in version.events.first().sentence


def test_an_environment_that_was_removed_meanwhile_is_built_again(
    version: Version, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry import environments

    answers = [None]
    monkeypatch.setattr(
        environments,
        "find",
        lambda digest: answers.pop() if answers else plain_doors["installed"].get(digest),
    )
    run_import(version)
    assert version.status == "published" and len(plain_doors["ensure"]) == 2


@pytest.mark.live
def test_a_package_is_imported_from_s3_as_from_a_folder(
    workspace: Workspace, owner: Any, admin_user: Any, tmp_path: Path, plain_doors: Any
) -> None:
    write_package(tmp_path / "s3/models/wine", PACKAGE)
    with serve_s3(tmp_path / "s3") as server:
        given = {"endpoint": server.endpoint, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        connection = services.create_connection(
            actor=admin_user, workspace=workspace, name="s3", kind="s3", **given
        )
        version = again(owner, connection)
        run_import(version)
        assert_whole(version)
        wrong = services.create_connection(
            actor=admin_user, workspace=workspace, name="wrong", kind="s3", **given | {"secret_key": "x" * 20}
        )
        refused = again(owner, wrong, name="refused")
        run_import(refused)
        assert_nothing_left(refused, "failed", "registry.source.forbidden")


def test_an_s3_server_that_is_away_is_waited_for(
    workspace: Workspace, owner: Any, admin_user: Any, plain_doors: Any
) -> None:
    connection = services.create_connection(
        actor=admin_user,
        workspace=workspace,
        name="s3",
        kind="s3",
        endpoint=f"http://127.0.0.1:{free_port()}",
    )
    version = again(owner, connection)
    operation = operation_of(version)
    assert operations.run(operation.pk, importing.work) == "queued again"
    operation.refresh_from_db()
    assert operation.problem_code == "registry.source.unreachable" and operation.not_before is not None


# --- deletion and tidying -------------------------------------------------------------------------------


def delete(version: Version, owner: Any) -> Operation:
    services.delete_version(actor=owner, version=version)
    return operation_of(version)


def test_a_deletion_removes_files_and_row_and_keeps_a_shared_environment(
    version: Version, owner: Any, connection: Connection, plain_doors: Any
) -> None:
    run_import(version)
    second = again(owner, connection)
    run_import(second)
    operation = delete(version, owner)
    assert tasks.delete_version(str(operation.pk)) == "succeeded"
    assert not Version.objects.filter(pk=version.pk).exists() and artifacts_of(version) == []
    discarding.tidy(keep_environment=timedelta(0))
    assert Environment.objects.count() == 1 and len(plain_doors["installed"]) == 1
    delete(second, owner)
    assert tasks.delete_version(str(operation_of(second).pk)) == "succeeded"
    assert not Model.objects.exists()
    discarding.tidy(keep_environment=timedelta(0))
    assert not Environment.objects.exists() and plain_doors["installed"] == {}


def test_a_deletion_killed_half_way_is_finished_by_the_next_run(
    version: Version, owner: Any, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_import(version)
    operation = delete(version, owner)
    real = storage.remove

    def kill(prefix: str) -> None:
        real(prefix)
        raise Killed

    monkeypatch.setattr(storage, "remove", kill)
    with pytest.raises(Killed):
        operations.run(operation.pk, deleting.work)
    monkeypatch.setattr(storage, "remove", real)
    let_go(operation)
    assert operations.run(operation.pk, deleting.work) == "succeeded"
    assert not Version.objects.exists()


def test_a_deletion_that_gave_up_is_taken_up_by_the_tidy(
    version: Version, owner: Any, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_import(version)
    operation = delete(version, owner)

    def broken(prefix: str) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove", broken)
        assert operations.run(operation.pk, deleting.work) == "failed"
    version.refresh_from_db()
    assert version.status == "deleting" and version.events.first().code == "worker.internal"
    tasks.tidy()
    assert operations.run(operation_of(version).pk, deleting.work) == "succeeded"
    assert not Version.objects.exists()


def test_a_service_that_came_between_keeps_the_version_whole_until_it_goes(
    version: Version, owner: Any, plain_doors: Any
) -> None:
    run_import(version)
    operation = delete(version, owner)
    service = use(version)
    assert operations.run(operation.pk, deleting.work) == "failed"
    version.refresh_from_db()
    assert version.status == "deleting" and version.events.first().code == "registry.version.in_use"
    files = [as_stored(file) for file in version.files.all()]
    assert files and storage.verify(version.artifact_prefix, files) == []
    service.delete()
    tasks.tidy()
    assert operations.run(operation_of(version).pk, deleting.work) == "succeeded"
    assert not Version.objects.exists()


def test_what_could_not_be_removed_at_once_is_removed_by_the_tidy(
    version: Version, plain_doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_doors["fail"]["trial"] = ProblemError("registry.trial.load_failed", detail="why")

    def broken(prefix: str) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove", broken)
        run_import(version)
    assert version.status == "building_failed" and artifacts_of(version) != []
    tasks.tidy()
    assert artifacts_of(version) == []
    Discarded.objects.update(created_at=timezone.now() - timedelta(hours=1))
    tasks.tidy()
    assert not Discarded.objects.exists()


def test_the_tidy_leaves_what_is_being_imported(version: Version, plain_doors: Any, bucket: Path) -> None:
    lease = operations.claim(operation_of(version).pk)
    assert lease is not None
    seen: list[str] = []
    real = storage.copy_in

    def stop_half_way(*args: Any, **kwargs: Any) -> Any:
        def keep(file: Any) -> None:
            kwargs_on_file(file)
            raise Cancelled

        kwargs_on_file = kwargs.pop("on_file")
        return real(*args, on_file=keep, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "copy_in", stop_half_way)
        with pytest.raises(Cancelled):
            importing.work(lease)
    seen = artifacts_of(version)
    tasks.tidy()
    assert artifacts_of(version) == seen != []


def test_an_environment_without_a_row_is_adopted_and_removed_in_its_time(plain_doors: Any) -> None:
    from registry import environments

    environments.ensure(["x"], on_line=print, should_stop=lambda: False)
    discarding.tidy()
    assert Environment.objects.count() == 1 and len(plain_doors["installed"]) == 1
    Environment.objects.update(created_at=timezone.now() - timedelta(hours=2))
    discarding.tidy()
    assert not Environment.objects.exists() and plain_doors["installed"] == {}


def test_every_task_has_the_name_of_its_kind() -> None:
    assert tasks.import_version.name == importing.IMPORT.name == "registry.import_version"
    assert tasks.delete_version.name == deleting.DELETE.name == "registry.delete_version"
    assert tasks.tidy.name == "registry.tidy"
    assert set(operations.kinds) >= {"registry.import_version", "registry.delete_version"}
