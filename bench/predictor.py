"""The predictor against the least that could serve the same model: one run, ratios, a Markdown table.

``python -m bench.predictor [--seconds 0.7] [--rounds 4]``. Rounds are interleaved, so that whatever else
the machine does hits both sides; the figures are the best of the rounds. The predictor is measured at its own
socket and behind the gateway with the key check.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from bench import load
from bench.gateway import HEADERS, running_gateway

HERE = Path(__file__).resolve().parent
PREDICTOR = HERE.parent / "deployments" / "predictor" / "__main__.py"
IMAGE = (1, 3, 224, 224)
CONNECTIONS = (1, 16, 64)


@dataclass(frozen=True)
class Server:
    """A started server: its socket, seconds from start to the first correct answer, resident MiB after it."""

    address: str
    pid: int
    first_answer: float
    memory: float


@dataclass(frozen=True)
class Measured(load.Result):
    """A load's result with the server's own processor time per request in microseconds (0 when not known).

    On a machine that others use, rates swing by a factor of ten and this figure by a tenth: judge by it then.
    """

    cpu: float = 0.0


def digits_model(folder: Path) -> Path:
    """A tiny classifier of 8×8 digits with random weights: the cost of serving, not of the model, is
    measured.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.normal(size=(64, 10)).astype(np.float32), "w")
    bias = numpy_helper.from_array(np.zeros(10, np.float32), "b")
    nodes = [
        helper.make_node("Gemm", ["X", "w", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10]),
    ]
    return _save(save, helper, nodes, "X", ["n", 64], outputs, [weights, bias], folder)


def image_model(folder: Path) -> Path:
    """One pass over a 1×3×224×224 tensor: the mean of every channel."""
    from onnx import TensorProto, helper, save

    nodes = [helper.make_node("GlobalAveragePool", ["X"], ["Y"])]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["n", 3, 1, 1])]
    return _save(save, helper, nodes, "X", ["n", *IMAGE[1:]], outputs, [], folder)


def _save(save, helper, nodes, name, shape, outputs, constants, folder: Path) -> Path:
    from onnx import TensorProto

    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "bench", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model").mkdir(parents=True)
    save(model, folder / "model" / "bench.onnx")
    return folder / "model" / "bench.onnx"


def predictor_command(model: Path, path: Path) -> list[str]:
    """How the predictor is started, outside the sandbox."""
    package = str(model.parent.parent)
    command = [
        sys.executable,
        "-I",
        str(PREDICTOR),
        "--package",
        package,
        "--engine",
        "ONNX",
        "--uds",
        str(path),
    ]
    return [*command, "--threads", "1"]


def minimal_command(model: Path, path: Path) -> list[str]:
    """How the yardstick is started."""
    return [sys.executable, "-I", str(HERE / "minimal_app.py"), str(model), str(path)]


@contextlib.contextmanager
def running(command: list[str], path: Path, probe: bytes) -> Iterator[Server]:
    """Start a server, wait for its first right answer to `probe`, and stop it at the end."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(path, probe):
            if process.poll() is not None or time.perf_counter() - started > 60:
                raise RuntimeError(f"{command} does not answer (exit code {process.poll()})")
            time.sleep(0.002)
        first = time.perf_counter() - started
        yield Server(str(path), process.pid, first, _resident(process.pid))
    finally:
        process.terminate()
        process.wait(15)


def _answers(path: Path, probe: bytes) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        try:
            connection.connect(str(path))
            connection.sendall(probe)
            return connection.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def bare_loop(model: Path, feed: np.ndarray, seconds: float) -> load.Result:
    """onnxruntime alone, in a loop."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: feed}
    spent: list[float] = []
    until = time.perf_counter() + seconds
    now = time.perf_counter()
    while now < until:
        session.run(None, feeds)
        now, before = time.perf_counter(), now
        spent.append(now - before)
    spent.sort()
    return load.Result(
        len(spent) / seconds, spent[len(spent) // 2] * 1e3, spent[len(spent) * 99 // 100] * 1e3
    )


def interleaved(sides: dict[str, Callable[[], load.Result]], rounds: int) -> dict[str, Measured]:
    """Measure every side once per round, in turn; the best of each figure, which disturbances touch least."""
    found: dict[str, list[load.Result]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides.items())
        for name, measure in order if number % 2 == 0 else reversed(order):
            found[name].append(measure())
    return {
        name: Measured(
            max(one.rate for one in results),
            *(min(getattr(one, key, 0.0) for one in results) for key in ("p50", "p99", "cpu")),
        )
        for name, results in found.items()
    }


def infer_requests(tensor: np.ndarray) -> dict[str, bytes]:
    """The same tensor as both sides take it."""
    raw = tensor.tobytes()
    described = {"name": "X", "datatype": "FP32", "shape": list(IMAGE)}
    binary_head = orjson.dumps(
        {
            "inputs": [{**described, "parameters": {"binary_data_size": len(raw)}}],
            "parameters": {"binary_data_output": True},
        }
    )
    flat = tensor.ravel().tolist()
    octets = {"content-type": "application/octet-stream"}
    return {
        "minimal binary": load.request("/binary", raw, octets),
        "minimal json": load.request("/json", orjson.dumps({"data": flat})),
        "predictor binary": load.request(
            "/v2/models/model/infer",
            binary_head + raw,
            {**octets, "inference-header-content-length": str(len(binary_head))},
        ),
        "predictor json": load.request(
            "/v2/models/model/infer", orjson.dumps({"inputs": [{**described, "data": flat}]})
        ),
    }


def main() -> None:
    """Measure everything and print one Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.7, help="length of one measurement")
    parser.add_argument(
        "--rounds", type=int, default=4, help="interleaved rounds; the best figures are shown"
    )
    parser.add_argument(
        "--model", type=Path, help="an ONNX digits model (input 64 × FP32) instead of the built-in one"
    )
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(options: argparse.Namespace, work: Path) -> None:
    """The measurements of one run, with everything temporary in `work`."""
    started = time.perf_counter()
    model = options.model or digits_model(work / "digits")
    if options.model:
        target = work / "digits" / "model"
        target.mkdir(parents=True)
        model = Path(shutil.copy(options.model, target / "bench.onnx"))
    name = "X"
    row = np.random.default_rng(1).integers(0, 16, size=(1, 64)).astype(np.float32)
    body = orjson.dumps({"inputs": {name: row.tolist()}})
    digits = load.request("/", body)
    seconds, rounds = options.seconds, options.rounds
    print(
        "| what | connections | requests/s | p50 ms | p99 ms | × minimal | CPU µs/call | × minimal, by CPU |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    bare = bare_loop(model, row, seconds)
    _row("onnxruntime in a loop", "–", bare, None)
    commands = {"minimal": minimal_command, "predictor": predictor_command}
    starts: dict[str, list[Server]] = {side: [] for side in commands}
    for number in range(4):
        for side, command in commands.items():
            path = work / f"{side}-{number}.sock"
            with running(command(model, path), path, digits) as server:
                if number:  # the first start of each warms the disk cache
                    starts[side].append(server)
    with contextlib.ExitStack() as stack:
        servers = {}
        for side, command in commands.items():
            path = work / f"{side}.sock"
            servers[side] = stack.enter_context(running(command(model, path), path, digits))
        address = stack.enter_context(running_gateway(servers["predictor"].address))
        for connections in CONNECTIONS:
            sides = {side: _load(server, digits, connections, seconds) for side, server in servers.items()}
            sides["predictor behind the gateway"] = lambda n=connections: load.measure_url(
                address, HEADERS, body, n, seconds
            )
            results = interleaved(sides, rounds)
            for side, result in results.items():
                _row(
                    f"digits, {side}", connections, result, results["minimal"] if side != "minimal" else None
                )
    image = image_model(work / "image")
    tensor = np.random.default_rng(2).random(IMAGE, dtype=np.float32)
    requests = infer_requests(tensor)
    with contextlib.ExitStack() as stack:
        servers = {}
        for side, command in commands.items():
            path = work / f"image-{side}.sock"
            servers[side] = stack.enter_context(
                running(command(image, path), path, requests[f"{side} binary"])
            )
        for kind in ("binary", "json"):
            sides = {s: _load(server, requests[f"{s} {kind}"], 16, seconds) for s, server in servers.items()}
            results = interleaved(sides, rounds)
            for side, result in results.items():
                text = f"602 KB tensor as {kind}, {side}"
                _row(text, 16, result, results["minimal"] if side != "minimal" else None)
    print()
    print("| what | minimal | predictor | ratio | aim |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for text, key, aim in (
        ("start to first answer, s", "first_answer", 1.2),
        ("memory, MiB", "memory", 1.25),
    ):
        least, ours = (min(getattr(one, key) for one in starts[side]) for side in commands)
        print(f"| {text} | {least:.3f} | {ours:.3f} | {ours / least:.2f} | ≤ {aim} |")
    print(f"\nMeasured in {time.perf_counter() - started:.0f} s.")


def _load(server: Server, prepared: bytes, connections: int, seconds: float) -> Callable[[], Measured]:
    def measure() -> Measured:
        before = _processor_seconds(server.pid)
        result = load.measure(server.address, prepared, connections, seconds)
        spent = _processor_seconds(server.pid) - before
        return Measured(result.rate, result.p50, result.p99, spent / max(1.0, result.rate * seconds) * 1e6)

    return measure


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _row(text: str, connections: int | str, result: load.Result, yardstick: load.Result | None) -> None:
    ratio = f"{result.rate / yardstick.rate:.2f}" if yardstick else ""
    cpu, least = getattr(result, "cpu", 0), getattr(yardstick, "cpu", 0)
    cpu_ratio = f"{least / cpu:.2f}" if cpu and least else ""
    figures = f"{result.rate:.0f} | {result.p50:.3f} | {result.p99:.3f} | {ratio} | {cpu:.0f} | {cpu_ratio}"
    print(f"| {text} | {connections} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
