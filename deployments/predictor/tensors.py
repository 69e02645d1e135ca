"""``POST /`` of an ONNX model without own code: named inputs as nested lists, named outputs back.

Request: ``{"inputs": {"<name>": nested list, …}}``, or the bare mapping; a model with one input also takes
``{"inputs": nested list}``. Answer: ``{"outputs": {"<name>": nested list, …}}``. Shapes are read off the
nesting.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .answers import plain
from .engines.base import Engine, Tensor
from .errors import CallError, bad_request
from .openinference.datatypes import fits, from_list


class TensorsApi:
    """Reads nested lists into arrays, writes arrays as nested lists."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._inputs = engine.inputs
        self._names = {tensor.name for tensor in engine.inputs}

    def answer(self, body: Any) -> dict[str, Any]:
        """One call: the request's parsed body → the answer's object."""
        found = body
        if isinstance(body, dict) and "inputs" in body and not ("inputs" in self._names and len(body) == 1):
            found = body["inputs"]
        if isinstance(found, list) and len(self._inputs) == 1:
            found = {self._inputs[0].name: found}
        if not isinstance(found, dict):
            raise bad_request(f"The body must be {self._example()}.")
        if found.keys() != self._names:
            raise self._wrong_names(found)
        feeds = {tensor.name: _array(found[tensor.name], tensor) for tensor in self._inputs}
        names = self._engine.default_outputs
        results = self._engine.run(feeds, names)
        return {"outputs": {name: plain(values) for name, values in zip(names, results, strict=True)}}

    def _wrong_names(self, found: dict[str, Any]) -> CallError:
        unknown = [name for name in found if name not in self._names]
        if unknown:
            return bad_request(f"The model has no input “{unknown[0]}”. Send {self._example()}.")
        missing = [name for name in self._names if name not in found]
        return bad_request(f"The input “{missing[0]}” is missing. Send {self._example()}.")

    def _example(self) -> str:
        return '{"inputs": {' + ", ".join(f'"{tensor.name}": […]' for tensor in self._inputs) + "}}"


def _array(value: Any, tensor: Tensor) -> np.ndarray:
    where = f"Input “{tensor.name}”"
    nesting = []
    inner = value
    while type(inner) is list:
        nesting.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    if not fits(nesting, tensor.shape):
        raise bad_request(f"{where}: the model takes shape {list(tensor.shape)} (-1 is any), not {nesting}.")
    return from_list(value if nesting else [value], tensor.datatype, tuple(nesting), where)
