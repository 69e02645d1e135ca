"""multipart/form-data bodies as the documented mapping ``{key: {file name: file}}`` (facts §2.9)."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

from python_multipart import parse_form
from python_multipart.exceptions import FormParserError

from .errors import bad_request

_MOST_PARTS = 256


def parse(body: bytes | memoryview, content_type: bytes) -> dict[str, Any]:
    """Files as ``{key: {file name: binary file object}}``; fields that are no files as ``{key: text}``.

    Raises `CallError` 400 when the body is not such a form, or has more than 256 parts.
    """
    form: dict[str, Any] = {}
    parts = 0

    def count() -> None:
        nonlocal parts
        parts += 1
        if parts > _MOST_PARTS:
            raise bad_request(f"The form has more than {_MOST_PARTS} parts. Send fewer.")

    def on_field(field: Any) -> None:
        count()
        form[_text(field.field_name)] = _text(field.value or b"")

    def on_file(file: Any) -> None:
        count()
        file.file_object.seek(0)
        # A plain in-memory file: the body is in memory already, and user code expects read, seek and
        # nothing odd.
        content = io.BytesIO(file.file_object.read())
        content.name = _text(file.file_name or b"")
        file.close()
        files = form.setdefault(_text(file.field_name or b""), {})
        if not isinstance(files, dict):
            raise bad_request(f"The form key “{_text(file.field_name)}” is both a field and a file.")
        files[content.name] = content

    headers = {"Content-Type": content_type, "Content-Length": str(len(body)).encode()}
    try:
        parse_form(headers, io.BytesIO(body), on_field, on_file)
    except (FormParserError, ValueError, UnicodeDecodeError, KeyError) as error:
        raise bad_request(f"The body is not multipart/form-data: {error}.") from None
    return form


def check(form: dict[str, Any], fields: Iterable[str]) -> None:
    """Raise `CallError` 400 when a declared file is missing or was sent as text."""
    for key in fields:
        if key not in form:
            raise bad_request(f"The form has no “{key}”. Send the file as form-data under the key “{key}”.")
        if not isinstance(form[key], dict):
            raise bad_request(
                f"The form key “{key}” must be a file, but was sent as text. Send it with a file name."
            )


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
