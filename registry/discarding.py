"""Giving back what nobody needs: places in the artifacts, environments, things that killed workers left.

A place is written down as discarded in the transaction that makes it unneeded; removing it afterwards may be
repeated and may be interrupted. Environments go when no version has them.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from console import operations
from registry import environments, lifecycle, storage, trial
from registry.models import Discarded, Environment, Version

log = logging.getLogger(__name__)

# A worker that lost its lease may write once more before it notices; so the removal is done again later.
WATCH_DISCARDED = timedelta(minutes=15)
# An environment that nobody has is kept a while: most often its version is corrected and imported again.
KEEP_ENVIRONMENT = timedelta(hours=1)


def discard(prefix: str) -> None:
    """Have `prefix` removed from the artifacts once the current transaction is committed."""
    Discarded.objects.get_or_create(prefix=prefix)
    transaction.on_commit(lambda: _remove(prefix), robust=True)


def discard_files(version: Version) -> None:
    """Forget the files of `version` and have them removed; within the caller's transaction."""
    version.files.all().delete()
    discard(version.artifact_prefix)


def _remove(prefix: str) -> None:
    try:
        storage.remove(prefix)
    except Exception:  # the row stays, so the next tidy tries again
        log.exception("could not remove %s from the artifacts", prefix)


def tidy(*, keep_environment: timedelta = KEEP_ENVIRONMENT) -> None:
    """Remove what was discarded or left behind, and take up deletions that ended without finishing."""
    now = timezone.now()
    for discarded in Discarded.objects.all():
        _remove(discarded.prefix)
        if discarded.created_at < now - WATCH_DISCARDED:
            discarded.delete()
    storage.sweep_incoming(_is_being_imported)
    _adopt_environments()
    for environment in Environment.objects.filter(versions=None, created_at__lt=now - keep_environment):
        remove_environment(environment.digest)
    environments.sweep_temporary()
    trial.sweep()
    for version in Version.objects.filter(status=lifecycle.DELETING):
        operations.open("registry.delete_version", version)


def _is_being_imported(prefix: str) -> bool:
    busy = Version.objects.filter(status__in=[lifecycle.PUBLISHING, lifecycle.BUILDING])
    return any(version.artifact_prefix == prefix for version in busy)


def _adopt_environments() -> None:
    """Give a row to each environment that was built by a worker killed before it could write one."""
    known = set(Environment.objects.values_list("digest", flat=True))
    for info in environments.list_installed():
        if info.digest not in known:
            Environment.objects.get_or_create(
                digest=info.digest, defaults={"packages": info.locked, "size_bytes": info.size_bytes}
            )


def remove_environment(digest: str) -> bool:
    """Remove an environment that no version has; false when one has it.

    The folder goes while the row is locked, so an import that wants it meanwhile sees that it is gone.
    """
    with transaction.atomic():
        environment = Environment.objects.select_for_update().filter(digest=digest).first()
        if environment is not None:
            if environment.versions.exists():
                return False
            environment.delete()
        environments.remove(digest)
    return True
