"""ONNX: a bare ``.onnx``, run by ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Unusable, bad_request
from .base import Engine, Predicted, Tensor, numbers

DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_NUMPY = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip


def load(model_file: Path, threads: int) -> Engine:
    """Open an inference session that uses at most `threads` threads for one run."""
    os.environ["ORT_DISABLE_TELEMETRY"] = (
        "1"  # read at import; recent releases report to their maker otherwise
    )
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # no warnings about graphics cards that it may not look for
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Waiting threads must sleep: other instances share these processors.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"])
    return OnnxEngine(session, onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument)


class OnnxEngine(Engine):
    """One session. Outputs that are not tensors (sequences of maps) answer the table API only, not Open
    Inference.
    """

    platform = "onnxruntime_onnx"

    def __init__(self, session: Any, invalid: type[Exception]) -> None:
        self._run = session.run
        self._invalid = invalid
        unknown = [node.name for node in session.get_inputs() if node.type not in DATATYPES]
        if unknown:
            raise Unusable(
                f"The inputs {', '.join(unknown)} of the ONNX model have types that cannot be served."
            )
        self.inputs = tuple(map(_tensor, session.get_inputs()))
        self._every_output = [node.name for node in session.get_outputs()]
        self.outputs = tuple(_tensor(node) for node in session.get_outputs() if node.type in DATATYPES)
        self.default_outputs = tuple(tensor.name for tensor in self.outputs)
        self.has_scores = len(self._every_output) > 1
        first = self.inputs[0].shape
        if len(self.inputs) > 1:
            self.columns = tuple(tensor.name for tensor in self.inputs)
        elif len(first) == 2 and first[1] > 0:
            self.width = first[1]

    def run(self, feeds: dict[str, np.ndarray], wanted: Sequence[str]) -> list[np.ndarray]:
        try:
            return self._run(wanted, feeds)
        except self._invalid as error:
            raise bad_request(f"The model does not take these inputs together: {error}") from error

    def predict(self, data: Any) -> Any:
        if not isinstance(data, dict):
            data = {self.inputs[0].name: data}
        feeds = {
            tensor.name: _cast(data[tensor.name], tensor) for tensor in self.inputs if tensor.name in data
        }
        return dict(zip(self._every_output, self._run(None, feeds), strict=True))

    def predict_table(self, rows: list[list], columns: Sequence[str] | None, with_scores: bool) -> Predicted:
        results = self._run(None, self._feeds(rows, columns))
        first = results[0]
        if isinstance(first, np.ndarray) and first.ndim == 2 and first.shape[1] == 1:
            first = first[:, 0]
        if not with_scores or len(results) < 2:
            return Predicted(first)
        scores = results[1]
        if isinstance(scores, list) and scores and isinstance(scores[0], dict):
            classes = list(scores[0])
            return Predicted(first, np.array([[row[key] for key in classes] for row in scores]), classes)
        if isinstance(scores, np.ndarray) and scores.ndim == 2:
            return Predicted(first, scores, range(scores.shape[1]))
        return Predicted(first)

    def _feeds(self, rows: list[list], columns: Sequence[str] | None) -> dict[str, np.ndarray]:
        if len(self.inputs) == 1:
            tensor = self.inputs[0]
            if tensor.datatype == "BYTES":
                return {tensor.name: np.array(rows, dtype=object)}
            return {tensor.name: numbers(rows, columns, _NUMPY[tensor.datatype])}
        by_name = dict(zip(columns or (), zip(*rows, strict=True), strict=True))
        missing = [tensor.name for tensor in self.inputs if tensor.name not in by_name]
        if missing:
            raise bad_request(f"The model also needs {', '.join(missing)}. Send them in every row.")
        feeds = {}
        for tensor in self.inputs:
            cells = [[cell] for cell in by_name[tensor.name]]
            if tensor.datatype == "BYTES":
                column = np.array(cells, dtype=object)
            else:
                column = numbers(cells, [tensor.name], _NUMPY[tensor.datatype])
            feeds[tensor.name] = column if len(tensor.shape) == 2 else column[:, 0]
        return feeds


def _tensor(node: Any) -> Tensor:
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape)
    return Tensor(node.name, DATATYPES[node.type], shape)


def _cast(value: Any, tensor: Tensor) -> np.ndarray:
    dtype = object if tensor.datatype == "BYTES" else _NUMPY[tensor.datatype]
    return np.ascontiguousarray(value, dtype=dtype)
