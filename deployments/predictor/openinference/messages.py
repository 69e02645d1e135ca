"""``infer`` requests to arrays, and arrays to answers.

Wire form: a JSON head; with the header ``Inference-Header-Content-Length: N`` only the first N bytes of the
body are the head, and the raw data of the tensors with ``binary_data_size`` follows in the order of the
inputs. Answers are built the same way. No list is ever made on the binary path.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import orjson

from ..answers import check_size, dump, plain
from ..engines.base import Tensor
from ..errors import bad_answer, bad_request
from . import datatypes


@dataclass(frozen=True, slots=True)
class Wanted:
    """One output to compute, and whether it is answered as raw bytes."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A decoded request."""

    id: str | None
    feeds: dict[str, np.ndarray]
    wanted: list[Wanted]


def decode(
    body: bytes | memoryview,
    head_length: int | None,
    inputs: dict[str, Tensor],
    outputs: dict[str, Tensor],
    default: tuple[str, ...],
) -> InferRequest:
    """Parse and check a request. Raises `CallError` 400 that names the tensor and what to change."""
    head = _head(body, head_length)
    if not isinstance(head, dict):
        raise bad_request("The request must be a JSON object with “inputs”.")
    request_id = head.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise bad_request("“id” must be a string.")
    feeds = _inputs(head.get("inputs"), body, head_length, inputs)
    return InferRequest(request_id, feeds, _wanted(head, outputs, default))


def encode(
    request: InferRequest, results: list[np.ndarray], name: str, version: str
) -> tuple[bytes | list[bytes | memoryview], int | None]:
    """The answer's body and, when a part of it is binary, the length of its JSON head."""
    tensors: list[dict[str, Any]] = []
    tail: list[bytes | memoryview] = []
    for wanted, values in zip(request.wanted, results, strict=True):
        if not isinstance(values, np.ndarray):
            raise bad_answer(f"The output “{wanted.name}” is not a tensor; call POST / instead.")
        datatype = datatypes.name_of(values)
        tensor: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": values.shape}
        if wanted.binary:
            raw = datatypes.to_bytes(values, datatype)
            tensor["parameters"] = {"binary_data_size": len(raw)}
            tail.append(raw)
        else:
            tensor["data"] = plain(values.reshape(-1))
        tensors.append(tensor)
    head: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": tensors}
    if request.id is not None:
        head["id"] = request.id
    text = dump(head)
    if not tail:
        return text, None
    check_size(len(text) + sum(map(len, tail)))
    return [text, *tail], len(text)


def _head(body: bytes | memoryview, head_length: int | None) -> Any:
    if head_length is None:
        text: bytes | memoryview = body
    elif 0 < head_length <= len(body):
        text = memoryview(body)[:head_length]
    else:
        raise bad_request(
            f"Inference-Header-Content-Length is {head_length}, but the body has {len(body)} bytes. "
            "It must be the length of the JSON head at the start of the body."
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        part = "body" if head_length is None else "head of the body"
        raise bad_request(f"The {part} is not JSON: {error}.") from None


def _inputs(
    found: Any, body: bytes | memoryview, head_length: int | None, declared: dict[str, Tensor]
) -> dict[str, np.ndarray]:
    if not isinstance(found, list) or not found:
        raise bad_request("“inputs” must be an array with every input of the model.")
    feeds: dict[str, np.ndarray] = {}
    at = len(body) if head_length is None else head_length
    for item in found:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise bad_request("Every input must be an object with “name”, “datatype”, “shape” and its data.")
        name = item["name"]
        tensor = declared.get(name)
        if tensor is None:
            raise bad_request(f"The model has no input “{name}”; its inputs are {', '.join(declared)}.")
        if name in feeds:
            raise bad_request(f"The input “{name}” is sent twice.")
        where = f"Input “{name}”"
        datatype = item.get("datatype")
        _check_datatype(datatype, tensor, where)
        shape = _shape(item.get("shape"), tensor, where)
        size = _parameter(item, "binary_data_size", where)
        if size is None:
            if "data" not in item:
                raise bad_request(f"{where}: there is neither “data” nor the parameter binary_data_size.")
            feeds[name] = datatypes.from_list(item["data"], datatype, shape, where)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise bad_request(f"{where}: binary_data_size must be a number of bytes.")
        if head_length is None:
            raise bad_request(f"{where}: binary data needs the header Inference-Header-Content-Length.")
        if at + size > len(body):
            raise bad_request(
                f"{where}: binary_data_size is {size}, but only {len(body) - at} bytes of the body are left."
            )
        feeds[name] = datatypes.from_bytes(body, at, size, datatype, shape, where)
        at += size
    if at != len(body):
        raise bad_request(
            f"{len(body) - at} bytes after the last tensor belong to no input. Check binary_data_size."
        )
    missing = [name for name in declared if name not in feeds]
    if missing:
        raise bad_request(f"The inputs {', '.join(missing)} are missing.")
    return feeds


def _check_datatype(datatype: Any, tensor: Tensor, where: str) -> None:
    if datatype == tensor.datatype:
        return
    if not isinstance(datatype, str) or (datatype not in datatypes.NUMPY and datatype != datatypes.BYTES):
        raise bad_request(f"{where}: “{datatype}” is no datatype that can be served; use {tensor.datatype}.")
    if tensor.any_number and datatype in datatypes.NUMPY:
        return
    raise bad_request(f"{where}: the model takes datatype {tensor.datatype}, not {datatype}.")


def _shape(found: Any, tensor: Tensor, where: str) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(type(size) is int and 0 <= size < 2**31 for size in found):
        raise bad_request(f"{where}: shape must be an array of whole numbers, such as {list(tensor.shape)}.")
    if len(found) > 32 or prod(found) >= 2**40:
        raise bad_request(f"{where}: shape {found[:32]} is too large.")
    if not datatypes.fits(found, tensor.shape):
        raise bad_request(f"{where}: the model takes shape {list(tensor.shape)} (-1 is any), not {found}.")
    return tuple(found)


def _wanted(head: dict[str, Any], outputs: dict[str, Tensor], default: tuple[str, ...]) -> list[Wanted]:
    all_binary = _flag(
        _parameter(head, "binary_data_output", "The request"), "binary_data_output", "The request"
    )
    found = head.get("outputs")
    if found is None or found == []:
        return [Wanted(name, bool(all_binary)) for name in default]
    if not isinstance(found, list):
        raise bad_request("“outputs” must be an array of objects with “name”.")
    wanted: list[Wanted] = []
    for item in found:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in outputs:
            raise bad_request(f"The model has no output “{name}”; its outputs are {', '.join(outputs)}.")
        where = f"Output “{name}”"
        binary = _flag(_parameter(item, "binary_data", where), "binary_data", where)
        wanted.append(Wanted(name, bool(all_binary) if binary is None else binary))
    return wanted


def _parameter(item: dict[str, Any], key: str, where: str) -> Any:
    parameters = item.get("parameters")
    if parameters is None:
        return None
    if not isinstance(parameters, dict):
        raise bad_request(f"{where}: “parameters” must be an object.")
    return parameters.get(key)


def _flag(value: Any, key: str, where: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise bad_request(f"{where}: the parameter {key} must be true or false.")
    return value
