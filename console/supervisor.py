"""The only client of supervisord: XML-RPC over its Unix socket (shapes: engine-notes, supervisord 4.3).

Calls are answered by supervisord's single loop within milliseconds. A `Supervisor` holds no connection, so
threads and processes may share or copy it freely.
"""

from __future__ import annotations

import base64
import http.client
import socket
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import env

SOCKET_NAME = "supervisor.sock"
USER = "slipway"

# supervisor.xmlrpc.Faults; the package itself is not imported, it is a program that we talk to
SHUTDOWN_STATE = 6
BAD_NAME = 10
NOT_RUNNING = 70
ALREADY_STARTED = 60
ALREADY_ADDED = 90
STILL_RUNNING = 91
CANT_REREAD = 92

ENDED_STATES = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


class SupervisorUnreachable(Exception):
    """Nothing answers on the socket: the stack is down, or going down."""


class SupervisorFault(Exception):
    """supervisord refused a call. `code` is one of the constants above, the message its own words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Process:
    """One program as supervisord sees it."""

    name: str
    state: str  # STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN
    pid: int  # 0: no process now
    started: int  # epoch seconds of the latest start, 0: never
    ended: int  # epoch seconds of the latest end, 0: never
    exit_status: int
    error: str  # why it could not be started or ended, in supervisord's words

    @property
    def has_ended(self) -> bool:
        """No process, and supervisord will not start one by itself (EXITED is restarted within a second)."""
        return self.state in ENDED_STATES


class Supervisor:
    """The calls that Slipway needs, each named for what it achieves."""

    def __init__(self, socket_path: Path, password: str, timeout: float = 10.0) -> None:
        self._socket_path = str(socket_path)
        self._authorization = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self._timeout = timeout

    @classmethod
    def of(cls, var: Path, run: Path, timeout: float = 10.0) -> Supervisor:
        """The supervisor of the installation in `var` with its sockets in `run`."""
        return cls(run / SOCKET_NAME, password(var), timeout)

    def pid(self) -> int:
        """The process id of supervisord itself."""
        return int(self._call("getPID"))

    def shut_down(self) -> None:
        """Make supervisord stop every program and end. Quicker than SIGTERM, which it may notice late."""
        self._call("shutdown")

    def processes(self) -> list[Process]:
        """Every program, in one call."""
        return [_process(info) for info in self._call("getAllProcessInfo")]

    def process(self, name: str) -> Process | None:
        """One program; None when supervisord does not have it."""
        try:
            return _process(self._call("getProcessInfo", name))
        except SupervisorFault as fault:
            if fault.code == BAD_NAME:
                return None
            raise

    def add(self, name: str) -> None:
        """Take up the program whose configuration file has just been written. Fine when it is there.

        supervisord keeps what it read: the file is not needed afterwards, and since it re-reads every file
        at each call, in a time that grows with their square, it should be removed.
        """
        try:
            self._call("reloadConfig")
        except SupervisorFault as fault:
            if fault.code != CANT_REREAD:
                raise
            self._call("reloadConfig")  # another program's file vanished between listing and reading
        try:
            self._unless(ALREADY_ADDED, "addProcessGroup", name)
        except SupervisorFault as fault:
            # unknown when somebody else added the same program and removed its file since
            if fault.code != BAD_NAME or self.process(name) is None:
                raise

    def start(self, name: str) -> None:
        """Start the program without waiting for it. Fine when it runs."""
        self._unless(ALREADY_STARTED, "startProcess", name, False)

    def stop(self, name: str) -> None:
        """Send the program its stop signal without waiting for the end. Fine when it is gone or has ended."""
        self._unless((NOT_RUNNING, BAD_NAME), "stopProcess", name, False)

    def kill(self, name: str) -> None:
        """Send SIGKILL to the program's own process. Fine when it is gone or has ended."""
        self._unless((NOT_RUNNING, BAD_NAME), "signalProcess", name, "KILL")

    def remove(self, name: str) -> bool:
        """Forget an ended program; False when it still runs. Fine when it is gone."""
        try:
            self._unless(BAD_NAME, "removeProcessGroup", name)
        except SupervisorFault as fault:
            if fault.code == STILL_RUNNING:
                return False
            raise
        return True

    def _unless(self, fine: int | tuple[int, ...], method: str, *params: Any) -> None:
        try:
            self._call(method, *params)
        except SupervisorFault as fault:
            if fault.code not in (fine if isinstance(fine, tuple) else (fine,)):
                raise

    def _call(self, method: str, *params: Any) -> Any:
        body = xmlrpc.client.dumps(params, f"supervisor.{method}").encode()
        connection = _UnixConnection(self._socket_path, self._timeout)
        try:
            connection.request(
                "POST",
                "/RPC2",
                body,
                {"Content-Type": "text/xml", "Authorization": f"Basic {self._authorization}"},
            )
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise SupervisorUnreachable(f"supervisord does not answer: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise SupervisorUnreachable(f"supervisord answered {response.status} {response.reason}")
        try:
            (value,), _ = xmlrpc.client.loads(answer)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == SHUTDOWN_STATE:
                raise SupervisorUnreachable("supervisord is shutting down") from fault
            raise SupervisorFault(fault.faultCode, fault.faultString) from fault
        return value


def password(var: Path) -> str:
    """The password that supervisord asks for: model processes run under the same user as its socket."""
    return env.kept_secret(var / "secrets" / "supervisor")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _process(info: dict[str, Any]) -> Process:
    return Process(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"],
        started=info["start"],
        ended=info["stop"],
        exit_status=info["exitstatus"],
        error=info["spawnerr"],
    )
