"""How a model server is started: the one description used by trial runs and by the process runtime.

Nothing here starts anything. `launch_spec` composes the file that `deployments/predictor/sandbox.py` reads,
`launcher_argv` the command that makes it read it. The predictor is named by its path, never imported.
"""

from __future__ import annotations

import json
import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

SOCKET_PATH_BYTES = 107  # sizeof(sun_path) - 1 on Linux
OPEN_FILES = 4096
SCRATCH_FILE_BYTES = 1 << 30
ENV_VALUE_BYTES = 32 * 1024

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

# What steers the loader, the interpreter, libc or our own tools. Names are compared in upper case, because
# some libraries read both spellings.
_FORBIDDEN_PREFIXES = (
    "LD_", "DYLD_", "PYTHON", "_PYTHON", "MALLOC_", "GCONV", "RES_", "OPENSSL_", "SSL", "BASH_", "PERL5",
    "SLIPWAY_", "DJANGO_", "CELERY_", "SUPERVISOR_", "UV_", "PIP_", "XDG_", "AWS_",
)  # fmt: skip
_FORBIDDEN_NAMES = frozenset(
    {
        "PATH", "HOME", "TMPDIR", "TMP", "TEMP", "TEMPDIR", "PWD", "OLDPWD", "SHELL", "USER", "LOGNAME",
        "IFS", "ENV", "PS4", "CDPATH", "GLOBIGNORE", "SHELLOPTS", "VIRTUAL_ENV", "GLIBC_TUNABLES",
        "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH", "NIS_PATH", "NLSPATH", "TZDIR",
        "DATABASE_URL", "REDIS_URL", "ARTIFACTS_URL", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET",
    }
)  # fmt: skip

# Read by libc, the loader and the numeric libraries; whatever a machine lacks is left out. The sandbox itself
# adds what only it can name: its own folder, /proc/self and /dev/null.
_SYSTEM_READ = (
    "/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
    "/usr/share/zoneinfo", "/usr/share/locale", "/dev/zero", "/dev/urandom", "/dev/random",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/osrelease", "/sys/devices/system/cpu", "/sys/devices/system/node",
    "/sys/kernel/mm/transparent_hugepage", "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)  # fmt: skip


def env_name_is_valid(name: str) -> bool:
    """Whether `name` has the documented shape of an environment variable's name."""
    return ENV_NAME.fullmatch(name) is not None


def forbidden_env(name: str) -> bool:
    """Whether people may *not* set this variable for a model: it steers the loader, Python or Slipway."""
    upper = name.upper()
    return upper in _FORBIDDEN_NAMES or upper.startswith(_FORBIDDEN_PREFIXES)


def predictor_dir() -> Path:
    """The folder of the model server (`SLIPWAY_PREDICTOR`)."""
    return Path(settings.SLIPWAY_PREDICTOR)


def environment_python(environment_dir: Path) -> Path:
    """The interpreter of an environment. It is a link to the console's own base interpreter."""
    return environment_dir / "bin" / "python"


def launcher_argv(spec_path: Path) -> list[str]:
    """The command that enters the sandbox described by `spec_path` and becomes the model server there.

    `-I -S`: the launcher needs the standard library alone, and nothing of the console's environment.
    """
    return [sys.executable, "-I", "-S", str(predictor_dir() / "sandbox.py"), str(spec_path)]


def launch_spec(
    *,
    package_dir: Path,
    environment_dir: Path,
    scratch_dir: Path,
    socket: Path,
    engine: str,
    envs: Mapping[str, str],
    memory_bytes: int,
    threads: int,
    model_name: str,
    model_version: str,
    limit_bytes: int,
) -> dict[str, Any]:
    """Compose the launch of one model server: `{"argv", "env", "read", "write", "limits"}`.

    `package_dir` is the folder that holds `model/`. `scratch_dir` and the socket's folder are all the server
    may write to, so the socket's folder must belong to this one server. `threads` sizes the thread pools of
    the numeric libraries; `envs` may override those sizes and nothing else of ours. `limit_bytes` bounds one
    request body.

    Raises ValueError for a name that `forbidden_env` or `env_name_is_valid` refuses, a value that no process
    can be given, and a socket path that the kernel would cut off.
    """
    socket_bytes = len(os.fsencode(socket))
    if socket_bytes > SOCKET_PATH_BYTES:
        raise ValueError(
            f"The socket path has {socket_bytes} bytes; at most {SOCKET_PATH_BYTES} are possible."
        )
    if socket.parent == settings.SLIPWAY_RUN:
        raise ValueError("The socket needs a folder of its own: the server may write to the folder it is in.")
    for name, value in envs.items():
        if not env_name_is_valid(name) or forbidden_env(name):
            raise ValueError(f"The environment variable {name!r} may not be set for a model.")
        if "\0" in value or len(value.encode()) > ENV_VALUE_BYTES:
            raise ValueError(f"The value of the environment variable {name!r} is not usable.")

    predictor = predictor_dir()
    python = environment_python(environment_dir)
    argv = [
        str(python), "-I", "-B", str(predictor / "__main__.py"),
        "--package", str(package_dir), "--engine", engine, "--uds", str(socket),
        "--name", model_name, "--version", model_version, "--limit-bytes", str(limit_bytes),
    ]  # fmt: skip
    env = {
        **_thread_env(max(1, threads)),
        **envs,
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(scratch_dir),
        "TMPDIR": str(scratch_dir),
        "XDG_CACHE_HOME": str(scratch_dir / "cache"),
        "USER": "model",
        "LOGNAME": "model",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }
    write = [str(scratch_dir)]
    if not socket.parent.is_relative_to(scratch_dir):
        write.append(str(socket.parent))
    return {
        "argv": argv,
        "env": env,
        "read": [
            *_interpreter_paths(),
            *_system_paths(),
            str(environment_dir),
            str(predictor),
            str(package_dir),
        ],
        "write": write,
        "limits": {
            "memory_bytes": memory_bytes,
            "file_bytes": SCRATCH_FILE_BYTES,
            "open_files": OPEN_FILES,
        },
    }


def write_spec(path: Path, spec: Mapping[str, Any]) -> None:
    """Write `spec` for the launcher, readable by this user alone (it carries the model's variables)."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(spec, file, ensure_ascii=False)


def _thread_env(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_MAX_THREADS")
    return {name: str(threads) for name in names}


def _interpreter_paths() -> list[str]:
    """What the base interpreter needs: itself, its library, and libpython when that is shared."""
    executable = Path(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))
    prefix = Path(os.path.realpath(sys.base_prefix))
    # A prefix of its own (pyenv, uv, a build) is given whole; /usr would give every program of the machine.
    if prefix in (Path("/usr"), Path("/usr/local"), Path("/")):
        paths = [executable, Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib"))]
    else:
        paths = [prefix, executable]
    return list(dict.fromkeys(str(path) for path in paths if path.exists()))


def _system_paths() -> list[str]:
    return [path for path in _SYSTEM_READ if os.path.exists(path)]
