"""Artifacts in an S3 bucket (`django-storages`), moved in bulk through its boto3 client.

Parts are uploaded a few at a time while the next ones are read, so memory stays at a few parts. What an
interrupted upload had sent is remembered on this machine and not sent again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from urllib3.exceptions import HTTPError as StreamError

from console.problems import ProblemError
from registry.artifact_transfer import Hasher, OpenStream, Source, StoredFile, Transfer
from registry.doors import Stopped, held, remove_tree, sweep_tree

CHUNK_BYTES = 1 << 20
PART_BYTES = 16 << 20
MOST_PARTS = 9_000  # S3 takes 10,000
UPLOADS_AT_ONCE = 3


class ObjectArtifacts:
    """A `registry.storage.Backend` in the bucket of a django-storages S3 storage."""

    def __init__(self, storage: Any) -> None:
        self._client = storage.connection.meta.client
        self._bucket = storage.bucket_name
        self._location = storage.location.strip("/")
        self._cache = Path(settings.SLIPWAY_VAR) / "packages"
        self._uploads = Path(settings.SLIPWAY_VAR) / "uploads"

    def put(
        self, prefix: str, path: str, source: Source, open_stream: OpenStream, transfer: Transfer
    ) -> StoredFile:
        """See Backend."""
        key = self._key(prefix, path)
        chunks = transfer.watched(open_stream(source, 0))
        with _told():
            if source.size <= PART_BYTES:
                content = b"".join(chunks)
                _check_size(len(content), source)
                self._client.put_object(Bucket=self._bucket, Key=key, Body=content)
                return StoredFile(path, source.size, hashlib.sha256(content).hexdigest())
            upload = _Upload(self._client, self._bucket, key, self._note(prefix, path, source))
            return StoredFile(path, source.size, upload.run(chunks, source))

    def chunks(self, prefix: str, path: str) -> Iterator[bytes]:
        """See Backend."""
        try:
            with _told():
                body = self._client.get_object(Bucket=self._bucket, Key=self._key(prefix, path))["Body"]
        except ProblemError as error:
            if error.problem.params.get("detail") in ("NoSuchKey", "404"):
                raise FileNotFoundError(path) from error
            raise
        with contextlib.closing(body), _told():
            while chunk := body.read(CHUNK_BYTES):
                yield chunk

    def listing(self, prefix: str) -> dict[str, int]:
        """See Backend."""
        top = self._key(prefix, "")
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=top)
        with _told():
            return {
                each["Key"].removeprefix(top): each["Size"]
                for page in pages
                for each in page.get("Contents", [])
            }

    def materialize(self, prefix: str, files: Iterable[StoredFile], transfer: Transfer) -> Path:
        """See Backend. The folder is one version's, so that removing the version removes it."""
        files = list(files)
        target = self._cache / _slug(prefix)
        with held(self._cache / f".lock-{_slug(prefix)}", transfer.is_stopped):
            if target.is_dir():
                return target
            making = self._cache / f".making-{_slug(prefix)}-{secrets.token_hex(4)}"
            try:
                for file in files:
                    self._fetch(prefix, file, making / file.path, transfer)
                making.rename(target)
            finally:
                sweep_tree(making)
        return target

    def remove(self, prefix: str) -> None:
        """See Backend."""
        remove_tree(self._cache / _slug(prefix))
        remove_tree(self._uploads / _slug(prefix))
        top = self._key(prefix, "")
        with _told():
            for upload in self._unfinished(top):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
            keys = [self._key(prefix, path) for path in self.listing(prefix)]
            for start in range(0, len(keys), 1000):
                doomed = [{"Key": key} for key in keys[start : start + 1000]]
                self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": doomed, "Quiet": True})

    def sweep(self, keep: Callable[[str], bool]) -> None:
        """See Backend."""
        if self._uploads.is_dir():
            for each in self._uploads.iterdir():
                if not keep(each.name.replace("%2F", "/")):
                    sweep_tree(each)
        if self._cache.is_dir():
            for each in self._cache.glob(".removed-*"):
                sweep_tree(each)
        top = f"{self._location}/" if self._location else ""
        with _told():
            for upload in self._unfinished(top):
                prefix = "/".join(upload["Key"].removeprefix(top).split("/")[:2])
                if not keep(prefix):
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )

    def free_bytes(self) -> None:
        """See Backend: a bucket has no end that it tells."""

    def _key(self, prefix: str, path: str) -> str:
        return "/".join(part for part in (self._location, prefix) if part) + f"/{path}"

    def _note(self, prefix: str, path: str, source: Source) -> Path:
        name = hashlib.sha256(f"{path}\0{source.size}\0{source.fingerprint}".encode()).hexdigest()[:40]
        return self._uploads / _slug(prefix) / f"{name}.json"

    def _unfinished(self, top: str) -> list[dict[str, Any]]:
        answer = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=top)
        # Not every service honours the prefix here, and another version's upload must not be aborted.
        return [upload for upload in answer.get("Uploads", []) if upload["Key"].startswith(top)]

    def _fetch(self, prefix: str, file: StoredFile, target: Path, transfer: Transfer) -> None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = hashlib.sha256()
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
        with os.fdopen(fd, "wb") as out:
            try:
                for chunk in transfer.watched(self.chunks(prefix, file.path)):
                    found.update(chunk)
                    out.write(chunk)
            except FileNotFoundError:
                raise ProblemError("registry.storage.damaged", path=file.path) from None
        if found.hexdigest() != file.sha256:
            raise ProblemError("registry.storage.damaged", path=file.path)


class _Upload:
    """One multipart upload that can be taken up again on this machine."""

    def __init__(self, client: Any, bucket: str, key: str, note: Path) -> None:
        self._client, self._note = client, note
        self._place = {"Bucket": bucket, "Key": key}
        self._sent: dict[int, str] = {}

    def run(self, chunks: Iterator[bytes], source: Source) -> str:
        """Send every part that is not there yet; the SHA-256 of the whole in hex."""
        part_bytes = max(PART_BYTES, -(-source.size // MOST_PARTS))
        upload_id = self._begin()
        hasher = Hasher()
        hashed = False
        running: deque[tuple[int, Future[str]]] = deque()
        pool = ThreadPoolExecutor(UPLOADS_AT_ONCE, thread_name_prefix="upload")
        try:
            size = 0
            for number, part in enumerate(_parts(chunks, part_bytes, hasher), 1):
                size += len(part)
                if number not in self._sent:
                    running.append((number, pool.submit(self._send, upload_id, number, part)))
                    if len(running) >= UPLOADS_AT_ONCE:
                        self._collect(*running.popleft())
            _check_size(size, source)
            while running:
                self._collect(*running.popleft())
            digest = hasher.finish()
            hashed = True
            parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(self._sent.items())]
            self._client.complete_multipart_upload(
                **self._place, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
            self._forget()
            return digest
        except Stopped:
            for each in running:
                with contextlib.suppress(ClientError, BotoCoreError):
                    self._collect(*each)
            self._remember(upload_id)
            raise
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            with contextlib.suppress(ClientError, BotoCoreError):
                self._client.abort_multipart_upload(**self._place, UploadId=upload_id)
            self._forget()
            raise
        finally:
            if not hashed:
                hasher.finish()
            pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError, ClientError):
            noted = json.loads(self._note.read_text())
            pages = self._client.get_paginator("list_parts").paginate(
                **self._place, UploadId=noted["upload_id"]
            )
            there = {part["PartNumber"]: part["ETag"] for page in pages for part in page.get("Parts", [])}
            # Only what both sides know of: a part that was cut off is sent again.
            self._sent = {n: tag for n, tag in there.items() if str(n) in noted["parts"]}
            return noted["upload_id"]
        return self._client.create_multipart_upload(**self._place)["UploadId"]

    def _send(self, upload_id: str, number: int, part: bytes) -> str:
        answer = self._client.upload_part(**self._place, UploadId=upload_id, PartNumber=number, Body=part)
        return answer["ETag"]

    def _collect(self, number: int, sending: Future[str]) -> None:
        self._sent[number] = sending.result()

    def _remember(self, upload_id: str) -> None:
        self._note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._note.with_suffix(f".{secrets.token_hex(4)}")
        fresh.write_text(json.dumps({"upload_id": upload_id, "parts": {str(n): 1 for n in self._sent}}))
        fresh.replace(self._note)

    def _forget(self) -> None:
        self._note.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._note.parent.rmdir()


def _parts(chunks: Iterator[bytes], part_bytes: int, hasher: Hasher) -> Iterator[bytes]:
    """`chunks` joined to parts of exactly `part_bytes`, the last one shorter; all of it hashed."""
    part = bytearray()
    for chunk in chunks:
        hasher.update(chunk)
        part += chunk
        while len(part) >= part_bytes:
            yield bytes(part[:part_bytes])
            del part[:part_bytes]
    if part:
        yield bytes(part)


def _check_size(size: int, source: Source) -> None:
    if size != source.size:
        raise ProblemError("registry.source.truncated", bucket="", path="", size=source.size, got=size)


def _slug(prefix: str) -> str:
    return prefix.replace("/", "%2F")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What the artifacts' own service answers, as a problem; addresses stay out of it."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise ProblemError("registry.storage.unreachable", detail=code) from error
    except (BotoCoreError, StreamError) as error:
        raise ProblemError("registry.storage.unreachable", detail=type(error).__name__) from error
