"""Connections to object storage: who may open one, what it may reach, and the store behind it.

Local directories are denied by default: only those beneath a root that the operator allows
(`SLIPWAY_LOCAL_ROOTS`, by default the folder `objects` of the installation) can become a connection, and the
root is checked again whenever a store is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from console import audit
from console.access import require
from console.models import Workspace
from console.problems import ProblemError, register
from registry import validators
from registry.models import Connection
from registry.sources.objects import ObjectConnection, ObjectStore, open_connection

register(
    "registry.connection.duplicate",
    title=_("This connection exists already"),
    cause=_("The workspace already has a connection named %(name)s."),
    fix=_("Choose another name."),
    http=409,
)
register(
    "registry.connection.name_illegal",
    cause=_("The name of a connection has 1 to 64 characters: letters, Chinese characters, digits, - and _."),
    fix=_("Change the name."),
)
register(
    "registry.connection.root_not_allowed",
    title=_("This directory is not allowed"),
    cause=_("The operator does not allow connections to the directory %(root)s."),
    fix=_("Choose a directory beneath one of the roots in the setting SLIPWAY_LOCAL_ROOTS."),
    http=403,
)
register(
    "registry.connection.endpoint_missing",
    cause=_("An S3 connection needs an endpoint or a region."),
    fix=_("Enter the address of the storage, such as https://s3.example.org."),
)
register(
    "registry.connection.endpoint_illegal",
    cause=_("The endpoint must be an http or https address without a path, user name or query."),
    fix=_("Enter the address of the storage, such as https://s3.example.org."),
)
register(
    "registry.connection.bucket_illegal",
    cause=_("%(name)s is not the name of a bucket."),
    fix=_("Use names without slashes and spaces, one on each line."),
)


def create_connection(
    *,
    actor: Any,
    workspace: Workspace,
    name: str,
    kind: str,
    root: str = "",
    endpoint: str = "",
    region: str = "",
    buckets: Sequence[str] = (),
    access_key: str = "",
    secret_key: str = "",
) -> Connection:
    """Open object storage to the workspace; for its administrators.

    Raises ProblemError `registry.connection.*` at the field that is wrong.
    """
    require(actor, "manage_workspace", workspace)
    connection = Connection(workspace=workspace, kind=kind)
    _fill(connection, name, root, endpoint, region, buckets, access_key)
    connection.secret_key = secret_key if kind == Connection.S3 else ""
    _save(connection, actor, "connection.create")
    return connection


def update_connection(
    *,
    actor: Any,
    connection: Connection,
    name: str,
    root: str = "",
    endpoint: str = "",
    region: str = "",
    buckets: Sequence[str] = (),
    access_key: str = "",
    secret_key: str = "",
) -> Connection:
    """Change a connection; its kind stays, and an empty `secret_key` keeps the stored one.

    With another endpoint or access key the stored secret is not kept: it must not be sent to a new place.
    """
    require(actor, "manage_workspace", connection)
    before = (connection.endpoint, connection.access_key)
    _fill(connection, name, root, endpoint, region, buckets, access_key)
    if secret_key:
        connection.secret_key = secret_key if connection.kind == Connection.S3 else ""
    elif before != (connection.endpoint, connection.access_key):
        connection.secret_key = ""
    _save(connection, actor, "connection.update")
    return connection


def delete_connection(*, actor: Any, connection: Connection) -> None:
    """Close a connection. Versions that came through it stay; only their source cannot be read again."""
    require(actor, "manage_workspace", connection)
    with transaction.atomic():
        audit.record("connection.delete", connection, actor=actor)
        connection.delete()


def check_connection(*, actor: Any, connection: Connection) -> list[str]:
    """The buckets that the connection sees now; raises the ProblemError `registry.source.*` that it meets."""
    require(actor, "manage_workspace", connection)
    return list(open_store(connection).buckets())


def open_store(connection: Connection | None) -> ObjectStore:
    """The store behind `connection`. Raises ProblemError when it is gone or not allowed now."""
    if connection is None:
        raise ProblemError("registry.source.connection_gone")
    is_local = connection.kind == Connection.LOCAL
    return open_connection(
        ObjectConnection(
            kind=connection.kind,
            root=_allowed_root(connection.root) if is_local else None,
            endpoint=connection.endpoint,
            region=connection.region,
            access_key=connection.access_key,
            secret_key=connection.secret_key,
            buckets=tuple(connection.buckets),
        )
    )


def local_roots() -> list[Path]:
    """The directories beneath which local connections may lie, with links resolved."""
    roots = settings.SLIPWAY_LOCAL_ROOTS
    return [Path(root).resolve() for root in roots]


def _allowed_root(root: str) -> Path:
    wanted = Path(root)
    resolved = wanted.resolve()
    if (
        not root
        or not wanted.is_absolute()
        or not any(resolved.is_relative_to(each) for each in local_roots())
    ):
        raise ProblemError("registry.connection.root_not_allowed", field="root", root=root)
    return resolved


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and port != 0


def _fill(
    connection: Connection,
    name: str,
    root: str,
    endpoint: str,
    region: str,
    buckets: Sequence[str],
    access_key: str,
) -> None:
    if not validators.MODEL_NAME.fullmatch(name):
        raise ProblemError("registry.connection.name_illegal", field="name")
    for bucket in buckets:
        if (
            not bucket
            or len(bucket) > 255
            or bucket in (".", "..")
            or any(c in "/\\" or c.isspace() for c in bucket)
        ):
            raise ProblemError("registry.connection.bucket_illegal", field="buckets", name=bucket)
    is_local = connection.kind == Connection.LOCAL
    if is_local:
        _allowed_root(root)
    elif not endpoint and not region:
        raise ProblemError("registry.connection.endpoint_missing", field="endpoint")
    elif endpoint and not _is_endpoint(endpoint):
        raise ProblemError("registry.connection.endpoint_illegal", field="endpoint")
    connection.name = name
    connection.root = root if is_local else ""
    connection.endpoint = "" if is_local else endpoint.rstrip("/")
    connection.region = "" if is_local else region
    connection.access_key = "" if is_local else access_key
    connection.buckets = list(dict.fromkeys(buckets))


def _save(connection: Connection, actor: Any, verb: str) -> None:
    try:
        with transaction.atomic():
            connection.save()
            audit.record(verb, connection, actor=actor, kind=connection.kind, root=connection.root,
                         endpoint=connection.endpoint)  # fmt: skip
    except IntegrityError:
        raise ProblemError("registry.connection.duplicate", field="name", name=connection.name) from None
