"""Datatypes of the protocol and numpy's, and tensors as JSON lists or raw little-endian bytes."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from itertools import chain
from math import isfinite, prod
from typing import Any

import numpy as np

from ..errors import CallError, bad_request

NUMPY: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BYTES = "BYTES"
_NAMES = {dtype: name for name, dtype in NUMPY.items()}
# `array` takes a list of Python numbers faster than numpy does and, unlike it, refuses 1.5 for an integer
# type.
_CODES = {
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q",     "FP16": "d", "FP32": "f", "FP64": "d",
}  # fmt: skip
_LARGEST = {"FP32": float(np.finfo(np.float32).max), "FP16": float(np.finfo(np.float16).max)}
_LENGTH = struct.Struct("<I")


def fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether `shape` is one that `wanted` allows, in which -1 is any size."""
    return len(shape) == len(wanted) and all(map(_same, shape, wanted))


def _same(size: int, want: int) -> bool:
    return size == want or want == -1


def name_of(values: np.ndarray) -> str:
    """The protocol's datatype of a numpy array."""
    return _NAMES.get(values.dtype, BYTES)


def from_list(values: Any, datatype: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A JSON list, flat or nested as `shape` says, as an array. Raises `CallError` 400 that starts with
    `where`.
    """
    if not isinstance(values, list):
        raise bad_request(f"{where}: data must be an array.")
    size = prod(shape)
    if values and type(values[0]) is list:
        values = _flatten(values, shape, where)
    if len(values) != size:
        raise bad_request(f"{where}: shape {list(shape)} needs {size} values, but data has {len(values)}.")
    if datatype == BYTES:
        return _texts(values, where).reshape(shape)
    if datatype == "BOOL":
        if not set(map(type, values)) <= {bool}:
            raise bad_request(f"{where}: datatype BOOL takes only true and false.")
        return np.array(values, dtype=np.bool_).reshape(shape)
    if not size:
        return np.empty(shape, dtype=NUMPY[datatype])
    code = _CODES[datatype]
    try:
        flat = np.frombuffer(array(code, values), dtype=code)
    except (TypeError, OverflowError) as error:
        raise bad_request(f"{where}: a value does not fit datatype {datatype}: {error}.") from None
    if datatype == "FP16":
        with np.errstate(over="ignore"):
            flat = flat.astype(np.float16)
    if datatype in _LARGEST and not _within(values, flat, _LARGEST[datatype]):
        raise bad_request(f"{where}: a value is too large for datatype {datatype}.")
    return flat.reshape(shape)


def from_bytes(
    body: bytes | memoryview, start: int, length: int, datatype: str, shape: tuple[int, ...], where: str
) -> np.ndarray:
    """`length` raw bytes of `body` from `start` as an array, without copying where alignment allows."""
    size = prod(shape)
    if datatype == BYTES:
        return _strings(body, start, length, size, where).reshape(shape)
    dtype = NUMPY[datatype]
    if length != size * dtype.itemsize:
        raise bad_request(
            f"{where}: shape {list(shape)} of {datatype} needs {size * dtype.itemsize} bytes, "
            f"but binary_data_size is {length}."
        )
    if not size:
        return np.empty(shape, dtype=dtype)
    flat = np.frombuffer(body, dtype=dtype, count=size, offset=start)
    if datatype == "BOOL" and flat.view(np.uint8).max() > 1:
        raise bad_request(f"{where}: a BOOL is one byte, 0 or 1.")
    if not flat.flags.aligned:  # the length of the JSON head decides; native code must not see odd addresses
        flat = flat.copy()
    return flat.reshape(shape)


def to_bytes(values: np.ndarray, datatype: str) -> bytes | memoryview:
    """An array as the protocol's raw bytes."""
    if datatype == BYTES:
        parts = []
        for item in values.ravel().tolist():
            text = item if isinstance(item, bytes) else str(item).encode()
            parts += (_LENGTH.pack(len(text)), text)
        return b"".join(parts)
    values = np.ascontiguousarray(values, dtype=NUMPY[datatype])
    return values.reshape(-1).view(np.uint8).data if values.size else b""


def _within(values: list, flat: np.ndarray, largest: float) -> bool:
    """Whether no number became infinite in 16 or 32 bits; JSON itself cannot hold an infinity."""
    if len(values) < 512:  # calling into numpy costs more than this
        return max(values) <= largest and min(values) >= -largest
    with np.errstate(over="ignore"):
        # A finite sum proves it in one cheap pass; only a sum that is not asks for every number.
        return isfinite(np.add.reduce(flat)) or bool(np.isfinite(flat).all())


def _flatten(values: list, shape: tuple[int, ...], where: str) -> list:
    for depth, size in enumerate(shape[1:], start=1):
        for item in values:
            if type(item) is not list or len(item) != size:
                raise _ragged(shape, depth, where)
        values = values[0] if len(values) == 1 else list(chain.from_iterable(values))
    return values


def _ragged(shape: tuple[int, ...], depth: int, where: str) -> CallError:
    return bad_request(f"{where}: the nested arrays at depth {depth} do not match shape {list(shape)}.")


def _texts(values: list, where: str) -> np.ndarray:
    if not set(map(type, values)) <= {str}:
        raise bad_request(f"{where}: datatype BYTES takes only strings in JSON.")
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _strings(body: bytes | memoryview, start: int, length: int, size: int, where: str) -> np.ndarray:
    found: list[Any] = []
    end = start + length
    while start < end:
        if end - start < 4 or end - start - 4 < _LENGTH.unpack_from(body, start)[0]:
            raise bad_request(f"{where}: the binary data ends inside element {len(found)}.")
        count = _LENGTH.unpack_from(body, start)[0]
        found.append(_text(bytes(body[start + 4 : start + 4 + count])))
        start += 4 + count
        if len(found) > size:
            break
    if len(found) != size:
        raise bad_request(f"{where}: the shape needs {size} strings, but the binary data holds {len(found)}.")
    values = np.empty(size, dtype=object)
    values[:] = found
    return values


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
