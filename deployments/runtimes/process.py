"""Instances as sandboxed processes of this machine, kept running by the stack's supervisord.

Per instance: `var/instances/<id>/` (description, facts, and `scratch/`, the only part that the process may
write), `SLIPWAY_RUN/i/<id>/s.sock` (its address), and the log `var/logs/instances/<service>.<id>.log`, which
outlives it until `forget`. `var/supervisor/conf.d` is supervisord's inbox: a file is there until it is read.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import re
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from console import folders, processes, programs
from console.programs import Program
from console.supervisor import Process, Supervisor, SupervisorFault, SupervisorUnreachable
from deployments.runtimes import log_files
from deployments.runtimes.base import (
    InstanceSpec,
    LogLine,
    Observed,
    ProbeResult,
    RuntimeRefused,
    RuntimeUnreachable,
    State,
)

START_RETRIES = 3  # 1, 2 and 3 seconds apart; then the runtime gives up
SETTLED_SECONDS = 30  # loading the model's libraries takes seconds: an end before that is a failed start
DRAIN_SECONDS = 70  # the longest that supervisord waits by itself: a prediction of 60 s, and some
PROBE_SECONDS = 2.0
STOP_PATIENCE = 1.0
HALF_STARTED_SECONDS = 10.0  # a folder that young belongs to a `start` under way in another process
INSTANCE_ID = re.compile(r"i-[0-9a-f]{12}")
SERVICE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
PROBE_BODY_BYTES = 4096

Compose = Callable[[InstanceSpec, Path, Path], dict[str, Any]]
Launcher = Callable[[Path], list[str]]


@dataclass(frozen=True)
class _Facts:
    """What supervisord does not keep for us; written once, before the instance starts."""

    service_id: str
    revision: int
    target: str
    version_id: str
    asked_at: float


class ProcessRuntime:
    """The Runtime of process pools (see `base.Runtime` for what each call promises)."""

    def __init__(
        self, var: Path, run: Path, supervisor: Supervisor, compose: Compose, launcher: Launcher
    ) -> None:
        self._instances = var / "instances"
        self._sockets = run / "i"
        self._configurations = var / "supervisor" / "conf.d"
        self._logs = var / "logs" / "instances"
        self._var = var
        self._supervisor = supervisor
        self._compose = compose
        self._launcher = launcher

    @classmethod
    def from_settings(cls) -> ProcessRuntime:
        """The runtime of this installation's embedded stack."""
        from django.conf import settings

        from registry import launch

        var, run = settings.SLIPWAY_VAR, settings.SLIPWAY_RUN
        return cls(var, run, Supervisor.of(var, run), compose_launch, launch.launcher_argv)

    def list(self, service_id: str | None = None) -> list[Observed]:
        """Every instance, from one call to supervisord and one small file each."""
        known = {process.name: process for process in self._ask(self._supervisor.processes)}
        try:
            ids = sorted(name for name in os.listdir(self._instances) if INSTANCE_ID.fullmatch(name))
        except FileNotFoundError:
            return []
        seen = (self._observe(id, known.get(id), service_id) for id in ids)
        return [observed for observed in seen if observed is not None]

    def start(self, spec: InstanceSpec) -> None:
        """Write the instance's files, hand it to supervisord, start it."""
        if not INSTANCE_ID.fullmatch(spec.id) or not SERVICE_ID.fullmatch(spec.service_id):
            raise RuntimeRefused(f"{spec.id!r} of service {spec.service_id!r} is not an instance id")
        try:
            self._prepare(spec)
        except OSError as error:
            raise RuntimeRefused(f"cannot write the instance's files: {error}") from error
        (self._instances / spec.id / "stopping").unlink(missing_ok=True)
        self._ask(self._supervisor.add, spec.id)
        (self._configurations / f"{spec.id}.conf").unlink(missing_ok=True)
        self._ask(self._supervisor.start, spec.id)

    def probe(self, id: str) -> ProbeResult:
        """GET /health over the instance's socket, within two seconds."""
        connection = _Connection(self._socket(id))
        try:
            connection.request("GET", "/health")
            response = connection.getresponse()
            body = response.read(PROBE_BODY_BYTES).decode(errors="replace").strip()
        except FileNotFoundError:
            return ProbeResult(False, "not listening yet")
        except (OSError, http.client.HTTPException) as error:
            return ProbeResult(False, str(error) or type(error).__name__)
        finally:
            connection.close()
        if response.status != 200:
            return ProbeResult(False, f"{response.status} {body}")
        return ProbeResult(True)

    def stop(self, id: str, grace_seconds: float) -> None:
        """SIGTERM, SIGKILL when the grace of the first call is over, and removal once it has ended."""
        if not INSTANCE_ID.fullmatch(id):
            return
        if self._ask(self._supervisor.process, id) is not None:
            kill_at = self._kill_time(id, grace_seconds)
            self._ask(self._supervisor.stop, id)
            patience = time.monotonic() + STOP_PATIENCE
            while (process := self._ask(self._supervisor.process, id)) and not process.has_ended:
                if time.time() >= kill_at:
                    self._ask(self._supervisor.kill, id)
                if time.monotonic() > patience:
                    return
                time.sleep(0.02)
            if not self._ask(self._supervisor.remove, id):
                return
        self._remove(id)

    def logs(
        self, id: str, since: datetime | None = None, until: datetime | None = None, tail: int = 500
    ) -> list[LogLine]:
        """Lines of the rotated files, oldest first."""
        return log_files.read(self._logs, id, since, until, tail) if INSTANCE_ID.fullmatch(id) else []

    def forget(self, service_id: str) -> None:
        """Remove the log files of the service."""
        if SERVICE_ID.fullmatch(service_id):
            log_files.remove(self._logs, service_id)

    def _observe(self, id: str, process: Process | None, service_id: str | None) -> Observed | None:
        facts = self._facts(id)
        if facts is None or service_id not in (None, facts.service_id):
            return None
        restarts = max(0, self._starts(id) - 1)
        stopping = (self._instances / id / "stopping").exists()
        state, detail, since = _state(process, stopping, facts.asked_at)
        return Observed(
            id=id,
            service_id=facts.service_id,
            state=state,
            restarts=restarts,
            address=str(self._socket(id)),
            detail=detail,
            since=since,
            revision=facts.revision,
            target=facts.target,
            gave_up=process is not None and process.state == "FATAL",
        )

    def _prepare(self, spec: InstanceSpec) -> None:
        """Everything below the folder is there when the folder is: it is filled aside and renamed."""
        folder = self._instances / spec.id
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket(spec.id).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not folder.exists():
            launch = self._compose(spec, folder / "scratch", self._socket(spec.id))
            launch["env"][processes.MARK] = processes.mark_of(self._var)
            self._instances.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._instances, prefix=f".{spec.id}.") as room:
                draft = Path(room, spec.id)
                draft.mkdir(mode=0o700)
                (draft / "scratch").mkdir(mode=0o700)
                programs.write_private(draft / "launch.json", json.dumps(launch))
                programs.write_private(draft / f"{spec.id}.json", programs.description(self._program(spec)))
                programs.write_private(draft / "facts.json", json.dumps(asdict(_facts_of(spec))))
                try:
                    draft.rename(folder)
                except OSError:
                    if not folder.exists():  # else somebody was faster with the same id: theirs is as good
                        raise
        self._configurations.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = programs.section(self._program(spec), f"instances/{spec.id}/{spec.id}.json")
        programs.write_private(self._configurations / f"{spec.id}.conf", text)

    def _program(self, spec: InstanceSpec) -> Program:
        folder = self._instances / spec.id
        return Program(
            name=spec.id,
            argv=self._launcher(folder / "launch.json"),
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", processes.MARK: processes.mark_of(self._var)},
            cwd=folder / "scratch",
            log=f"logs/instances/{spec.service_id}.{spec.id}.log",
            starts_by_itself=False,  # after a restart of the stack the reconcile loop decides what runs
            retries=START_RETRIES,
            settled_seconds=SETTLED_SECONDS,
            stop_seconds=DRAIN_SECONDS,
            stop_as_group=False,  # a model's own helper processes are needed until its requests are done
            priority=900,
        )

    def _facts(self, id: str) -> _Facts | None:
        try:
            return _Facts(**json.loads((self._instances / id / "facts.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None  # removed meanwhile

    def _starts(self, id: str) -> int:
        try:
            return (self._instances / id / f"{id}.starts").read_bytes().count(b"\n")
        except OSError:
            return 0

    def _kill_time(self, id: str, grace_seconds: float) -> float:
        """When the grace ends: as the first `stop` said, unless a later one says sooner.

        An instance that did not listen yet at the first call has nothing to finish, and is killed:
        supervisord loses a SIGTERM that meets its child between fork and exec.
        """
        note = self._instances / id / "stopping"
        kill_at = time.time() + grace_seconds
        try:
            kill_at = min(kill_at, float(note.read_text(encoding="ascii")))
        except (OSError, ValueError):
            if not self._listens(id):
                kill_at = time.time()
        with contextlib.suppress(FileNotFoundError):
            programs.write_private(note, f"{kill_at:.3f}")
        return kill_at

    def _remove(self, id: str) -> None:
        """Take away an ended instance. The folder goes last: while it is there, `list` still names it."""
        folders.remove(self._socket(id).parent)
        folders.remove(self._instances / id)

    def _listens(self, id: str) -> bool:
        connection = _Connection(self._socket(id))
        try:
            connection.connect()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def _socket(self, id: str) -> Path:
        return self._sockets / id / "s.sock"

    def _ask(self, call: Callable[..., Any], *params: Any) -> Any:
        try:
            return call(*params)
        except SupervisorUnreachable as error:
            raise RuntimeUnreachable(str(error)) from error
        except SupervisorFault as fault:
            raise RuntimeRefused(str(fault)) from fault


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("instance", timeout=PROBE_SECONDS)
        self._path = path

    def connect(self) -> None:
        if not stat.S_ISSOCK(self._path.lstat().st_mode):
            raise ConnectionRefusedError("not a socket")  # never follow a link that a model has put there
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def compose_launch(spec: InstanceSpec, scratch: Path, address: Path) -> dict[str, Any]:
    """The sandbox's description of this instance (`registry.launch.launch_spec`)."""
    from registry import launch

    try:
        return launch.launch_spec(
            package_dir=spec.package_dir,
            environment_dir=spec.environment_dir,
            scratch_dir=scratch,
            socket=address,
            engine=spec.engine,
            envs=spec.envs,
            memory_bytes=spec.memory_bytes,
            threads=max(1, math.ceil(spec.cpu)),
            model_name=spec.model_name,
            model_version=spec.model_version,
            limit_bytes=spec.limit_bytes,
        )
    except ValueError as error:
        raise RuntimeRefused(str(error)) from error


def _facts_of(spec: InstanceSpec) -> _Facts:
    return _Facts(spec.service_id, spec.revision, spec.target, spec.version_id, time.time())


def _state(process: Process | None, stopping: bool, asked_at: float) -> tuple[State, str, float | None]:
    """The state of an instance, why, and since when."""
    if process is None or (process.state == "STOPPED" and not process.started):
        # Whoever was starting it may have been killed between describing, adding and starting it.
        young = not stopping and time.time() - asked_at < HALF_STARTED_SECONDS
        return ("starting" if young else "gone"), "", asked_at
    if process.state in ("STARTING", "RUNNING"):
        return "up", "", float(process.started)
    if process.state == "STOPPING":
        return "stopping", "", float(process.started)
    if process.state == "STOPPED":
        return "gone", "", float(process.ended)
    detail = process.error or f"exit status {process.exit_status}"  # EXITED, BACKOFF, FATAL
    return ("gone" if stopping else "crashed"), detail, float(process.ended) or None
