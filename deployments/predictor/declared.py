"""The declared API: one request from raw bytes to the answer's bytes, on a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from . import forms
from .answers import dump
from .errors import BAD_REQUEST, CallError, Unusable, bad_request
from .package import FORM_TYPE, JSON_TYPE, Api
from .schema import compile_check, place
from .shims.python_model_service import JsonText

_FORM = FORM_TYPE.encode()
_NUMBERS: dict[str, Callable[[str], Any]] = {"integer": int, "number": float}


class DeclaredApi:
    """Reads, checks and answers calls of ``/`` as config.json declares them.

    `answer` computes the answer's object: own code gets the documented forms of the body (`JsonText`, or the form's
    mapping), the built-in ones get the parsed JSON.
    """

    def __init__(self, api: Api, answer: Callable[[Any], Any], own_code: bool) -> None:
        if api.request_type not in (JSON_TYPE, FORM_TYPE):
            raise Unusable(
                f"The Content-type {api.request_type} in model/config.json is not {JSON_TYPE} or {FORM_TYPE}."
            )
        if api.request_type == FORM_TYPE and not own_code:
            raise Unusable(
                "An API that takes multipart/form-data needs a customize_service.py that reads the files."
            )
        self.api = api
        self.method = api.method
        self._answer = answer
        self._own_code = own_code
        self._form = api.request_type == FORM_TYPE
        self._check = compile_check(api.request_schema) if api.request_schema and not self._form else None

    def call(self, body: bytes | memoryview, content_type: bytes, query: bytes) -> bytes:
        """Answer one call. Raises `CallError` for what the caller did wrong; what the model raises comes through."""
        if self._form:
            data = self._read_form(body, content_type)
        else:
            if self.method == "GET" and not body:
                body = orjson.dumps(_from_query(query, self.api.request_schema))
            data = self._read_json(body, content_type)
        return dump(self._answer(data))

    def _read_form(self, body: bytes | memoryview, content_type: bytes) -> dict[str, Any]:
        if not content_type.lower().startswith(_FORM):
            raise CallError(
                415, BAD_REQUEST, f"This API takes {FORM_TYPE}. Send the file with curl -F key=@file."
            )
        form = forms.parse(body, content_type)
        forms.check(form, self.api.file_fields)
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
