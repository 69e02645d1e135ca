"""The first half of an import, *publishing*: list what to take, copy it with hashes, check what was copied.

Every step looks at what the rows say is done and goes on from there, so the work may be killed between any
two of them and be done twice. Failures are told by raising; `import_failed` brings the version to its failed
status in the transaction that ends the operation.
"""

from __future__ import annotations

from typing import NoReturn

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from console import wording
from console.lifecycle import LostRace, advance, fire, note
from console.models import Operation
from console.operations import Again, Kind, Lease, LeaseLost, Permanent, Retry, register_kind
from console.problems import Problem, ProblemError
from registry import building, package, storage
from registry.connections import open_store
from registry.discarding import discard_files
from registry.doors import Stopped
from registry.events import tell_once
from registry.lifecycle import BUILDING, BUILDING_FAILED, FAILED, PUBLISHING
from registry.models import Version, VersionFile
from registry.package_source import READ_BYTES, PackageSource
from registry.storage import StoredFile

PASSING = {
    "registry.source.unreachable",
    "registry.source.truncated",
    "registry.storage.unreachable",
    "registry.environment.index_unreachable",
    "registry.environment.timed_out",
}
"""Problems of the outside that may pass: tried again, with growing pauses, before the import fails."""


def work(lease: Lease) -> None:
    """Do the import of the operation's version, from wherever it stands."""
    version = (
        Version.objects.select_related("model", "connection", "workspace", "environment")
        .filter(pk=lease.operation.target_id)
        .first()
    )
    if version is None:
        return
    try:
        if version.status == PUBLISHING:
            _publish(version, lease)
        if version.status == BUILDING:
            building.build(version, lease)
    except Stopped:
        raise Again from None
    except LostRace:
        raise LeaseLost from None
    except ProblemError as error:
        _give_up(error.problem, lease)


def _give_up(problem: Problem, lease: Lease) -> NoReturn:
    if problem.code in PASSING:
        raise Retry(min(300, 5 * 2**lease.operation.attempt), problem)
    raise Permanent(problem)


def import_failed(operation: Operation, problem: Problem) -> None:
    """Bring the version of a failed or cancelled operation to its failed status, without its files."""
    if problem.code == "worker.cancelled":
        # Asked anew: the name was written after the worker had read the operation.
        asked = Operation.objects.values_list("params", flat=True).get(pk=operation.pk)
        if "cancelled_by" in asked:
            problem = Problem("registry.version.cancelled", {"actor": asked["cancelled_by"]})
    while (version := Version.objects.filter(pk=operation.target_id).first()) is not None:
        if version.status not in (PUBLISHING, BUILDING):
            return
        trigger = "fail" if version.status == PUBLISHING else "build_failed"
        if problem.code in ("worker.cancelled", "registry.version.cancelled"):
            trigger = "cancel"
        try:
            with transaction.atomic():
                fire(version, trigger, problem=problem, environment=None, size_bytes=0, manifest_digest="")
                discard_files(version)
        except LostRace:
            continue
        return


IMPORT = register_kind(
    Kind("registry.import_version", _("Import a model"), failed=import_failed, is_cancellable=True)
)


def _publish(version: Version, lease: Lease) -> None:
    source = PackageSource(open_store(version.connection), version.source_bucket, version.source_path)
    if not version.files.exists():
        _list(version, source, lease)
    _copy(version, source, lease)
    _check(version, lease)


def _list(version: Version, source: PackageSource, lease: Lease) -> None:
    """Write down what to take, after a first look at the package where it lies."""
    lease.beat(stage="list")
    found, entries = source.inspect()
    _refuse(version, found.problems)
    total = sum(entry.size for entry in entries.values())
    largest = settings.SLIPWAY_MODEL_BYTES
    if total > largest:
        raise ProblemError("registry.source.too_large", path=version.source_path, size=total, limit=largest)
    with transaction.atomic():
        if not lease.still_held():
            raise LeaseLost
        _refuse_over_quota(version, total)
        VersionFile.objects.bulk_create(
            VersionFile(version=version, path=path, size_bytes=entry.size, fingerprint=entry.fingerprint)
            for path, entry in entries.items()
        )
        Version.objects.filter(pk=version.pk).update(size_bytes=total)
        note(
            version,
            "registry.version.size_computed",
            params={"files": len(entries), "bytes": total, "size": wording.size(total)},
        )
    version.size_bytes = total


def _refuse_over_quota(version: Version, needed: int) -> None:
    quota = settings.SLIPWAY_ARTIFACT_QUOTA_BYTES
    if not quota:
        return
    others = Version.objects.exclude(pk=version.pk).exclude(status__in=[FAILED, BUILDING_FAILED])
    used = others.aggregate(total=Sum("size_bytes"))["total"] or 0
    if used + needed > quota:
        free = max(0, quota - used)
        raise ProblemError("registry.storage.quota", needed=needed, free=free, quota=quota)


def _copy(version: Version, source: PackageSource, lease: Lease) -> None:
    """Bring the files of the list into the artifacts, as far as the slice allows."""
    files = {file.path: file for file in version.files.all()}
    wanted = {path: source.entry(path, file.size_bytes, file.fingerprint) for path, file in files.items()}
    stored = {
        path: StoredFile(path, file.size_bytes, file.sha256) for path, file in files.items() if file.sha256
    }
    progress = _Progress(version, lease, done=sum(file.size for file in stored.values()))

    def keep(file: StoredFile) -> None:
        if not lease.still_held():
            raise LeaseLost
        VersionFile.objects.filter(pk=files[file.path].pk).update(sha256=file.sha256)

    storage.copy_in(
        version.artifact_prefix,
        wanted,
        source.stream,
        done=stored,
        on_file=keep,
        on_progress=progress,
        should_stop=lambda: lease.out_of_time,
        max_bytes=settings.SLIPWAY_MODEL_BYTES,
    )


class _Progress:
    """Tells the bytes that were copied to the lease, and the percent to the version."""

    def __init__(self, version: Version, lease: Lease, done: int) -> None:
        self._version, self._lease, self._done = version, lease, done
        lease.beat(done=done, total=version.size_bytes, unit="bytes", stage="copy", force=True)

    def __call__(self, delta: int) -> None:
        self._done = min(self._done + delta, self._version.size_bytes)
        self._lease.beat(done=self._done, total=self._version.size_bytes, unit="bytes", stage="copy")
        percent = 100 * self._done // max(1, self._version.size_bytes)
        if percent != self._version.progress:
            advance(self._version, percent)


def _check(version: Version, lease: Lease) -> None:
    """Check the package again as it was copied, write down what it is, and go over to *building*."""
    lease.beat(stage="check", force=True)
    files = [StoredFile(file.path, file.size_bytes, file.sha256) for file in version.files.all()]
    prefix = version.artifact_prefix
    found = package.inspect(
        {file.path: file.size for file in files}, lambda path: storage.read(prefix, path, READ_BYTES)
    )
    _refuse(version, found.problems)
    seconds = (timezone.now() - version.status_since).total_seconds()
    told = {"files": len(files), "size": wording.size(version.size_bytes), "seconds": round(seconds, 1)}
    with transaction.atomic():
        if not lease.still_held():
            raise LeaseLost
        note(version, "registry.version.files_imported", params=told)
        for warning in found.warnings:
            note(version, warning.code, params=warning.params)
        fire(
            version,
            "package_ready",
            params={"engine": found.engine, "runtime": found.runtime},
            engine=found.engine,
            runtime=found.runtime,
            model_file=found.model_file,
            has_inference_code=found.inference_code,
            config=found.config_json,
            apis=found.apis,
            dependencies=found.dependencies,
            requirements=found.requirements,
            metrics=found.metrics,
            manifest_digest=storage.manifest_digest(files),
        )


def _refuse(version: Version, problems: list[Problem]) -> None:
    """End the import when there are problems: the first is its reason, the others are told beside it."""
    if not problems:
        return
    for problem in problems[1:]:
        tell_once(version, problem=problem)
    raise ProblemError(problems[0])
