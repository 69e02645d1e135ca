"""The one shape of an object store: what may be listed, walked and read. Keys are relative, with `/`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from console.problems import ProblemError

CHUNK_BYTES = 1 << 20
KEY_BYTES = 1024  # the longest key of S3
NAME_BYTES = 255  # the longest name of a file system
WALK_ENTRIES = 20_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class ObjectConnection:
    """Where objects are: a folder of this machine (`root`), or an S3 service.

    Only operators define these. `buckets` limits what can be seen; empty means all. `path_style` None means:
    path style when an endpoint is named. Without an access key, S3 is asked anonymously; the process's own
    credentials are never used.
    """

    kind: str  # "local" | "s3"
    root: Path | None = None
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    path_style: bool | None = None
    buckets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One object. `fingerprint` changes when its content does; it is never a digest of the content."""

    key: str
    size: int
    fingerprint: str
    modified: datetime | None = None

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Page:
    """One page of a folder: full folder prefixes that end in `/`, then objects, both in key order."""

    folders: tuple[str, ...]
    objects: tuple[Entry, ...]
    next_token: str | None = None


class ObjectStore(Protocol):
    """Raises ProblemError `registry.source.*`: unreachable, forbidden, no_such_path, vanished, changed, …"""

    def buckets(self) -> Sequence[str]:
        """The buckets that this connection may see, sorted."""

    def browse(
        self, bucket: str, prefix: str = "", search: str = "", page_token: str | None = None, limit: int = 200
    ) -> Page:
        """One page of what is directly below `prefix`; `search` keeps the names that start with it."""

    def walk(self, bucket: str, prefix: str, limit: int = WALK_ENTRIES) -> Iterator[Entry]:
        """Every object below the folder `prefix`, in key order. More than `limit` of them: too_many."""

    def read(self, bucket: str, key: str, max_bytes: int) -> bytes:
        """The whole content of a small object; larger than `max_bytes`: too_large."""

    def stream(self, bucket: str, entry: Entry, offset: int = 0) -> Iterator[bytes]:
        """The content of `entry` from `offset`, exactly to its size.

        Raises vanished, changed (another fingerprint or size) or truncated instead of giving other bytes.
        """


def check_key(key: str) -> str:
    """`key` when it is a plain relative name: no empty, `.` or `..` part, no backslash, no control character.

    Raises ProblemError `registry.source.illegal_name`. The key is taken as it is; nothing is ever decoded.
    """
    parts = key.split("/")
    try:
        plain = (
            bool(key)
            and len(key.encode()) <= KEY_BYTES
            and not _CONTROL.search(key)
            and all(part not in ("", ".", "..") and len(part.encode()) <= NAME_BYTES for part in parts)
        )
    except UnicodeEncodeError:  # lone surrogates: a file name that is not UTF-8
        plain = False
    if not plain:
        raise ProblemError("registry.source.illegal_name", path=printable(key))
    return key


def check_folder(prefix: str) -> str:
    """`prefix` as a folder: `""` for the bucket itself, otherwise a plain relative name and one `/`."""
    bare = prefix.removesuffix("/")
    return f"{check_key(bare)}/" if bare else _refuse_slash(prefix)


def check_bucket(bucket: str, allowed: Sequence[str]) -> str:
    """`bucket` when it is one plain name and among `allowed` (if any are named); otherwise no_such_path."""
    plain = 0 < len(bucket) <= NAME_BYTES and bucket not in (".", "..")
    if not plain or "/" in bucket or _CONTROL.search(bucket):
        raise ProblemError("registry.source.no_such_path", bucket=printable(bucket), path="")
    if allowed and bucket not in allowed:
        raise ProblemError("registry.source.no_such_path", bucket=printable(bucket), path="")
    return bucket


def printable(text: str) -> str:
    """`text` as it may stand in a problem: escaped where it has no glyph, and of bounded length."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
    return shown if len(shown) <= 200 else f"{shown[:197]}…"


def _refuse_slash(prefix: str) -> str:
    if prefix:
        raise ProblemError("registry.source.illegal_name", path=printable(prefix))
    return ""
