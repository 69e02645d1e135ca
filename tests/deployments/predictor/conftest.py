"""Real packages of every engine, and the predictor as a real process behind a Unix socket."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

REPOSITORY = Path(__file__).resolve().parents[3]
PREDICTOR = REPOSITORY / "deployments" / "predictor"
FEATURES = ("sepal_len", "sepal_wid", "petal_len", "petal_wid")


def table_api(result: dict[str, Any] | None = None, features: tuple[str, ...] = FEATURES) -> dict[str, Any]:
    """The documented tabular API (facts §2.8 e)."""
    row = {
        "type": "object",
        "properties": {name: {"type": "number"} for name in features},
        "required": list(features),
    }
    answer = {"type": "object", "properties": result or {"predict_result": {"type": "number"}}}

    def table(key: str, items: dict[str, Any]) -> dict[str, Any]:
        rows = {"type": "array", "items": [items]}
        data = {"type": "object", "properties": {key: rows}, "required": [key]}
        return {"type": "object", "properties": {"data": data}, "required": ["data"]}

    return {
        "url": "/",
        "method": "post",
        "request": {"Content-type": "application/json", "data": table("req_data", row)},
        "response": {"Content-type": "application/json", "data": table("resp_data", answer)},
    }


def rows_of(table: np.ndarray, features: tuple[str, ...] = FEATURES) -> dict[str, Any]:
    """A request body with the rows of `table`."""
    return {"data": {"req_data": [dict(zip(features, map(float, row), strict=True)) for row in table]}}


def make_package(
    folder: Path,
    engine: str,
    *,
    model: Any = None,
    code: str | None = None,
    api: dict[str, Any] | None = None,
) -> Path:
    """A package folder; `model` is an object to dump, a file to copy, or bytes."""
    inside = folder / "model"
    inside.mkdir(parents=True)
    target = inside / ("model.onnx" if engine == "ONNX" else "model.m")
    if isinstance(model, Path):
        shutil.copy(model, target)
    elif isinstance(model, bytes):
        target.write_bytes(model)
    else:
        joblib.dump(model, target)
    if engine != "ONNX" or api or code:
        config: dict[str, Any] = {"model_type": engine, "model_algorithm": "predict_analysis"}
        if api:
            config["apis"] = [api]
        (inside / "config.json").write_text(json.dumps(config))
    if code:
        (inside / "customize_service.py").write_text(code)
    return folder


@dataclass
class Running:
    """A predictor process and a client for it."""

    process: subprocess.Popen
    client: httpx.Client
    socket: Path
    log_file: Path

    @property
    def log(self) -> str:
        """Everything it wrote so far."""
        return self.log_file.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


@contextlib.contextmanager
def predictor(package: Path, engine: str, *arguments: str, wait: bool = True) -> Iterator[Running]:
    """Start the predictor as the runtime does, by its path and with -I, outside the sandbox."""
    with tempfile.TemporaryDirectory(prefix="p-") as short:
        path = Path(short) / "s.sock"
        command = [sys.executable, "-I", str(PREDICTOR / "__main__.py"), "--package", str(package)]
        command += ["--engine", engine, "--uds", str(path), *arguments]
        with started(command, path, Path(short) / "log", wait=wait) as running:
            yield running


@contextlib.contextmanager
def started(command: list[str], path: Path, log_file: Path, *, wait: bool = True) -> Iterator[Running]:
    """Run `command`, wait until it is ready on the socket `path`, and end it whatever happens."""
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://model", timeout=30)
    running = Running(process, client, path, log_file)
    try:
        if wait:
            wait_until_ready(running)
        yield running
    finally:
        client.close()
        if process.poll() is None:
            process.kill()
        process.wait(20)


def wait_until_ready(running: Running) -> None:
    """Poll /health with a deadline; fail with the log when the process ends before."""
    until(lambda: _healthy(running), running, seconds=60)


def until(condition: Callable[[], Any], running: Running, seconds: float = 20) -> Any:
    """Poll `condition` until it is true and give what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        if running.process.poll() is not None:
            pytest.fail(f"The process ended with {running.process.returncode}:\n{running.log}")
        time.sleep(0.02)
    pytest.fail(f"Not in {seconds} s:\n{running.log}")


def _healthy(running: Running) -> bool:
    try:
        return running.client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def digits_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX classifier of 64 features into ten digits: outputs label (INT64) and probabilities (FP32)."""
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.normal(size=(64, 10)).astype(np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 64])]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10]),
    ]
    path = tmp_path_factory.mktemp("digits") / "digits.onnx"
    save(_model(nodes, inputs, outputs, [weights]), path)
    return path


@pytest.fixture(scope="session")
def identity_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One vector per datatype, given back as it came: input i_X becomes output o_X."""
    kinds = {
        "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16,
        "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8,
        "INT16": TensorProto.INT16, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64,
        "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
        "BYTES": TensorProto.STRING,
    }  # fmt: skip
    nodes, inputs, outputs = [], [], []
    for name, kind in kinds.items():
        nodes.append(helper.make_node("Identity", [f"i_{name}"], [f"o_{name}"]))
        inputs.append(helper.make_tensor_value_info(f"i_{name}", kind, [f"n_{name}"]))
        outputs.append(helper.make_tensor_value_info(f"o_{name}", kind, [f"n_{name}"]))
    path = tmp_path_factory.mktemp("identity") / "identity.onnx"
    save(_model(nodes, inputs, outputs, []), path)
    return path


def _model(nodes: list, inputs: list, outputs: list, constants: list) -> Any:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def iris() -> tuple[np.ndarray, np.ndarray]:
    """150 rows of four features, and their classes 0, 1, 2."""
    return load_iris(return_X_y=True)


@pytest.fixture(scope="session")
def iris_model(iris: tuple[np.ndarray, np.ndarray]) -> LogisticRegression:
    """A scikit-learn classifier of the iris flowers."""
    return LogisticRegression(max_iter=500).fit(*iris)
