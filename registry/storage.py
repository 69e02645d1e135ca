"""The only door to artifacts: the files of versions, kept under `STORAGES["artifacts"]`.

A version's files live below a prefix that we make from its id (`versions/<id>`), never from a name. They are
written once, with their SHA-256 taken from the bytes on their way in, and never change afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from django.conf import settings
from django.core.files.storage import storages

from console.problems import ProblemError
from registry.artifact_transfer import OpenStream, Source, StoredFile, Transfer
from registry.doors import ShouldStop, never
from registry.sources.base import check_key, printable

__all__ = [
    "Mismatch", "StoredFile", "copy_in", "free_bytes", "manifest_digest", "materialize", "quota_free", "read",
    "remove", "sweep_incoming", "verify",
]  # fmt: skip


@dataclass(frozen=True)
class Mismatch:
    """A file that is not as it was taken in."""

    path: str
    kind: Literal["missing", "changed", "unexpected"]


class Backend(Protocol):
    """One kind of artifact storage (`artifact_files`, `artifact_objects`)."""

    def put(
        self, prefix: str, path: str, source: Source, open_stream: OpenStream, transfer: Transfer
    ) -> StoredFile:
        """Store one file whole, or raise and keep at most what a later `put` continues from."""

    def chunks(self, prefix: str, path: str) -> Iterator[bytes]:
        """The stored bytes; FileNotFoundError when there are none."""

    def listing(self, prefix: str) -> dict[str, int]:
        """Sizes by path of what is stored below `prefix`."""

    def materialize(self, prefix: str, files: Iterable[StoredFile], transfer: Transfer) -> Path:
        """A local folder with those files."""

    def remove(self, prefix: str) -> None:
        """Remove everything below `prefix`, half-made things too."""

    def sweep(self, keep: Callable[[str], bool]) -> None:
        """Remove half-made things of prefixes for which `keep` is false."""

    def free_bytes(self) -> int | None:
        """What the medium still takes; None when nobody can say."""


def copy_in(
    prefix: str,
    sources: Mapping[str, Source],
    open_stream: OpenStream,
    *,
    done: Mapping[str, StoredFile] | None = None,
    on_file: Callable[[StoredFile], None] = lambda stored: None,
    on_progress: Callable[[int], None] = lambda delta: None,
    should_stop: ShouldStop = never,
    max_bytes: int | None = None,
    quota_free: int | None = None,
) -> list[StoredFile]:
    """Copy `sources` (path below the prefix -> what to take) in, each streamed once and hashed on its way.

    `open_stream(source, offset)` yields a source's bytes from `offset` and raises rather than giving fewer or
    other ones. Files in `done` with the source's size are stored already and are skipped; `on_file` is called
    after each other file, so that its row can be written before the next begins. A large file that was
    interrupted goes on where it stopped. `on_progress` gets the bytes of files not in `done`, a few times a
    second and from the calling thread; what it raises ends the copy.

    `max_bytes` bounds the sum of sizes (`registry.source.too_large`), `quota_free` what is still to be stored
    (`registry.storage.quota`). More than the disk holds above its floor is `registry.storage.full`, asked
    before and during the copy. Raises Stopped when `should_stop` says so. After any of these the caller calls
    again or calls `remove(prefix)`.
    """
    check_key(prefix)
    _check_paths(sources)
    done = done or {}
    total = sum(source.size for source in sources.values())
    if max_bytes is not None and total > max_bytes:
        path = next(iter(sources)).split("/")[0]
        raise ProblemError("registry.source.too_large", path=path, size=total, limit=max_bytes)
    stored = {path: done[path] for path, source in sources.items() if _is_done(done.get(path), source)}
    missing = {path: source for path, source in sources.items() if path not in stored}
    needed = sum(source.size for source in missing.values())
    if needed and quota_free is not None and needed > quota_free:
        quota = settings.SLIPWAY_ARTIFACT_QUOTA_BYTES
        raise ProblemError("registry.storage.quota", needed=needed, free=max(0, quota_free), quota=quota)
    free = free_bytes()
    if needed and free is not None and needed > free:
        raise ProblemError("registry.storage.full", needed=needed, free=max(0, free))
    backend = _backend()
    transfer = Transfer(
        on_progress=on_progress, should_stop=should_stop, budget=needed, free_bytes=free_bytes
    )
    for path in sorted(missing):
        transfer.pause()
        stored[path] = backend.put(prefix, path, missing[path], open_stream, transfer)
        on_file(stored[path])
    return [stored[path] for path in sorted(stored)]


def manifest_digest(files: Iterable[StoredFile]) -> str:
    """One SHA-256 over path, size and SHA-256 of every file; their order does not matter."""
    rows = sorted([file.path, file.size, file.sha256] for file in files)
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def materialize(
    prefix: str,
    files: Iterable[StoredFile],
    on_progress: Callable[[int], None] = lambda delta: None,
    should_stop: ShouldStop = never,
) -> Path:
    """A local folder that holds `files`, to run a model from; its files are read-only.

    On file storage that is the stored folder itself, with no copy. From S3 the files are fetched once per
    machine and checked against their digests (`registry.storage.damaged`). Raises Stopped.
    """
    transfer = Transfer(on_progress=on_progress, should_stop=should_stop)
    return _backend().materialize(check_key(prefix), files, transfer)


def read(prefix: str, path: str, max_bytes: int) -> bytes:
    """The content of a small stored file. Raises FileNotFoundError; over `max_bytes`, too_large."""
    content = bytearray()
    for chunk in _backend().chunks(check_key(prefix), check_key(path)):
        content += chunk
        if len(content) > max_bytes:
            raise ProblemError(
                "registry.source.too_large", path=printable(path), size=len(content), limit=max_bytes
            )
    return bytes(content)


def verify(
    prefix: str,
    files: Iterable[StoredFile],
    on_progress: Callable[[int], None] = lambda delta: None,
    should_stop: ShouldStop = never,
) -> list[Mismatch]:
    """Hash every stored file again and name those that differ from `files`; empty means all is well."""
    backend = _backend()
    transfer = Transfer(on_progress=on_progress, should_stop=should_stop)
    present = backend.listing(check_key(prefix))
    found: list[Mismatch] = []
    for file in files:
        size = present.pop(file.path, None)
        if size is None:
            found.append(Mismatch(file.path, "missing"))
        elif size != file.size or transfer.digest(backend.chunks(prefix, file.path)) != file.sha256:
            found.append(Mismatch(file.path, "changed"))
    return found + [Mismatch(path, "unexpected") for path in sorted(present)]


def remove(prefix: str) -> None:
    """Remove everything that was ever stored or begun below `prefix`. Calling it again is harmless."""
    _backend().remove(check_key(prefix))


def sweep_incoming(keep: Callable[[str], bool]) -> None:
    """Remove what interrupted copies left, except for prefixes that `keep` says are still being imported."""
    _backend().sweep(keep)


def free_bytes() -> int | None:
    """Bytes that may still be stored before the disk reaches its floor; None where the medium has no end."""
    free = _backend().free_bytes()
    return None if free is None else free - settings.SLIPWAY_DISK_FLOOR_BYTES


def quota_free(used_bytes: int) -> int | None:
    """What SLIPWAY_ARTIFACT_QUOTA_BYTES leaves when `used_bytes` are stored; None where no quota is set."""
    quota = settings.SLIPWAY_ARTIFACT_QUOTA_BYTES
    return quota - used_bytes if quota else None


def _backend() -> Backend:
    storage = storages["artifacts"]
    if hasattr(storage, "bucket_name"):
        from registry.artifact_objects import ObjectArtifacts  # boto3 only where it is used

        return ObjectArtifacts(storage)
    from registry.artifact_files import FileArtifacts

    return FileArtifacts(Path(storage.location))


def _check_paths(sources: Iterable[str]) -> None:
    paths = set(sources)
    for path in paths:
        check_key(path)
        # In object storage `a` and `a/b` may both be objects; in a folder one name is one thing.
        at = path.rfind("/")
        while at > 0:
            if path[:at] in paths:
                raise ProblemError("registry.source.illegal_name", path=printable(path))
            at = path.rfind("/", 0, at)


def _is_done(stored: StoredFile | None, source: Source) -> bool:
    return stored is not None and stored.size == source.size
