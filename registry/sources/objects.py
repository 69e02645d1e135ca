"""Source D, object storage (facts §1.7): a local folder or an S3 service behind one shape."""

from __future__ import annotations

from registry.sources.base import Entry, ObjectConnection, ObjectStore, Page
from registry.sources.local import LocalStore

__all__ = ["Entry", "ObjectConnection", "ObjectStore", "Page", "open_connection"]


def open_connection(connection: ObjectConnection) -> ObjectStore:
    """The store behind `connection`. Nothing is asked yet: a wrong address shows at the first listing."""
    if connection.kind == "local":
        return LocalStore(connection)
    if connection.kind == "s3":
        from registry.sources.s3 import S3Store  # boto3 takes a third of a second: only where it is used

        return S3Store(connection)
    raise ValueError(f"There is no kind of object storage called {connection.kind!r}.")
