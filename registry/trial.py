"""The only door to trial runs: does the model load, is it healthy, does its sample predict?

The predictor is started by its command, in the sandbox, exactly as an instance is. Foreign code runs there
and nowhere else; what it answers is bounded in size and time.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings

from console.problems import ProblemError
from registry import launch
from registry.doors import ShouldStop, Stopped, never, remove_tree, try_lock
from registry.trial_process import TrialProcess, kill_all
from registry.unix_http import Answer, NoAnswer, ask

POLL_SECONDS = 0.02
GRACE_SECONDS = 5.0
SETTLE_SECONDS = 1.0
HEALTH_SECONDS = 5.0
METADATA_BYTES = 4 << 20
SAMPLE_ANSWER_BYTES = 64 << 10
SHOWN_LINES = 500
DETAIL_CHARACTERS = 500
SANDBOX_REFUSED = 78  # EX_CONFIG: the kernel cannot do what the sandbox needs
UNUSABLE = 65  # EX_DATAERR: the predictor could not load the package, and its last line says why
SAMPLE_PATH = "model/sample.json"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_MEMORY = re.compile(r"\bMemoryError\b|bad_alloc|Cannot allocate memory|Unable to allocate|[Oo]ut of memory")
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\S+ predictor: ")


@dataclass(frozen=True)
class TrialSpec:
    """One trial. `package_dir` holds `model/`; `sample` is the JSON body of a `POST /`, None for none."""

    id: str
    package_dir: Path
    environment_dir: Path
    engine: str
    memory_bytes: int
    timeout_seconds: float
    sample: Any = None
    envs: Mapping[str, str] = field(default_factory=dict)
    model_name: str = "model"
    model_version: str = "trial"
    limit_bytes: int = 12 << 20
    threads: int = 1


@dataclass(frozen=True)
class TrialResult:
    """What a model that passed told: seconds until it was ready, its v2 metadata, OpenAPI, sample answer."""

    load_seconds: float
    metadata: dict[str, Any]
    openapi: dict[str, Any]
    sample_answer: Any = None


def run(
    spec: TrialSpec,
    *,
    on_line: Callable[[str], None] = lambda line: None,
    should_stop: ShouldStop = never,
) -> TrialResult:
    """Start the model once, ask it, stop it. `on_line` gets its log, from the calling thread.

    Raises ProblemError `registry.trial.*`: load_failed, hung (no health within `timeout_seconds`), crashed,
    out_of_memory, health_wrong, sample_failed, sandbox_unavailable; Stopped when `should_stop` says so.
    However it ends, no process and no file of it is left.
    """
    if not _ID.fullmatch(spec.id):
        raise ValueError(f"{spec.id!r} cannot be the id of a trial.")
    home = _trials() / f"{spec.id}-{secrets.token_hex(4)}"
    home.mkdir(parents=True, mode=0o700)
    # Held for as long as we live: `sweep` takes only trials that nobody holds.
    lock = try_lock(home)
    sockets = _socket_folder(home)
    process = None
    try:
        scratch = home / "scratch"
        scratch.mkdir(mode=0o700)
        sockets.mkdir(parents=True, mode=0o700)
        spec_file = home / "spec.json"
        launch.write_spec(spec_file, _launch_spec(spec, scratch, sockets / "s"))
        process = TrialProcess(launch.launcher_argv(spec_file), home, scratch)
        trial = _Trial(spec, process, sockets / "s", on_line, should_stop)
        result = trial.examine()
        process.end(GRACE_SECONDS)
        return result
    finally:
        if process is not None:
            process.end(0)
        _clear(home)
        if lock is not None:
            os.close(lock)


def sample_of(package_dir: Path) -> Any:
    """The sample request that a package carries (`model/sample.json`, any JSON value), or None.

    Raises ProblemError `registry.trial.sample_failed` for one that is no JSON or larger than a request.
    """
    path = package_dir / SAMPLE_PATH
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    limit = settings.SLIPWAY_REQUEST_BYTES
    with os.fdopen(fd, "rb") as file:
        content = file.read(limit + 1)
    try:
        if len(content) > limit:
            raise ValueError(f"more than {limit} bytes")
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        detail = str(error)[:DETAIL_CHARACTERS]
        raise ProblemError("registry.trial.sample_failed", path=SAMPLE_PATH, detail=detail) from None


def sweep() -> int:
    """End and remove trials whose worker is gone; how many there were."""
    swept = 0
    if not _trials().is_dir():
        return 0
    for home in _trials().iterdir():
        lock = try_lock(home)
        if lock is not None:
            kill_all(home)
            _clear(home)
            os.close(lock)
            swept += 1
    return swept


class _Trial:
    def __init__(
        self,
        spec: TrialSpec,
        process: TrialProcess,
        socket: Path,
        on_line: Callable[[str], None],
        should_stop: ShouldStop,
    ) -> None:
        self._spec, self._process, self._socket = spec, process, socket
        self._on_line, self._should_stop = on_line, should_stop
        self._started = time.monotonic()
        self._shown = 0
        self._hidden = ((str(spec.package_dir), "package"), (str(spec.environment_dir), "environment"))

    def examine(self) -> TrialResult:
        load_seconds = self._wait_until_healthy()
        name = quote(self._spec.model_name, safe="")
        metadata = self._document(f"/v2/models/{name}")
        openapi = self._document("/openapi.json")
        answer = None if self._spec.sample is None else self._predict(self._spec.sample)
        self._show_lines()
        return TrialResult(load_seconds, metadata, openapi, answer)

    def _wait_until_healthy(self) -> float:
        deadline = self._started + self._spec.timeout_seconds
        last = ""
        while True:
            if self._socket.exists():
                try:
                    answer = self._ask("GET", "/health", HEALTH_SECONDS, deadline)
                except NoAnswer:
                    answer = None  # between bind and listen, or busy loading
                if answer is not None and answer.status == 200:
                    if _json(answer.body) != {"health": "true"}:
                        raise ProblemError("registry.trial.health_wrong", detail=_excerpt(answer.body))
                    return time.monotonic() - self._started
                if answer is not None:
                    last = f"HTTP {answer.status} {_excerpt(answer.body)}"
            self._watch()
            if time.monotonic() > deadline:
                self._show_lines()
                if last:
                    raise ProblemError("registry.trial.health_wrong", detail=last)
                raise ProblemError("registry.trial.hung", seconds=round(self._spec.timeout_seconds))
            time.sleep(POLL_SECONDS)

    def _document(self, target: str) -> dict[str, Any]:
        """A JSON document that the server may have; `{}` when it has none."""
        try:
            answer = self._ask(
                "GET", target, HEALTH_SECONDS, time.monotonic() + HEALTH_SECONDS, METADATA_BYTES
            )
        except NoAnswer:
            self._watch()
            return {}
        found = _json(answer.body) if answer.status == 200 and answer.complete else None
        return found if isinstance(found, dict) else {}

    def _predict(self, sample: Any) -> Any:
        body = json.dumps(sample, ensure_ascii=False).encode()
        seconds = settings.SLIPWAY_PREDICTION_SECONDS
        try:
            answer = self._ask(
                "POST", "/", seconds, time.monotonic() + seconds, SAMPLE_ANSWER_BYTES, body,
            )  # fmt: skip
        except NoAnswer as error:
            self._settle()
            detail = f"no answer within {seconds} s" if str(error) == "TimeoutError" else "no answer"
            raise ProblemError("registry.trial.sample_failed", path=SAMPLE_PATH, detail=detail) from None
        if answer.status != 200:
            detail = f"HTTP {answer.status} {_excerpt(answer.body)}"
            raise ProblemError("registry.trial.sample_failed", path=SAMPLE_PATH, detail=detail)
        return _json(answer.body) if answer.complete else None

    def _ask(
        self,
        method: str,
        target: str,
        timeout: float,
        deadline: float,
        max_bytes: int = SAMPLE_ANSWER_BYTES,
        body: bytes | None = None,
    ) -> Answer:
        """One request in a thread of its own, so that a server which drips its answer cannot hold us.

        Raises NoAnswer, also at the deadline; Stopped; and whatever `_watch` finds when the server is gone.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        outcome: queue.Queue[Answer | NoAnswer] = queue.Queue(1)

        def work() -> None:
            try:
                outcome.put(
                    ask(
                        self._socket,
                        method,
                        target,
                        body=body,
                        headers=headers,
                        timeout=timeout,
                        max_bytes=max_bytes,
                    )  # fmt: skip
                )
            except NoAnswer as error:
                outcome.put(error)

        threading.Thread(target=work, name="trial-request", daemon=True).start()
        while True:
            try:
                found = outcome.get(timeout=0.05)
            except queue.Empty:
                self._watch()
                if time.monotonic() > deadline:
                    raise NoAnswer("TimeoutError") from None
                continue
            if isinstance(found, NoAnswer):
                raise found
            return found

    def _settle(self) -> None:
        """After a broken connection: give a dying server the moment it needs to be seen as dead."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self._watch()
            time.sleep(POLL_SECONDS)

    def _watch(self) -> None:
        """Pass on log lines; raise Stopped when asked to, or the problem when the server has ended."""
        self._show_lines()
        if self._should_stop():
            raise Stopped
        code = self._process.returncode()
        if code is not None:
            self._process.finish_reading()
            self._show_lines()
            raise self._end_of_process(code)

    def _show_lines(self) -> None:
        for line in self._process.lines():
            if self._shown < SHOWN_LINES:
                self._shown += 1
                self._on_line(self._tidy(line))

    def _end_of_process(self, code: int) -> ProblemError:
        lines = list(self._process.last_lines)
        last = self._tidy(lines[-1]) if lines else ""
        if code == SANDBOX_REFUSED:
            return ProblemError("registry.trial.sandbox_unavailable", detail=last)
        if any(_MEMORY.search(line) for line in lines[-20:]):
            return ProblemError("registry.trial.out_of_memory", limit=self._spec.memory_bytes)
        if code < 0:
            detail = f"{_signal_name(-code)}; {last}" if last else _signal_name(-code)
            return ProblemError("registry.trial.crashed", detail=detail)
        if code == UNUSABLE:
            return ProblemError("registry.trial.load_failed", detail=last.removeprefix("failed: "))
        return ProblemError("registry.trial.crashed", detail=f"exit status {code}; {last}".rstrip("; "))

    def _tidy(self, line: str) -> str:
        line = _STAMP.sub("", line)
        for path, name in self._hidden:
            line = line.replace(path, name)
        return line if len(line) <= DETAIL_CHARACTERS else f"{line[: DETAIL_CHARACTERS - 1]}…"


def _launch_spec(spec: TrialSpec, scratch: Path, socket: Path) -> dict[str, Any]:
    return launch.launch_spec(
        package_dir=spec.package_dir,
        environment_dir=spec.environment_dir,
        scratch_dir=scratch,
        socket=socket,
        engine=spec.engine,
        envs=spec.envs,
        memory_bytes=spec.memory_bytes,
        threads=spec.threads,
        model_name=spec.model_name,
        model_version=spec.model_version,
        limit_bytes=spec.limit_bytes,
    )


def _clear(home: Path) -> None:
    remove_tree(_socket_folder(home))
    remove_tree(home)


def _trials() -> Path:
    return Path(settings.SLIPWAY_VAR) / "trials"


def _socket_folder(home: Path) -> Path:
    # A socket's path must be short, so the folder is named by a digest of the trial's name.
    return Path(settings.SLIPWAY_RUN) / f"t-{hashlib.sha256(home.name.encode()).hexdigest()[:12]}"


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _excerpt(body: bytes) -> str:
    text = "".join(c if c.isprintable() else " " for c in body[:400].decode("utf-8", "replace"))
    return " ".join(text.split())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
