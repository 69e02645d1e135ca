"""A real Envoy with real servers behind it, and callers that never retry."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from deployments.gateway import envoy
from deployments.gateway.base import Backend, Route
from deployments.gateway.envoy import EnvoyGateway

KEY = "k-0123456789abcdef"


def wait_for(truth, seconds: float = 15.0, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds} s"
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def route(service_id: str = "a", *backends: Backend, key: str = KEY, **more) -> Route:
    return Route(service_id, (("test", key),), backends, **more)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        return self.json.get("error_code") if self.status >= 400 else None

    @property
    def version(self) -> str | None:
        return self.headers.get("x-model-version")

    @property
    def received(self) -> dict[str, str]:
        """The headers that the model saw."""
        return dict(self.json["headers"])


class Model:
    """A model server process on a Unix socket."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.address = str(folder / f"{name}.sock")
        script = Path(__file__).with_name("model.py")
        self.process = subprocess.Popen([sys.executable, str(script), self.address, name])
        wait_for(self._listens, what=f"model {name} listening")

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.address)
            except OSError:
                return False
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class World:
    """One Envoy, its gateway door, and the models started for a test. Folder names hold a space and 中文."""

    def __init__(self, folder: Path, **bootstrap) -> None:
        self.folder = folder / "配置 folder"
        # Unix socket paths hold 107 bytes: pytest's folders can be deeper than that.
        self.run = Path(tempfile.mkdtemp(prefix="slipway 套-"))
        self.port = free_port()
        self.bootstrap_file = self.folder / "envoy" / "bootstrap.yaml"
        self.config_dir = self.folder / "envoy" / "config"
        self.admin_socket = self.run / "admin.sock"
        self.log = folder / "envoy.log"
        self.options = bootstrap
        self.gateway = EnvoyGateway(self.config_dir, self.admin_socket)
        self.process: subprocess.Popen | None = None
        self.models: list[Model] = []

    def start(self) -> None:
        self.prepare()
        line = envoy.command(self.bootstrap_file, envoy.find_envoy())
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(line, stdout=log, stderr=log)
        wait_for(self.gateway.ready, what="Envoy ready")

    def prepare(self) -> None:
        envoy.write_bootstrap(
            self.bootstrap_file,
            host="127.0.0.1",
            port=self.port,
            config_dir=self.config_dir,
            admin_socket=self.admin_socket,
            **self.options,
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def model(self, name: str) -> Model:
        model = Model(self.run, name)
        self.models.append(model)
        return model

    def close(self) -> None:
        self.stop()
        for model in self.models:
            model.kill()
        shutil.rmtree(self.run)

    def call(
        self, path: str = "/v1/infers/a", *, key: str | None = KEY, body: bytes = b"{}", **options
    ) -> Reply:
        caller = Caller(self.port)
        try:
            return caller.call(path, key=key, body=body, **options)
        finally:
            caller.close()

    def raw(self, request: bytes, seconds: float = 5.0) -> bytes:
        """Send bytes, return all that comes back until Envoy closes or has been silent for a moment."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            try:
                connection.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it does not want all of it; its answer can still be read
            connection.settimeout(0.5)
            try:
                while part := connection.recv(65536):
                    answer += part
            except (TimeoutError, ConnectionResetError):
                pass
        return answer


class Caller:
    """One keep-alive connection; an error is an error, nothing is sent twice."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def call(
        self,
        path: str,
        *,
        key: str | None = KEY,
        body: bytes | None = b"{}",
        method: str = "POST",
        headers: dict[str, str] | None = None,
        chunked: bool = False,
    ) -> Reply:
        given = ({"X-Apig-AppCode": key} if key is not None else {}) | (headers or {})
        payload = iter([body]) if chunked else body
        self.connection.request(method, path, body=payload, headers=given, encode_chunked=chunked)
        response = self.connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, names, response.read())

    def close(self) -> None:
        self.connection.close()


class Load:
    """Threads that call without a pause while the block runs; `problems` is what was not a 200 with the
    right answer.
    """

    def __init__(self, port: int, connections: int = 4, path: str = "/v1/infers/a", key=lambda: KEY) -> None:
        self.port, self.path, self.key = port, path, key
        self.answers: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]

    def _run(self) -> None:
        caller = Caller(self.port)
        while not self._end.is_set():
            try:
                reply = caller.call(self.path, key=self.key())
            except (OSError, http.client.HTTPException) as error:
                self.problems[type(error).__name__] += 1
                caller.close()
                caller = Caller(self.port)
                continue
            if reply.status == 200:
                self.answers[reply.json["name"]] += 1
            else:
                self.problems[f"{reply.status} {reply.body.decode()}"] += 1
        caller.close()

    @property
    def calls(self) -> int:
        return self.answers.total()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.calls + self.problems.total() > 10, what="the load running")
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)


def mode_of(path: Path) -> str:
    return oct(os.stat(path).st_mode & 0o7777)
