"""Answers as JSON bytes, with what JSON cannot carry explained instead of silently changed.

orjson writes NaN and infinity as ``null``. A caller must not read a missing value where the model computed
nonsense, so such an answer is a model error that names the place. Looking for it costs nothing on the hot
path: only an answer whose bytes contain ``null`` is walked.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson

from .errors import bad_answer
from .schema import place

ANSWER_LIMIT = 64 * 1024 * 1024

_FAST = orjson.OPT_SERIALIZE_NUMPY
_LENIENT = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def dump(value: Any) -> bytes:
    """`value` as JSON. Arrays and numpy scalars are written as lists and numbers; int keys become strings.

    Raises `CallError` 500 MR.0105 for NaN or infinity, for types that are not JSON, and above `ANSWER_LIMIT`.
    """
    try:
        text = orjson.dumps(value, _default, _FAST)
    except TypeError:
        try:
            text = orjson.dumps(value, _default, _LENIENT)
        except TypeError as error:
            raise bad_answer(f"The model's answer is not JSON: {_reason(error)}.") from error
    if b"null" in text:
        path = _not_finite(value, ())
        if path is not None:
            raise bad_answer(
                f"The model answered NaN or infinity at {place(path)}, which JSON cannot carry. Handle such "
                "values in _postprocess, or ask for the output as binary through /v2."
            )
    check_size(len(text))
    return text


def check_size(size: int) -> None:
    """Raise `CallError` 500 MR.0105 when an answer of `size` bytes is too large to send."""
    if size > ANSWER_LIMIT:
        raise bad_answer(
            f"The model's answer has {size} bytes; at most {ANSWER_LIMIT} can be sent. "
            "Send fewer rows at a time, or answer less."
        )


def plain(array: np.ndarray) -> Any:
    """A result array in a form that orjson writes: numbers as they are, strings and objects as lists."""
    if array.dtype.kind in "OSU":
        return _text(array.tolist())
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return [_text(item) for item in value] if isinstance(value, list) else value


def _default(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return plain(value) if value.dtype.kind in "OSU" else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, bytes):
        return value.decode("utf-8")
    to_list = getattr(value, "tolist", None)
    if callable(to_list):
        return to_list()
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _reason(error: TypeError) -> str:
    return str(error.__cause__ or error).rstrip(".")


def _not_finite(value: Any, path: tuple) -> tuple | None:
    if isinstance(value, (float, np.floating)):
        return None if math.isfinite(value) else path
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            bad = np.argwhere(~np.isfinite(value))
            return (*path, *(int(step) for step in bad[0])) if len(bad) else None
        return _not_finite(value.tolist(), path) if value.dtype.kind == "O" else None
    if isinstance(value, dict):
        pairs: Any = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    else:
        return None
    for key, item in pairs:
        found = _not_finite(item, (*path, key))
        if found is not None:
            return found
    return None
