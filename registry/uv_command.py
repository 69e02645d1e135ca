"""Runs uv: an argument list, an environment of its own, bounded time, and words fit to be shown."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from console.problems import ProblemError
from registry.doors import ShouldStop, Stopped

KEPT_LINES = 200
LINE_BYTES = 4_000
DETAIL_CHARACTERS = 600

_UNREACHABLE = re.compile(
    r"failed to fetch|error sending request|could not connect|connection (refused|reset|closed)|dns error"
    r"|timed? ?out|request failed after|network is unreachable|status (server|client) error"
    r"|invalid peer certificate|network was disabled",
    re.IGNORECASE,
)
_DISK_FULL = re.compile(r"no space left on device|os error 28|disk quota exceeded", re.IGNORECASE)
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s`'\")>\]]*", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w.])/(?:[^\s/`'\":;,)]+/)+([^\s/`'\":;,)]*)")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


class Unreachable(Exception):
    """The index did not answer; `detail` is what uv said, cleaned."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Refused(Exception):
    """uv ended with an error that is neither the network nor the disk; `detail` is what it said, cleaned."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TimedOut(Exception):
    """The time that the caller allowed was used up."""


@dataclass(frozen=True)
class Command:
    """How programs are run while an environment is made."""

    environment: Mapping[str, str]
    on_line: Callable[[str], None]
    should_stop: ShouldStop
    deadline: float  # on time.monotonic()
    hidden: tuple[str, ...] = ()  # folders of this machine that are not to be told
    keep_open: tuple[int, ...] = ()  # descriptors of locks that a child must go on holding if we die

    def run(self, argv: Sequence[str | Path], **more_environment: str) -> None:
        """Run `argv` to its end. Raises Stopped, TimedOut, Unreachable, Refused, `registry.storage.full`.

        Its lines are given to `on_line` (cleaned) as they come. However this ends, no process of it is left.
        """
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self.environment, **more_environment},
            cwd=self.environment["HOME"],
            start_new_session=True,
            pass_fds=self.keep_open,
        )
        try:
            lines = self._follow(process)
            code = process.wait()
        finally:
            _end(process)
        if code:
            raise _failure("\n".join(lines), self.hidden)

    def _follow(self, process: subprocess.Popen[bytes]) -> deque[str]:
        assert process.stdout is not None
        kept: deque[str] = deque(maxlen=KEPT_LINES)
        fd, rest = process.stdout.fileno(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            while True:
                ready = selector.select(0.1)
                if self.should_stop():
                    raise Stopped
                if time.monotonic() > self.deadline:
                    raise TimedOut
                if not ready:
                    continue
                data = os.read(fd, 65536)
                *whole, rest = (rest + data).split(b"\n") if data else [*([rest] if rest else []), b""]
                for raw in whole:
                    line = raw[:LINE_BYTES].decode("utf-8", "replace")
                    kept.append(line)
                    if shown := clean(line, self.hidden):
                        self.on_line(shown)
                rest = rest[:LINE_BYTES]
                if not data:
                    return kept


def find_uv() -> Path:
    """The uv binary of the wheel, or the one on PATH. Raises `registry.environment.build_failed`."""
    with contextlib.suppress(ImportError, FileNotFoundError):
        import uv

        return Path(uv.find_uv_bin())
    if found := shutil.which("uv"):
        return Path(found)
    raise ProblemError("registry.environment.build_failed", detail="uv is not installed")


def clean(text: str, hidden: Sequence[str] = ()) -> str:
    """`text` without escape codes, addresses (which may hold credentials) and paths of this machine."""
    text = _ADDRESS.sub("(address)", _ESCAPE.sub("", text))
    for folder in hidden:  # the pattern below cannot know where a path with spaces ends
        text = text.replace(folder, "")
    return _PATH.sub(r"\1", text).rstrip()


def detail_of(output: str, hidden: Sequence[str] = ()) -> str:
    """What uv said in one bounded line: from its first `error` on, without the labels."""
    lines = [line.strip() for line in (clean(line, hidden) for line in output.splitlines()) if line]
    first = next((n for n, line in enumerate(lines) if re.match(r"(error|× )", line)), max(0, len(lines) - 5))
    words = " ".join(
        re.sub(r"^(error|cause|hint|Caused by): *|^[×╰─▶ │├]+", "", line) for line in lines[first:]
    )
    words = re.sub(r"\s+", " ", words).strip()
    return words if len(words) <= DETAIL_CHARACTERS else f"{words[: DETAIL_CHARACTERS - 1]}…"


def _failure(output: str, hidden: Sequence[str]) -> Exception:
    if _DISK_FULL.search(output):
        return ProblemError("registry.storage.full", needed=0, free=0)
    if _UNREACHABLE.search(output):
        return Unreachable(detail_of(output, hidden))
    return Refused(detail_of(output, hidden))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process's group; nothing of it may outlive the call."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()
