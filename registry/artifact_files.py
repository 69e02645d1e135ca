"""Artifacts in a folder. A file appears under its name only whole and safely on the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from console.problems import ProblemError
from registry.artifact_transfer import Hasher, OpenStream, Source, StoredFile, Transfer
from registry.doors import remove_tree, sweep_tree

CHUNK_BYTES = 1 << 20
INCOMING = ".incoming"


class FileArtifacts:
    """A `registry.storage.Backend` below the folder `location`."""

    def __init__(self, location: Path) -> None:
        self._location = location

    def put(
        self, prefix: str, path: str, source: Source, open_stream: OpenStream, transfer: Transfer
    ) -> StoredFile:
        """See Backend. An interrupted file stays as a part, its name bound to the source's fingerprint."""
        final = self._location / prefix / path
        part = self._incoming(prefix) / _part_name(path, source)
        with _full_disk_told():
            for folder in (part.parent, final.parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sha256 = _write_part(part, source, open_stream, transfer)
            final.unlink(missing_ok=True)  # renamed before a crash, but nobody took note of its digest
            part.rename(final)
            for folder in (final.parent, self._location / prefix):
                _sync_folder(folder)
        with contextlib.suppress(OSError):
            part.parent.rmdir()  # the last file takes the folder of parts with it
        return StoredFile(path, source.size, sha256)

    def chunks(self, prefix: str, path: str) -> Iterator[bytes]:
        """See Backend."""
        fd = os.open(self._location / prefix / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return _read_and_close(fd)

    def listing(self, prefix: str) -> dict[str, int]:
        """See Backend."""
        top = self._location / prefix
        found = {}
        for folder, _folders, names in os.walk(top):
            for name in names:
                each = Path(folder, name)
                found[each.relative_to(top).as_posix()] = each.lstat().st_size
        return found

    def materialize(self, prefix: str, files: Iterable[StoredFile], transfer: Transfer) -> Path:
        """See Backend."""
        top = self._location / prefix
        for file in files:
            try:
                size = os.stat(top / file.path, follow_symlinks=False).st_size
            except (FileNotFoundError, NotADirectoryError):
                size = -1
            if size != file.size:
                raise ProblemError("registry.storage.damaged", path=file.path)
        return top

    def remove(self, prefix: str) -> None:
        """See Backend."""
        remove_tree(self._incoming(prefix))
        remove_tree(self._location / prefix)

    def sweep(self, keep: Callable[[str], bool]) -> None:
        """See Backend."""
        incoming = self._location / INCOMING
        if incoming.is_dir():
            for each in incoming.iterdir():
                if each.name.startswith(".removed-"):
                    sweep_tree(each)
                elif not keep(each.name.replace("%2F", "/")):
                    remove_tree(each)
        for each in self._location.glob("*/.removed-*"):
            sweep_tree(each)

    def free_bytes(self) -> int:
        """See Backend."""
        at = self._location
        while not at.exists():
            at = at.parent
        facts = os.statvfs(at)
        return facts.f_bavail * facts.f_frsize

    def _incoming(self, prefix: str) -> Path:
        return self._location / INCOMING / prefix.replace("/", "%2F")


def _part_name(path: str, source: Source) -> str:
    """Another fingerprint or size is another part: what was taken from older content is never continued."""
    return hashlib.sha256(f"{path}\0{source.size}\0{source.fingerprint}".encode()).hexdigest()[:40]


def _write_part(part: Path, source: Source, open_stream: OpenStream, transfer: Transfer) -> str:
    """Bring `part` to the source's full size on the disk, read-only; the SHA-256 of its bytes in hex."""
    hasher = Hasher()
    finished = False
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        offset = min(os.fstat(fd).st_size, source.size)
        if offset:
            # The state of a hash cannot be kept, but reading back from the disk is quicker than from afar.
            for chunk in transfer.watched(_read(fd, offset)):
                hasher.update(chunk)
        os.ftruncate(fd, offset)
        os.lseek(fd, offset, os.SEEK_SET)
        written = offset
        for chunk in transfer.watched(open_stream(source, offset)):
            hasher.update(chunk)
            _write(fd, chunk)
            written += len(chunk)
        if written != source.size:
            raise ProblemError("registry.source.truncated", bucket="", path="", size=source.size, got=written)
        digest = hasher.finish()
        finished = True
        os.fchmod(fd, 0o400)
        os.fsync(fd)
        return digest
    finally:
        if not finished:
            hasher.finish()
        os.close(fd)


def _write(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def _read(fd: int, size: int) -> Iterator[bytes]:
    os.lseek(fd, 0, os.SEEK_SET)
    while size > 0 and (chunk := os.read(fd, min(CHUNK_BYTES, size))):
        size -= len(chunk)
        yield chunk


def _read_and_close(fd: int) -> Iterator[bytes]:
    try:
        while chunk := os.read(fd, CHUNK_BYTES):
            yield chunk
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ProblemError("registry.storage.full", needed=0, free=0) from error
        raise
