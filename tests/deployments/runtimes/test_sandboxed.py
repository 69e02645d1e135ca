"""The process runtime with the real sandbox around a small model server of the standard library."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.stack import Stack
from deployments.runtimes.base import RuntimeRefused
from deployments.runtimes.process import ProcessRuntime, compose_launch
from registry import launch
from tests.deployments.runtimes.conftest import Bench
from tests.needs import needs_sandbox
from tests.waiting import until

pytestmark = pytest.mark.live

SERVER = """
import json, os, socket, sys
address = sys.argv[sys.argv.index("--uds") + 1]
def tried(act):
    try:
        act()
        return "done"
    except OSError as error:
        return type(error).__name__
facts = {
    "cwd": os.getcwd(),
    "environment": dict(os.environ),
    "scratch": tried(lambda: open("note", "w").close()),
    "own description": tried(lambda: open("../launch.json").close()),
    "program description": tried(lambda: open("../program.json", "w").close()),
    "secret": tried(lambda: open(sys.argv[sys.argv.index("--package") + 1] + "/../secret.key").close()),
}
print("loaded 模型", flush=True)
server = socket.socket(socket.AF_UNIX)
server.bind(address)
server.listen()
body = json.dumps(facts).encode()
while True:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        head = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % len(body)
        connection.sendall(head + body)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment") / "环 境"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


@pytest.fixture
def sandboxed(supervised: Stack, settings: Any, tmp_path: Path) -> Iterator[Bench]:
    needs_sandbox()
    predictor = tmp_path / "predictor"
    predictor.mkdir()
    for name in ("__init__.py", "sandbox.py", "landlock.py", "seccomp.py"):
        shutil.copy(launch.predictor_dir() / name, predictor)
    (predictor / "__main__.py").write_text(SERVER, encoding="utf-8")
    settings.SLIPWAY_PREDICTOR = predictor
    settings.SLIPWAY_RUN = supervised.run
    (tmp_path / "secret.key").write_text("secret")
    client = supervised.supervisor()
    runtime = ProcessRuntime(supervised.var, supervised.run, client, compose_launch, launch.launcher_argv)
    bench = Bench(runtime, lambda id: None, lambda id: None, 2, supervised.var, supervised)
    yield bench
    for left in runtime.list():
        bench.gone(left.id, 0)


def _answer(address: str) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address)
        client.sendall(b"GET /health HTTP/1.1\r\nHost: i\r\n\r\n")
        with client.makefile("rb") as file:
            return json.loads(file.read().partition(b"\r\n\r\n")[2])


def test_an_instance_serves_from_inside_the_sandbox(
    sandboxed: Bench, environment: Path, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    (package / "model").mkdir(parents=True)
    envs = {"THRESHOLD": "0.5 %s #"}
    id = sandboxed.ready(package_dir=package, environment_dir=environment, envs=envs)
    facts = _answer(sandboxed.seen(id).address)
    scratch = sandboxed.var / "instances" / id / "scratch"
    assert facts["cwd"] == str(scratch)
    assert facts["environment"]["THRESHOLD"] == "0.5 %s #"
    assert facts["environment"]["SLIPWAY_STACK"] == sandboxed.stack.mark
    assert facts["scratch"] == "done"
    assert (scratch / "note").exists()
    # What it is started from again is out of its reach: else the next start could leave the sandbox.
    assert (facts["own description"], facts["program description"]) == ("PermissionError", "PermissionError")
    assert facts["secret"] == "PermissionError"
    until(lambda: "loaded 模型" in [line.text for line in sandboxed.runtime.logs(id)])
    sandboxed.gone(id)
    assert not scratch.exists()


def test_a_variable_that_would_steer_the_interpreter_is_refused_and_leaves_nothing(
    sandboxed: Bench, environment: Path, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeRefused, match="PYTHONSTARTUP"):
        sandboxed.started(package_dir=tmp_path, environment_dir=environment, envs={"PYTHONSTARTUP": "x"})
    assert sandboxed.runtime.list() == []


def test_an_environment_that_is_gone_is_given_up_with_the_reason_in_the_log(
    sandboxed: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.runtimes.process.START_RETRIES", 0)
    id = sandboxed.started(package_dir=tmp_path, environment_dir=tmp_path / "gone", envs={})
    until(lambda: sandboxed.seen(id).gave_up)
    until(lambda: any(str(tmp_path / "gone") in line.text for line in sandboxed.runtime.logs(id)))


def test_a_stopped_instance_leaves_its_socket_folder_too(
    sandboxed: Bench, environment: Path, tmp_path: Path
) -> None:
    id = sandboxed.ready(package_dir=tmp_path, environment_dir=environment, envs={})
    address = Path(sandboxed.seen(id).address)
    until(lambda: sandboxed.runtime.probe(id).ready)
    sandboxed.gone(id)
    assert not address.parent.exists()
