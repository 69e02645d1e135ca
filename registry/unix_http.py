"""One bounded HTTP request over a Unix socket, to a server that is not trusted."""

from __future__ import annotations

import http.client
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class NoAnswer(Exception):
    """Nobody listens, or what came was not an HTTP answer."""


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer; `complete` is false when the body was longer than was asked for."""

    status: int
    body: bytes
    complete: bool = True


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        # The server owns the folder: it could put a link to another server's socket there.
        if not stat.S_ISSOCK(self._path.lstat().st_mode):
            raise ConnectionRefusedError("not a socket")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(
    path: Path,
    method: str,
    target: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 5.0,
    max_bytes: int = 4 << 20,
) -> Answer:
    """Send one request to the socket `path` and read at most `max_bytes` of the answer.

    `timeout` bounds each wait for bytes, not their sum: a caller that must end in time ends the server.
    Raises NoAnswer.
    """
    connection = _Connection(path, timeout)
    try:
        connection.request(method, target, body=body, headers={"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        content = response.read(max_bytes + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(type(error).__name__) from error
    finally:
        connection.close()
    return Answer(response.status, content[:max_bytes], len(content) <= max_bytes)
