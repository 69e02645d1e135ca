"""How a program is put under supervisord: its description file and its section of the configuration.

supervisord runs with the var folder as its working directory, so every path in its configuration is relative
and plain: what people call their folders (spaces, `%`, `#`, quotes, 中文) never meets its parser.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

START_VARIABLE = "SLIPWAY_START"
LOG_BYTES = 4 * 1024 * 1024
LOG_BACKUPS = 2


@dataclass(frozen=True)
class Program:
    """A program and how it is to be kept running."""

    name: str
    argv: list[str]  # argv[0] is an absolute path
    env: dict[str, str]  # all of it: nothing is inherited
    cwd: Path | None = None
    log: str = ""  # below var; by default logs/<name>.log
    starts_by_itself: bool = True
    retries: int = 1_000_000  # failed starts before supervisord gives up; the pause grows by 1 s each time
    settled_seconds: int = 2  # an end before that is a failed start
    stop_seconds: int = 6  # from SIGTERM to SIGKILL
    stop_as_group: bool = False
    priority: int = 500


def start_command() -> str:
    """What SLIPWAY_START must be in supervisord's environment: the beginning of every command."""
    script = Path(__file__).with_name("start_program.py")
    return shlex.join([sys.executable, "-I", "-S", str(script)])


def description(program: Program) -> str:
    """The content of the file that `start_program.py` reads."""
    cwd = str(program.cwd) if program.cwd else None
    return json.dumps({"argv": program.argv, "env": program.env, "cwd": cwd})


def section(program: Program, description_path: str) -> str:
    """The program's section; `description_path` is relative to var and made of plain characters."""
    log = program.log or f"logs/{program.name}.log"
    return f"""[program:{program.name}]
command=%(ENV_{START_VARIABLE})s {description_path}
autostart={str(program.starts_by_itself).lower()}
autorestart=true
startsecs={program.settled_seconds}
startretries={program.retries}
stopwaitsecs={program.stop_seconds}
stopasgroup={str(program.stop_as_group).lower()}
killasgroup=true
umask=077
priority={program.priority}
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups={LOG_BACKUPS}
"""


def write_private(path: Path, text: str) -> None:
    """Write a file for this user alone; a reader sees the old or the new content, never a part."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
