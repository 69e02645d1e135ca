"""What supervisord runs for every program: read a private description, note the start, become the program.

`python -I -S start_program.py <name>.json`, the file being {"argv": [...], "env": {...}, "cwd": path|null}.
supervisord's own configuration language would need `%`, `;`, `#`, quotes and encodings escaped, adds its own
environment to every program, and does not count restarts. Here the environment is exactly what the file says,
and each start adds a line to `<name>.starts` beside it: time, process id, and the process's own start time
(clock ticks since boot), by which `console.processes` knows it again. Standard library only; started by path.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime

CANNOT_START = 127


def main(description: str) -> None:
    """Become the described program; exits with 127 and one line when that is not possible."""
    name = os.path.splitext(os.path.basename(description))[0]
    with open(description, encoding="utf-8") as file:
        program = json.load(file)
    now = datetime.now(UTC)
    starts = f"{os.path.splitext(description)[0]}.starts"
    with open(starts, "a+", encoding="ascii") as file:
        file.write(f"{now.timestamp():.3f} {os.getpid()} {_started()}\n")
        file.seek(0)
        count = sum(1 for _ in file)
    stamp = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    print(f"{stamp} slipway: starting {name}" + (f" again ({count - 1})" if count > 1 else ""), flush=True)
    if program.get("cwd"):
        os.chdir(program["cwd"])
    os.execve(program["argv"][0], program["argv"], program["env"])  # noqa: S606  (to become it is the point)


def _started() -> str:
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[19]


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (OSError, ValueError, KeyError, IndexError) as error:
        print(f"slipway: cannot start the program: {error}", flush=True)
        sys.exit(CANNOT_START)
