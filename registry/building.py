"""The second half of an import, *building*: the environment, the load test, and then *published*.

Like the first half, it may be killed anywhere and done again (see `registry.importing`).
"""

from __future__ import annotations

import time
from typing import NoReturn

from django.conf import settings
from django.db import transaction

from console.lifecycle import advance, fire, note
from console.operations import Again, Cancelled, Lease, LeaseLost
from registry import environments, storage, trial
from registry.doors import Stopped
from registry.environments import EnvironmentInfo
from registry.events import tell_once
from registry.models import Environment, Version
from registry.storage import StoredFile


def build(version: Version, lease: Lease) -> None:
    """Give `version` its environment, see that the model loads, and publish it.

    Raises what ends the import: ProblemError, LeaseLost, Cancelled, Again.
    """
    info = _environment(version, lease)
    result = _load_test(version, info, lease)
    with transaction.atomic():
        if not lease.still_held():
            raise LeaseLost
        note(version, "registry.version.load_test_passed", params={"seconds": round(result.load_seconds, 1)})
        if result.sample_answer is not None:
            note(version, "registry.version.sample_predicted")
        fire(version, "environment_ready")


def _environment(version: Version, lease: Lease) -> EnvironmentInfo:
    lease.beat(stage="environment", done=0, total=0, unit="", force=True)
    advance(version, 10)
    tell_once(version, "registry.version.environment_started", requirements=", ".join(version.requirements))
    began = time.monotonic()
    watch = _Watch(lease)
    try:
        info = environments.ensure(version.requirements, on_line=lease.log, should_stop=watch)
    except Stopped:
        watch.explain()
    _register(version, info, lease, time.monotonic() - began)
    return info


def _register(version: Version, info: EnvironmentInfo, lease: Lease, seconds: float) -> None:
    """Write down that `version` has this environment, unless the environment was removed meanwhile."""
    digest = info.digest[:12]
    with transaction.atomic():
        if not lease.still_held():
            raise LeaseLost
        Environment.objects.get_or_create(
            digest=info.digest,
            defaults={
                "engine": version.engine,
                "runtime": version.runtime,
                "packages": info.locked,
                "size_bytes": info.size_bytes,
            },
        )
        Version.objects.filter(pk=version.pk, revision=version.revision).update(environment_id=info.digest)
        if environments.find(info.digest) is None:
            # A tidy, which locks the row for this, was quicker: nothing is written, and it is built anew.
            raise Again
        if version.environment_id != info.digest:
            code = (
                "registry.version.environment_reused" if info.reused else "registry.version.environment_built"
            )
            told = {"digest": digest, "packages": len(info.locked)}
            tell_once(version, code, **told, **({} if info.reused else {"seconds": round(seconds, 1)}))
    version.environment_id = info.digest


def _load_test(version: Version, info: EnvironmentInfo, lease: Lease) -> trial.TrialResult:
    lease.beat(stage="load_test", force=True)
    advance(version, 70)
    tell_once(version, "registry.version.load_test_started")
    files = [StoredFile(file.path, file.size_bytes, file.sha256) for file in version.files.all()]
    package_dir = storage.materialize(version.artifact_prefix, files)
    spec = trial.TrialSpec(
        id=version.pk.hex,
        package_dir=package_dir,
        environment_dir=info.path,
        engine=version.engine,
        memory_bytes=settings.SLIPWAY_TRIAL_MEMORY_BYTES,
        timeout_seconds=settings.SLIPWAY_TRIAL_SECONDS,
        sample=trial.sample_of(package_dir),
        model_name=version.model.name,
        model_version=version.number,
        limit_bytes=settings.SLIPWAY_REQUEST_BYTES,
    )
    watch = _Watch(lease)
    try:
        return trial.run(spec, on_line=lease.log, should_stop=watch)
    except Stopped:
        watch.explain()


class _Watch:
    """Keeps the lease while a tool works, and remembers why the tool was told to stop."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._reason: Exception | None = None

    def __call__(self) -> bool:
        try:
            self._lease.beat()
        except (LeaseLost, Cancelled) as reason:
            self._reason = reason
        return self._reason is not None

    def explain(self) -> NoReturn:
        """Raise why it was stopped."""
        raise self._reason or Again
