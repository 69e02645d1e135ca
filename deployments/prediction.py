"""The Prediction tab: a form made from a declared schema, and the call through the gateway.

The console takes the road that every caller takes, with the service's own key; nothing reaches an instance
by another way (design §5).
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from console import wording
from console.problems import ProblemError

JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"
MOST_FIELDS = 64
MOST_DEPTH = 6
SHOWN_BYTES = 512 * 1024
_KINDS = ("number", "integer", "string", "boolean")


@dataclass(frozen=True)
class Field:
    """One control of the form: `name` is the JSON pointer of its value, `kind` a JSON type, `list` or `file`.

    A `list` is an array of `item` values, typed with commas between them.
    """

    name: str
    label: str
    kind: str
    item: str = ""
    is_nullable: bool = False
    choices: tuple[Any, ...] = ()
    value: Any = ""

    @property
    def shown(self) -> str:
        """The value as the control holds it."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if self.kind == "list" and isinstance(self.value, list):
            return ", ".join(plain(each) for each in self.value)
        return plain(self.value)


def plain(value: Any) -> str:
    """A value as a control holds it."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def fields_of(schema: Any, example: Any = None) -> list[Field] | None:
    """The controls for a body of `schema`, holding the values of `example`; None where only JSON will do.

    Objects, rows of objects (one row per row of the example), lists of values, and values are simple.
    """
    found: list[Field] = []
    try:
        _collect(schema, "", "", example, found, 0)
    except _TooComplex:
        return None
    return found or None


class _TooComplex(Exception):
    pass


def _collect(schema: Any, pointer: str, label: str, example: Any, found: list[Field], depth: int) -> None:
    if not isinstance(schema, dict) or depth > MOST_DEPTH or len(found) > MOST_FIELDS or "$ref" in schema:
        raise _TooComplex
    kind, nullable = _kind(schema)
    if kind == "object" and schema.get("properties"):
        for name, part in schema["properties"].items():
            inside = example.get(name) if isinstance(example, dict) else None
            way = f"{pointer}/{_escaped(name)}"
            _collect(part, way, f"{label}.{name}" if label else name, inside, found, depth + 1)
    elif kind == "array":
        _collect_array(schema, pointer, label, example, found, depth)
    elif kind in (*_KINDS, "file"):
        choices = tuple(schema.get("enum") or ())
        value = schema.get("default", "") if example is None and not nullable else example
        found.append(Field(pointer, label or "value", kind, "", nullable, choices, value))
    else:
        raise _TooComplex


def _collect_array(
    schema: Mapping[str, Any], pointer: str, label: str, example: Any, found: list[Field], depth: int
) -> None:
    items = schema.get("items")
    if isinstance(items, list):
        if len(items) != 1:
            raise _TooComplex
        items = items[0]
    if not isinstance(items, dict):
        raise _TooComplex
    item, _ = _kind(items)
    rows = example if isinstance(example, list) else []
    if item in _KINDS:
        found.append(Field(pointer, label or "values", "list", item, value=rows))
    elif item == "object":
        for number, row in enumerate(rows or [None]):
            _collect(items, f"{pointer}/{number}", f"{label}[{number}]", row, found, depth + 1)
    else:
        raise _TooComplex


def _kind(schema: Mapping[str, Any]) -> tuple[str, bool]:
    """The one type of a schema, and whether null is allowed beside it."""
    named = schema.get("type")
    kinds = [named] if isinstance(named, str) else list(named or [])
    if not kinds and "properties" in schema:
        kinds = ["object"]
    others = [kind for kind in kinds if kind != "null"]
    if len(others) != 1:
        raise _TooComplex
    return others[0], "null" in kinds


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def body_of(fields: list[Field], values: Mapping[str, str]) -> Any:
    """The JSON body that the filled-in controls make; `values` by the controls' names.

    Raises ProblemError `deployments.prediction.value` at the control whose text is no such value.
    """
    body: Any = None
    for each in fields:
        if each.kind == "file":
            continue
        text = values.get(each.name, "")
        value = _value(each, text)
        if value is not _ABSENT:
            body = _put(body, each.name.split("/")[1:], value)
    return {} if body is None else body


_ABSENT = object()


def _value(each: Field, text: str) -> Any:
    if each.kind == "list":
        parts = [part.strip() for part in text.replace("\n", ",").split(",")]
        return [_read(each, each.item, part) for part in parts if part]
    if not text.strip() and each.kind != "string":
        return None if each.is_nullable else _ABSENT
    return _read(each, each.kind, text)


def _read(each: Field, kind: str, text: str) -> Any:
    if kind == "string":
        return text
    words = {"true": True, "false": False} if kind == "boolean" else {}
    try:
        if kind == "boolean":
            return words[text.strip().lower()]
        return int(text) if kind == "integer" else _number(text)
    except (KeyError, ValueError) as error:
        params = {"name": each.label, "value": text[:80], "kind": kind}
        raise ProblemError("deployments.prediction.value", each.name, **params) from error


def _number(text: str) -> float | int:
    value = json.loads(text.strip(), parse_constant=_no_json)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(text)
    return value


def _no_json(word: str) -> Any:
    """Python reads NaN and Infinity as numbers; JSON has no such words."""
    raise ValueError(word)


def _put(body: Any, way: list[str], value: Any) -> Any:
    """`body` with `value` at the pointer's `way`; arrays and objects are made on the way."""
    if not way:
        return value
    step, rest = way[0].replace("~1", "/").replace("~0", "~"), way[1:]
    if step.isdigit() and (body is None or isinstance(body, list)):
        rows = list(body or [])
        rows += [None] * (int(step) + 1 - len(rows))
        rows[int(step)] = _put(rows[int(step)], rest, value)
        return rows
    made = dict(body or {})
    made[step] = _put(made.get(step), rest, value)
    return made


def example_of(schema: Any, depth: int = 0) -> Any:
    """A body that has the shape of `schema`, for an editor that has no sample to show."""
    if not isinstance(schema, dict) or depth > MOST_DEPTH:
        return {}
    for given in ("default", "example", "const"):
        if given in schema:
            return schema[given]
    if schema.get("enum"):
        return schema["enum"][0]
    named = schema.get("type")
    kinds = [named] if isinstance(named, str) else list(named or [])
    kind = next((each for each in kinds if each != "null"), "object" if "properties" in schema else "")
    if kind == "object":
        return {name: example_of(part, depth + 1) for name, part in (schema.get("properties") or {}).items()}
    if kind == "array":
        items = schema.get("items") or {}
        return [example_of(part, depth + 1) for part in (items if isinstance(items, list) else [items])]
    return {"number": 0.0, "integer": 0, "string": "", "boolean": False, "file": ""}.get(kind, {})


@dataclass(frozen=True)
class Reply:
    """What a call got: HTTP status, milliseconds, the version that answered, the body as text."""

    status: int
    milliseconds: float
    version: str
    text: str
    is_json: bool = False
    is_cut: bool = False
    size_bytes: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300


def call(
    service_id: Any,
    key: str,
    *,
    method: str,
    path: str,
    body: bytes | None,
    content_type: str = JSON_TYPE,
) -> Reply:
    """Call a service through this installation's own gateway and tell what came back.

    Raises ProblemError `deployments.prediction.unreachable` when the gateway does not answer.
    """
    headers = {"X-Apig-AppCode": key, "Accept": JSON_TYPE}
    if body is not None:
        headers["Content-Type"] = content_type
    host, port = gateway_address()
    connection = http.client.HTTPConnection(host, port, timeout=settings.SLIPWAY_PREDICTION_SECONDS + 5)
    began = time.perf_counter()
    try:
        way = "" if path == "/" else quote(path, safe="/%")
        connection.request(method, f"/v1/infers/{service_id}{way}", body, headers)
        response = connection.getresponse()
        content = response.read(SHOWN_BYTES + 1)
        milliseconds = (time.perf_counter() - began) * 1000
        rest = response.length or 0
    except (OSError, http.client.HTTPException) as error:
        detail = str(error) or type(error).__name__
        raise ProblemError("deployments.prediction.unreachable", detail=detail) from error
    finally:
        connection.close()
    is_cut = len(content) > SHOWN_BYTES
    text, is_json = _told(content[:SHOWN_BYTES], is_cut)
    return Reply(
        status=response.status,
        milliseconds=milliseconds,
        version=response.headers.get("x-model-version", ""),
        text=text,
        is_json=is_json,
        is_cut=is_cut,
        size_bytes=len(content) + rest,
        headers=dict(response.headers.items()),
    )


def gateway_address() -> tuple[str, int]:
    """Where this machine's own gateway listens; never an address that anybody typed."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(  # noqa: S104  (compared, not bound)
        settings.SLIPWAY_HOST, settings.SLIPWAY_HOST
    )
    return host, settings.SLIPWAY_GATEWAY_PORT


def _told(content: bytes, is_cut: bool) -> tuple[str, bool]:
    text = content.decode(errors="replace")
    if is_cut:
        return text, False
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False), True
    except (ValueError, RecursionError):
        return text, False


def json_body(text: str) -> bytes:
    """The text of the editor as a body; raises ProblemError when it is no JSON or too large."""
    refuse_too_large(len(text.encode()))
    try:
        json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise ProblemError("deployments.prediction.not_json", "body", detail=str(error)[:200]) from error
    return text.encode()


def form_body(values: Mapping[str, str], files: Mapping[str, UploadedFile]) -> tuple[bytes, str]:
    """A multipart body of texts and files, and its content type; raises ProblemError when too large."""
    refuse_too_large(sum(file.size or 0 for file in files.values()) + sum(map(len, values.values())))
    boundary = f"slipway{secrets.token_hex(16)}"
    parts: list[bytes] = []
    for name, value in values.items():
        parts.append(_part(boundary, f'form-data; name="{_quoted(name)}"') + value.encode())
    for name, file in files.items():
        about = f'form-data; name="{_quoted(name)}"; filename="{_quoted(file.name or name)}"'
        kind = f"\r\nContent-Type: {file.content_type or 'application/octet-stream'}"
        parts.append(_part(boundary, about + kind) + file.read())
    body = b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()])
    return body, f"{FORM_TYPE}; boundary={boundary}"


def _part(boundary: str, about: str) -> bytes:
    return f"--{boundary}\r\nContent-Disposition: {about}\r\n\r\n".encode()


def _quoted(text: str) -> str:
    return text.replace("\\", "_").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def refuse_too_large(size: int) -> None:
    """Raises ProblemError for more than the Prediction page takes (facts §4.8.1)."""
    limit = settings.SLIPWAY_PREDICTION_PAGE_BYTES
    if size > limit:
        raise ProblemError("deployments.prediction.too_large", "body", limit=wording.size(limit))
