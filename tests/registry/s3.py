"""A real S3 server for tests: `rclone serve s3` on loopback, over a folder that the test can look into."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.sources.objects import ObjectConnection

ACCESS_KEY = "slipwaytestaccesskey01"  # rclone refuses shorter ones
SECRET_KEY = "slipwaytestsecretkey0123456789"
START_SECONDS = 20


@dataclass(frozen=True)
class S3Server:
    """A running server; buckets are folders of `folder`."""

    endpoint: str
    folder: Path
    process: subprocess.Popen[bytes]

    def connection(self, **changes: object) -> ObjectConnection:
        """A connection with the right keys, and `changes`."""
        facts: dict[str, object] = {
            "kind": "s3",
            "endpoint": self.endpoint,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
        }
        return ObjectConnection(**(facts | changes))


@contextlib.contextmanager
def serve_s3(folder: Path) -> Iterator[S3Server]:
    """Serve `folder` until the block ends."""
    program = Path(sys.executable).with_name("rclone")
    program = program if program.exists() else Path(shutil.which("rclone") or "rclone")
    port = free_port()
    process = subprocess.Popen(
        [
            program, "serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--addr", f"127.0.0.1:{port}",
            "--config", "", "--dir-cache-time", "1ms", "--vfs-cache-mode", "off", str(folder),
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("rclone serve s3 does not start")
            time.sleep(0.02)
        yield S3Server(f"http://127.0.0.1:{port}", folder, process)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
