"""The ASGI application: addresses, limits, error answers. Everything that computes happens on the worker
threads (but see `pace` for calls that are over sooner than a thread is woken).

Plain ASGI, because a framework's request and response objects cost as much as a tiny model does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import orjson

from . import openapi
from .bodies import HEAD_LENGTH, CallerLeft, head_length, read_body
from .errors import BAD_ADDRESS, CallError, model_failed
from .journal import say_traceback
from .metrics import TEXT_TYPE, Metrics
from .pace import Pace
from .served import Served
from .workers import Workers

_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Application:
    """Serves one `Served` version; `start` must be called inside the event loop before the first request."""

    def __init__(
        self, served: Served, metrics: Metrics, limit_bytes: int, workers: Callable[[], Workers]
    ) -> None:
        self._served = served
        self._metrics = metrics
        self._limit = limit_bytes
        self._make_workers = workers
        self._workers: Workers | None = None
        self._openapi: bytes | None = None
        protocol = served.protocol
        self._pace = Pace(possible=served.reentrant)
        self._own_method = served.declared.api.method
        self._infer_paths = frozenset(f"{path}/infer" for path in protocol.paths)
        always = orjson.dumps
        pages: dict[str, Callable[[], bytes]] = {
            "/health": lambda: b'{"health":"true"}',
            "/metrics": lambda: self._metrics.render(self._workers.waiting if self._workers else 0),
            "/openapi.json": self._description,
            "/v2": lambda: always(protocol.server()),
            "/v2/health/live": lambda: b'{"live":true}',
            "/v2/health/ready": lambda: b'{"ready":true}',
        }
        for path in protocol.paths:
            pages[path] = lambda: always(protocol.metadata())
            pages[f"{path}/ready"] = lambda: always({"name": served.name, "ready": True})
        self._pages = pages

    def start(self) -> None:
        """Start the worker threads."""
        self._workers = self._make_workers()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/":
            await self._predict(scope, receive, send, "declared", self._own_method, self._declared_job)
        elif path in self._infer_paths:
            await self._predict(scope, receive, send, "open-inference", "POST", self._infer_job)
        else:
            await self._page(scope, send, path)

    async def _predict(
        self, scope: dict[str, Any], receive: Receive, send: Send, api: str, method: str, job: Callable
    ) -> None:
        started = perf_counter()
        metrics = self._metrics
        metrics.in_flight += 1
        status = 499  # what the counters say of a caller that left
        try:
            try:
                if scope["method"] != method:
                    raise _wrong_method(scope["method"], method)
                headers = dict(scope["headers"])
                body = await read_body(receive, headers, self._limit)
                if self._pace.brief(len(body)):
                    answer = self._timed(job, body, headers, scope)
                else:
                    answer = await self._workers.submit(self._timed, job, body, headers, scope)
                status, answer_headers, body = answer
            except CallError as error:
                status, answer_headers, body = _refusal(error, open_inference=api != "declared")
                if error.status == 405:
                    answer_headers.append((b"allow", method.encode()))
            await send({"type": "http.response.start", "status": status, "headers": answer_headers})
            if isinstance(body, list):
                for part in body:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                body = b""
            await send({"type": "http.response.body", "body": body})
        except CallerLeft:
            pass
        finally:
            metrics.in_flight -= 1
            metrics.finished(api, status, perf_counter() - started)

    def _timed(
        self, job: Callable, body: bytes | memoryview, headers: dict[bytes, bytes], scope: dict[str, Any]
    ) -> tuple:
        started = perf_counter()
        answer = job(body, headers, scope)
        self._pace.took(perf_counter() - started, len(body))
        return answer

    def _declared_job(
        self, body: bytes | memoryview, headers: dict[bytes, bytes], scope: dict[str, Any]
    ) -> tuple:
        try:
            answer = self._served.declared.call(
                body, headers.get(b"content-type", b""), scope["query_string"]
            )
        except BaseException as error:  # noqa: BLE001 - model code may raise anything, SystemExit included
            return _refusal(_as_call_error(error), open_inference=False)
        return 200, [_JSON, (b"content-length", b"%d" % len(answer))], answer

    def _infer_job(
        self, body: bytes | memoryview, headers: dict[bytes, bytes], scope: dict[str, Any]
    ) -> tuple:
        try:
            answer, json_bytes = self._served.protocol.infer(body, head_length(headers))
        except BaseException as error:  # noqa: BLE001
            return _refusal(_as_call_error(error), open_inference=True)
        if json_bytes is None:
            return 200, [_JSON, (b"content-length", b"%d" % len(answer))], answer
        size = sum(map(len, answer))
        return (
            200,
            [_BINARY, (HEAD_LENGTH, b"%d" % json_bytes), (b"content-length", b"%d" % size)],
            answer if size > 65536 else b"".join(answer),
        )

    async def _page(self, scope: dict[str, Any], send: Send, path: str) -> None:
        page = self._pages.get(path)
        headers = [_JSON]
        if page is None:
            # A name that needs quoting may arrive quoted twice by careful clients.
            page = self._pages.get(unquote(path))
        if page is None:
            known = "/, /health, /metrics, /openapi.json and /v2/…"
            error = CallError(404, BAD_ADDRESS, f"There is nothing at {path[:200]}. Addresses here: {known}.")
            status, headers, body = _refusal(error, open_inference=path.startswith("/v2"))
        elif scope["method"] not in ("GET", "HEAD"):
            error = _wrong_method(scope["method"], "GET")
            status, headers, body = _refusal(error, open_inference=path.startswith("/v2"))
            headers.append((b"allow", b"GET, HEAD"))
        else:
            status, body = 200, page()
            headers = [(b"content-type", TEXT_TYPE) if path == "/metrics" else _JSON]
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _description(self) -> bytes:
        if self._openapi is None:
            self._openapi = orjson.dumps(openapi.describe(self._served))
        return self._openapi


def _as_call_error(error: BaseException) -> CallError:
    if isinstance(error, CallError):
        return error
    say_traceback(error)
    return model_failed(error)


def _refusal(error: CallError, *, open_inference: bool) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """An error answer in the documented form, with the protocol's own key beside it under ``/v2``."""
    body = {"error_code": error.code, "error_msg": error.message}
    if open_inference:
        body["error"] = error.message
    text = _text(body)
    headers = [_JSON, (b"content-length", b"%d" % len(text))]
    if error.status == 413:
        headers.append((b"connection", b"close"))
    return error.status, headers, text


def _text(body: dict[str, str]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # half a surrogate pair in a message of foreign code
        return orjson.dumps({key: value.encode("utf-8", "replace").decode() for key, value in body.items()})


def _wrong_method(used: str, wanted: str) -> CallError:
    return CallError(
        405, BAD_ADDRESS, f"Method Not Allowed: {used[:20]} was used on an address that takes {wanted}."
    )
