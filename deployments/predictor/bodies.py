"""Request bodies, read whole, within the limit, with as little copying as possible."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from .errors import BAD_REQUEST, CallError, bad_request

HEAD_LENGTH = b"inference-header-content-length"
_ALIGNMENT = 16


class CallerLeft(Exception):
    """The caller closed the connection before the request was complete."""


async def read_body(
    receive: Callable[[], Awaitable[dict[str, Any]]], headers: dict[bytes, bytes], limit: int
) -> bytes | memoryview:
    """The whole body. Raises `CallError` 413 above `limit` bytes, `CallerLeft` when the caller goes away.

    A large body of known length is collected in one buffer, placed so that the raw tensor data behind the
    JSON head of an Open Inference request begins at an aligned address and can be used where it lies.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise CallerLeft
    body = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    length = headers.get(b"content-length")
    if length is None:
        return await _collect(receive, body, limit)
    size = int(length)  # digits only: the HTTP parser has checked it
    if size > limit:
        await _discard(receive, len(body), 4 * limit)
        raise _too_large(limit)
    return await _fill(receive, body, size, -(head_length(headers) or 0) % _ALIGNMENT)


def head_length(headers: dict[bytes, bytes]) -> int | None:
    """``Inference-Header-Content-Length``; None when absent. Raises `CallError` 400 when it is no number."""
    value = headers.get(HEAD_LENGTH)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 12:
        raise bad_request("Inference-Header-Content-Length must be a number of bytes.")
    return int(value)


async def _fill(receive: Callable, body: bytes, size: int, padding: int) -> memoryview:
    # numpy, because a bytearray is filled with zeros first; every byte is written below, the parser sees to
    # it.
    whole = memoryview(np.empty(padding + size, dtype=np.uint8))[padding:]
    at = len(body)
    whole[:at] = body
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        part = message.get("body", b"")
        whole[at : at + len(part)] = part
        at += len(part)
        more = message.get("more_body", False)
    return whole


async def _collect(receive: Callable, body: bytes, limit: int) -> bytes:
    """A body of unknown length (chunked)."""
    parts = [body]
    size = len(body)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        more = message.get("more_body", False)
        if size > limit:
            if more:
                await _discard(receive, size, 4 * limit)
            raise _too_large(limit)
    return b"".join(parts)


async def _discard(receive: Callable, size: int, most: int) -> None:
    """Read and drop some more: a caller still sending when the connection closes sees a reset, not the
    reason.
    """
    while size <= most:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _too_large(limit: int) -> CallError:
    return CallError(
        413,
        BAD_REQUEST,
        f"The body is larger than {limit} bytes, the limit of this service. Send less at a time.",
    )
