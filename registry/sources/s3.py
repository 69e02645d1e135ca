"""Object storage on an S3 service, by boto3. Only endpoints that an operator defined are ever contacted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ParamValidationError,
)
from urllib3.exceptions import HTTPError as StreamError

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

CONNECT_SECONDS = 5
READ_SECONDS = 30
ATTEMPTS = 3

_FORBIDDEN = {
    "AccessDenied", "403", "401", "Forbidden", "Unauthorized", "AllAccessDisabled", "AccountProblem",
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "RequestTimeTooSkewed",
}  # fmt: skip
_ABSENT = {"NoSuchBucket", "NoSuchKey", "NoSuchVersion", "404", "NotFound", "InvalidBucketName"}
_ELSEWHERE = {
    "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307",
    "IllegalLocationConstraintException",
}  # fmt: skip
_CHANGED = {"PreconditionFailed", "412", "InvalidRange", "416"}


def client_for(connection: ObjectConnection) -> Any:
    """A boto3 client for `connection`: its keys and no others, with bounded waiting."""
    path_style = connection.path_style if connection.path_style is not None else bool(connection.endpoint)
    config = Config(
        signature_version="s3v4" if connection.access_key else UNSIGNED,
        s3={"addressing_style": "path" if path_style else "virtual"},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=16,
        # Other S3 services do not know the newer default checksums; we hash everything ourselves.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
    )
    session = boto3.session.Session(
        # Given even when empty: otherwise boto3 would look for the process's own credentials.
        aws_access_key_id=connection.access_key or "anonymous",
        aws_secret_access_key=connection.secret_key or "anonymous",
        region_name=connection.region or "us-east-1",
    )
    client = session.client("s3", endpoint_url=connection.endpoint or None, config=config)
    client.meta.events.register_last("before-parameter-build.s3", _stay)
    return client


def _stay(context: dict[str, Any], **_more: Any) -> None:
    """Keep boto3 from following a bucket to another region: it would ask again without end where the service
    does not name one, and a connection is for one region (`registry.source.other_region`)."""
    context.get("s3_redirect", {})["redirected"] = True


class S3Store:
    """An ObjectStore on an S3 service (see `registry.sources.base.ObjectStore`)."""

    def __init__(self, connection: ObjectConnection) -> None:
        self._allowed = connection.buckets
        self._client = client_for(connection)

    def buckets(self) -> list[str]:
        """The buckets that the key may list; where it may list none, those that the operator named."""
        try:
            with translated():
                answer = self._client.list_buckets()
        except ProblemError as error:
            if self._allowed and error.problem.code == "registry.source.forbidden":
                return sorted(self._allowed)
            raise
        names = [bucket["Name"] for bucket in answer.get("Buckets", [])]
        return sorted(name for name in names if not self._allowed or name in self._allowed)

    def browse(
        self, bucket: str, prefix: str = "", search: str = "", page_token: str | None = None, limit: int = 200
    ) -> Page:
        """See ObjectStore."""
        check_bucket(bucket, self._allowed)
        prefix = check_folder(prefix)
        more = {"ContinuationToken": page_token} if page_token else {}
        with translated(bucket, prefix):
            answer = self._client.list_objects_v2(
                Bucket=bucket, Prefix=prefix + search, Delimiter="/", MaxKeys=limit, **more
            )
        folders = tuple(each["Prefix"] for each in answer.get("CommonPrefixes", []))
        objects = tuple(_entry(each) for each in answer.get("Contents", []) if each["Key"] != prefix)
        if not (folders or objects or search or page_token) and prefix and not answer.get("Contents"):
            raise ProblemError("registry.source.no_such_path", bucket=bucket, path=printable(prefix))
        return Page(
            folders, objects, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None
        )

    def walk(self, bucket: str, prefix: str, limit: int = WALK_ENTRIES) -> Iterator[Entry]:
        """See ObjectStore. Empty objects that only stand for a folder (`…/`) are left out."""
        check_bucket(bucket, self._allowed)
        prefix = check_folder(prefix)
        count, token = 0, None
        while True:
            more = {"ContinuationToken": token} if token else {}
            with translated(bucket, prefix):
                answer = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
            if not token and prefix and not answer.get("Contents"):
                raise ProblemError("registry.source.no_such_path", bucket=bucket, path=printable(prefix))
            for each in answer.get("Contents", []):
                if each["Key"].endswith("/") and not each["Size"]:
                    continue
                check_key(each["Key"])
                count += 1
                if count > limit:
                    raise ProblemError("registry.source.too_many", path=printable(prefix), limit=limit)
                yield _entry(each)
            token = answer.get("NextContinuationToken")
            if not (answer.get("IsTruncated") and token):
                return

    def read(self, bucket: str, key: str, max_bytes: int) -> bytes:
        """See ObjectStore."""
        path = printable(key)
        check_bucket(bucket, self._allowed)
        with translated(bucket, key):
            answer = self._client.get_object(Bucket=bucket, Key=check_key(key))
            size = answer["ContentLength"]
            with contextlib.closing(answer["Body"]) as body:
                if size > max_bytes:
                    raise ProblemError("registry.source.too_large", path=path, size=size, limit=max_bytes)
                content = body.read(max_bytes + 1)
        if len(content) != size:
            raise ProblemError(
                "registry.source.truncated", bucket=bucket, path=path, size=size, got=len(content)
            )
        return content

    def stream(self, bucket: str, entry: Entry, offset: int = 0) -> Iterator[bytes]:
        """See ObjectStore."""
        check_bucket(bucket, self._allowed)
        path = printable(entry.key)
        if offset >= entry.size > 0:
            return
        given = offset
        with streaming(bucket, entry, lambda: given):
            # The range is asked for only where it is needed: an empty object has none.
            part = {"Range": f"bytes={offset}-"} if offset else {}
            answer = self._client.get_object(Bucket=bucket, Key=check_key(entry.key), **part)
            with contextlib.closing(answer["Body"]) as body:
                if (
                    _fingerprint(answer) != entry.fingerprint
                    or offset + answer["ContentLength"] != entry.size
                ):
                    raise ProblemError("registry.source.changed", bucket=bucket, path=path)
                while given < entry.size:
                    chunk = body.read(min(CHUNK_BYTES, entry.size - given))
                    if not chunk:
                        break
                    given += len(chunk)
                    yield chunk
        if given < entry.size:
            raise ProblemError(
                "registry.source.truncated", bucket=bucket, path=path, size=entry.size, got=given
            )


@contextlib.contextmanager
def translated(bucket: str = "", key: str = "") -> Iterator[None]:
    """Turn what boto3 raises into the documented problems; addresses and keys stay out of them."""
    try:
        yield
    except (ClientError, BotoCoreError, StreamError) as error:
        raise problem_of(error, bucket, key) from error


@contextlib.contextmanager
def streaming(bucket: str, entry: Entry, given: Any) -> Iterator[None]:
    """`translated` for an object that was listed before: absent means vanished, cut short means truncated."""
    try:
        yield
    except (ClientError, BotoCoreError, StreamError, OSError) as error:
        found = problem_of(error, bucket, entry.key)
        code = found.problem.code
        if code == "registry.source.no_such_path":
            raise ProblemError(
                "registry.source.vanished", bucket=bucket, path=printable(entry.key)
            ) from error
        if given() and code == "registry.source.unreachable":
            raise ProblemError(
                "registry.source.truncated",
                bucket=bucket, path=printable(entry.key), size=entry.size, got=given(),
            ) from error  # fmt: skip
        raise found from error


def problem_of(error: Exception, bucket: str, key: str) -> ProblemError:
    """The documented problem for what boto3 or its connection raised."""
    place = {"bucket": printable(bucket), "path": printable(key)}
    if isinstance(error, ParamValidationError):  # a bucket that no service could have
        return ProblemError("registry.source.no_such_path", **place)
    if not isinstance(error, ClientError):
        if isinstance(error, (HTTPClientError, IncompleteReadError, StreamError, OSError)):
            return ProblemError("registry.source.unreachable", detail=_words(error))
        return ProblemError("registry.source.unreachable", detail=type(error).__name__)
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = str(error.response.get("Error", {}).get("Message", ""))
    if code in _ELSEWHERE:
        return ProblemError("registry.source.other_region", **place)
    if code in _ABSENT:
        return ProblemError("registry.source.no_such_path", **place)
    if code in _CHANGED:
        return ProblemError("registry.source.changed", **place)
    # An object under a customer's own key (SSE-C) answers 400; an archived one 403 InvalidObjectState.
    if "Server Side Encryption" in message or code in ("InvalidObjectState", "KMS.DisabledException"):
        return ProblemError("registry.source.encrypted", **place)
    if code in _FORBIDDEN or status in (401, 403):
        return ProblemError("registry.source.forbidden", **place, detail=code)
    return ProblemError("registry.source.unreachable", detail=code or str(status))


def _words(error: Exception) -> str:
    # The class says what happened; the message would tell the address, with what may be in it.
    return {
        "EndpointConnectionError": "connection refused",
        "ConnectTimeoutError": "timeout",
        "ReadTimeoutError": "timeout",
        "SSLError": "TLS",
        "ConnectionClosedError": "connection closed",
        "IncompleteReadError": "connection closed",
        "ProtocolError": "connection closed",
        "ResponseStreamingError": "connection closed",
    }.get(type(error).__name__, type(error).__name__)


def _entry(found: dict[str, Any]) -> Entry:
    return Entry(found["Key"], found["Size"], _fingerprint(found), found.get("LastModified"))


def _fingerprint(found: dict[str, Any]) -> str:
    # Some services quote the tag only in headers, and headers tell the time in whole seconds.
    modified = found.get("LastModified")
    tag = found.get("ETag", "").strip('"')
    return f"{tag}-{int(modified.timestamp()) if modified else 0}"
