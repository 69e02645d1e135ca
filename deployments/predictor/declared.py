"""The declared API: one request from raw bytes to the answer's bytes, on a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from .answers import dump
from .errors import BAD_REQUEST, CallError, Unusable, bad_request
from .package import FORM_TYPE, JSON_TYPE, Api
from .schema import compile_check, place
from .shims.python_model_service import JsonText

_FORM = FORM_TYPE.encode()
_NUMBERS: dict[str, Callable[[str], Any]] = {"integer": int, "number": float}


class RequestReader:
    """Reads and checks calls of ``/`` as config.json declares them.

    Own code gets the documented forms of the body (`JsonText`, or the form's mapping); the built-in ones
    get the parsed JSON. To be made before any foreign code is imported, so that a module ``socket.py`` or
    ``queue.py`` of a model cannot take the place of what is imported here.
    """

    def __init__(self, api: Api, own_code: bool) -> None:
        if api.request_type not in (JSON_TYPE, FORM_TYPE):
            raise Unusable(
                f"The Content-type {api.request_type} in model/config.json is not {JSON_TYPE} or {FORM_TYPE}."
            )
        self.api = api
        self._own_code = own_code
        self._forms: Any = None
        self._check = None
        if api.request_type == FORM_TYPE:
            if not own_code:
                raise Unusable("An API that takes multipart/form-data needs a customize_service.py.")
            from . import forms

            self._forms = forms
        elif api.request_schema:
            self._check = compile_check(api.request_schema)

    def read(self, body: bytes | memoryview, content_type: bytes, query: bytes) -> Any:
        """The data of one call. Raises `CallError` 400 or 415."""
        if self._forms:
            return self._read_form(body, content_type)
        if self.api.method == "GET" and not body:
            body = orjson.dumps(_from_query(query, self.api.request_schema))
        return self._read_json(body, content_type)

    def _read_form(self, body: bytes | memoryview, content_type: bytes) -> dict[str, Any]:
        if not content_type.lower().startswith(_FORM):
            raise CallError(
                415, BAD_REQUEST, f"This API takes {FORM_TYPE}. Send the file with curl -F key=@file."
            )
        form = self._forms.parse(body, content_type)
        self._forms.check(form, self.api.file_fields)
        return form

    def _read_json(self, body: bytes | memoryview, content_type: bytes) -> Any:
        if content_type.lower().startswith(_FORM):
            raise CallError(415, BAD_REQUEST, f"This API takes {JSON_TYPE}, not a form. Send a JSON body.")
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if not body:
                raise bad_request("The body is empty. Send the JSON that /openapi.json describes.") from None
            raise bad_request(f"The body is not JSON: {error}.") from None
        if self._check is not None:
            self._check(data)
        return JsonText(str(body, "utf-8"), data) if self._own_code else data


class DeclaredApi:
    """The declared API with what answers it: a function from the data of a call to the answer's object."""

    def __init__(self, reader: RequestReader, answer: Callable[[Any], Any]) -> None:
        self.api = reader.api
        self._read = reader.read
        self._answer = answer

    def call(self, body: bytes | memoryview, content_type: bytes, query: bytes) -> bytes:
        """Answer one call. Raises `CallError` for what the caller did wrong; what the model raises comes
        through.
        """
        return dump(self._answer(self._read(body, content_type, query)))


def _from_query(query: bytes, schema: dict[str, Any] | None) -> dict[str, Any]:
    """The parameters of a GET as an object, with the numbers that the schema declares."""
    properties = (schema or {}).get("properties") or {}
    found: dict[str, Any] = {}
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        declared = properties.get(key)
        kind = declared.get("type") if isinstance(declared, dict) else None
        if kind in _NUMBERS:
            try:
                found[key] = _NUMBERS[kind](value)
            except ValueError:
                raise bad_request(f"The parameter {place((key,))} must be {kind}. Send a number.") from None
        elif kind == "boolean" and value in ("true", "false"):
            found[key] = value == "true"
        else:
            found[key] = value
    return found
