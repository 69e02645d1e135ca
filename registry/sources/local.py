"""Object storage in a local folder: a bucket is a folder directly below the root.

Every path is opened part by part from the root's descriptor without following links, so neither `..`, nor a
link, nor a folder that is swapped for a link meanwhile can lead outside.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime

from console.problems import ProblemError
from registry.sources.base import (
    CHUNK_BYTES,
    WALK_ENTRIES,
    Entry,
    ObjectConnection,
    Page,
    check_bucket,
    check_folder,
    check_key,
    printable,
)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe that somebody left among the files would wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class LocalStore:
    """An ObjectStore on `connection.root` (see `registry.sources.base.ObjectStore`)."""

    def __init__(self, connection: ObjectConnection) -> None:
        if connection.root is None:
            raise ValueError("A local connection needs its root folder.")
        self._root = connection.root
        self._allowed = connection.buckets

    def buckets(self) -> list[str]:
        """The folders directly below the root; links and dot folders are no buckets."""
        with self._open_root() as root, os.scandir(root) as found:
            names = [each.name for each in found if each.is_dir(follow_symlinks=False)]
        return sorted(
            name
            for name in names
            if not name.startswith(".") and _encodable(name) and (not self._allowed or name in self._allowed)
        )

    def browse(
        self, bucket: str, prefix: str = "", search: str = "", page_token: str | None = None, limit: int = 200
    ) -> Page:
        """See ObjectStore. Links and other things that are neither file nor folder are not shown."""
        prefix = check_folder(prefix)
        with self._open_folder(bucket, prefix) as folder:
            found = {}
            for each in _scan(folder):
                if each.name.startswith(search) and _encodable(each.name):
                    is_folder = each.is_dir(follow_symlinks=False)
                    if is_folder or each.is_file(follow_symlinks=False):
                        found[prefix + each.name + ("/" if is_folder else "")] = each.name
            names = heapq.nsmallest(
                limit + 1, (key for key in found if page_token is None or key > page_token)
            )
            shown = names[:limit]
            objects = []
            for key in shown:
                if not key.endswith("/"):
                    with contextlib.suppress(FileNotFoundError):
                        objects.append(_entry(key, os.stat(found[key], dir_fd=folder, follow_symlinks=False)))
        return Page(
            folders=tuple(key for key in shown if key.endswith("/")),
            objects=tuple(objects),
            next_token=shown[-1] if len(names) > limit else None,
        )

    def walk(self, bucket: str, prefix: str, limit: int = WALK_ENTRIES) -> Iterator[Entry]:
        """See ObjectStore. A link or a special file below the folder refuses the walk: `not_a_file`."""
        prefix = check_folder(prefix)
        with self._open_folder(bucket, prefix) as folder:
            for count, entry in enumerate(_walk(folder, prefix), 1):
                if count > limit:
                    raise ProblemError("registry.source.too_many", path=printable(prefix), limit=limit)
                yield entry

    def read(self, bucket: str, key: str, max_bytes: int) -> bytes:
        """See ObjectStore."""
        with self._open_file(bucket, key) as (fd, facts):
            if facts.st_size > max_bytes:
                raise ProblemError(
                    "registry.source.too_large", path=printable(key), size=facts.st_size, limit=max_bytes
                )
            content = b"".join(_chunks(fd, facts.st_size))
        if len(content) != facts.st_size:
            raise ProblemError("registry.source.changed", bucket=bucket, path=printable(key))
        return content

    def stream(self, bucket: str, entry: Entry, offset: int = 0) -> Iterator[bytes]:
        """See ObjectStore."""
        path = printable(entry.key)
        try:
            opened = self._open_file(bucket, entry.key)
        except ProblemError as error:
            if error.problem.code == "registry.source.no_such_path":
                raise ProblemError("registry.source.vanished", bucket=bucket, path=path) from error
            raise
        with opened as (fd, facts):
            if _fingerprint(facts) != entry.fingerprint or facts.st_size != entry.size:
                raise ProblemError("registry.source.changed", bucket=bucket, path=path)
            os.posix_fadvise(fd, offset, 0, os.POSIX_FADV_SEQUENTIAL)
            os.lseek(fd, offset, os.SEEK_SET)
            given = offset
            for chunk in _chunks(fd, entry.size - offset):
                given += len(chunk)
                yield chunk
            after = os.fstat(fd)
            if given < entry.size:
                raise ProblemError(
                    "registry.source.truncated", bucket=bucket, path=path, size=entry.size, got=given
                )
            if _fingerprint(after) != entry.fingerprint:
                raise ProblemError("registry.source.changed", bucket=bucket, path=path)

    @contextlib.contextmanager
    def _open_root(self) -> Iterator[int]:
        try:
            # The root itself may be a link: operators choose it, nobody else.
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ProblemError("registry.source.unreachable", detail=error.strerror or "") from error
        try:
            yield root
        finally:
            os.close(root)

    def _descend(self, bucket: str, key: str, flags: int) -> int:
        """A descriptor of `key` below `bucket`; the caller closes it."""
        check_bucket(bucket, self._allowed)
        parts = [bucket, *key.rstrip("/").split("/")] if key else [bucket]
        with self._open_root() as root:
            at = os.dup(root)
        try:
            for number, part in enumerate(parts, 1):
                below = os.open(part, flags if number == len(parts) else _FOLDER, dir_fd=at)
                os.close(at)
                at = below
        except OSError as error:
            linked = _is_link(at, part)
            os.close(at)
            raise _problem(error, bucket, key, linked) from error
        return at

    @contextlib.contextmanager
    def _open_folder(self, bucket: str, prefix: str) -> Iterator[int]:
        fd = self._descend(bucket, prefix, _FOLDER)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_file(
        self, bucket: str, key: str
    ) -> contextlib.AbstractContextManager[tuple[int, os.stat_result]]:
        fd = self._descend(bucket, check_key(key), _FILE)
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            code = "no_such_path" if stat.S_ISDIR(facts.st_mode) else "not_a_file"
            raise ProblemError(f"registry.source.{code}", bucket=bucket, path=printable(key))
        return _closing(fd, facts)


@contextlib.contextmanager
def _closing(fd: int, facts: os.stat_result) -> Iterator[tuple[int, os.stat_result]]:
    try:
        yield fd, facts
    finally:
        os.close(fd)


def _is_link(folder: int, name: str) -> bool:
    # Linux refuses a link with ELOOP or, where a folder was asked for, with ENOTDIR as for any file.
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _problem(error: OSError, bucket: str, key: str, linked: bool = False) -> ProblemError:
    path = printable(key)
    if linked or error.errno == errno.ELOOP:
        return ProblemError("registry.source.not_a_file", bucket=printable(bucket), path=path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return ProblemError("registry.source.forbidden", bucket=printable(bucket), path=path, detail="")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO):
        return ProblemError("registry.source.no_such_path", bucket=printable(bucket), path=path)
    return ProblemError("registry.source.unreachable", detail=error.strerror or "")


def _scan(folder: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return list(found)


def _walk(folder: int, prefix: str) -> Iterator[Entry]:
    # Sorted as keys are: a folder sorts with its slash, as in S3.
    found = [
        (each.name + ("/" if each.is_dir(follow_symlinks=False) else ""), each) for each in _scan(folder)
    ]
    for name, _each in sorted(found, key=lambda pair: pair[0]):
        key = prefix + name
        check_key(key.removesuffix("/"))
        if name.endswith("/"):
            try:
                below = os.open(name[:-1], _FOLDER, dir_fd=folder)
            except OSError as error:
                raise _problem(error, "", key) from error
            try:
                yield from _walk(below, key)
            finally:
                os.close(below)
            continue
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue  # removed while we looked: it is simply not there
        if not stat.S_ISREG(facts.st_mode):
            raise ProblemError("registry.source.not_a_file", bucket="", path=printable(key))
        yield _entry(key, facts)


def _entry(key: str, facts: os.stat_result) -> Entry:
    modified = datetime.fromtimestamp(facts.st_mtime, UTC)
    return Entry(key, facts.st_size, _fingerprint(facts), modified)


def _fingerprint(facts: os.stat_result) -> str:
    # Not the change time: a backup that links the file, or a chmod, does not change its content.
    return f"{facts.st_dev:x}-{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"


def _chunks(fd: int, size: int) -> Iterator[bytes]:
    """At most `size` bytes, in chunks; ends early where the file does."""
    left = size
    while left > 0:
        chunk = os.read(fd, min(CHUNK_BYTES, left))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
