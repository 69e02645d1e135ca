"""What must hold before anything is started: each failure is one line that names the thing and the fix."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

from console import stack as stacks
from console.stack import Stack

FREE_MIB = 512


class AlreadyRunning(Exception):
    """Another `up` holds this var folder; the message says which."""


@contextlib.contextmanager
def only_one(stack: Stack) -> Iterator[None]:
    """Hold the installation for the block. The kernel lets go of it however this process ends."""
    path = stack.var / "supervisor" / "up.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, url = file.read().strip().partition(" ")
            raise AlreadyRunning(
                f"Slipway is already running for {stack.var} (process {pid}, {url}). "
                f"Use that one, or stop it with Ctrl-C or `kill {pid}`."
            ) from None
        file.truncate()
        file.write(f"{os.getpid()} {stack.url(stack.port)}\n")
        file.flush()
        yield


def problems(stack: Stack) -> list[str]:
    """Why the stack cannot start; empty when it can."""
    return [*_folder(stack), *_binaries(), *_ports(stack)]


def warnings() -> list[str]:
    """What will not work although the stack starts."""
    from deployments.predictor import sandbox

    reason = sandbox.unsupported()
    return [f"{reason} The console works, but models cannot be tested or deployed here."] if reason else []


def _folder(stack: Stack) -> list[str]:
    for folder in (stack.var, stack.run):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return [f"Cannot write in {folder}: {error.strerror}. Make it writable, or set SLIPWAY_VAR."]
    free = shutil.disk_usage(stack.var).free // 1024**2
    if free < FREE_MIB:
        return [f"Only {free} MiB are free in {stack.var}; at least {FREE_MIB} are needed."]
    return []


def _binaries() -> list[str]:
    found = []
    if stacks.has_own_redis():
        found += _binary("Redis", stacks.find_redis(), "SLIPWAY_REDIS", "a `redis-server`", "--version")
    found += _binary("Envoy", stacks.find_envoy(), "SLIPWAY_ENVOY", "an `envoy`", "--version")
    return found


def _binary(name: str, path: str | None, variable: str, what: str, option: str) -> list[str]:
    named = os.environ.get(variable)
    if path is None:
        if named:
            return [f"{name} is missing: {variable} names {named}, which is not a program."]
        return [f"{name} is missing: install it so that {what} is on PATH, or name it by {variable}."]
    try:
        subprocess.run([path, option], capture_output=True, check=True, timeout=30, env={"LANG": "C.UTF-8"})
    except (OSError, subprocess.SubprocessError) as error:
        return [f"{name} does not run on this machine ({path}: {error}). Name another one by {variable}."]
    return []


def _ports(stack: Stack) -> list[str]:
    wanted = [
        ("console", stack.port, "SLIPWAY_PORT"),
        ("gateway", stack.gateway_port, "SLIPWAY_GATEWAY_PORT"),
    ]
    if stack.port == stack.gateway_port:
        return [f"SLIPWAY_PORT and SLIPWAY_GATEWAY_PORT are both {stack.port}; they must differ."]
    return [line for what, port, variable in wanted for line in _port(stack.host, port, what, variable)]


def _port(host: str, port: int, what: str, variable: str) -> list[str]:
    if not 1 <= port <= 65535:
        return [f"{variable} is {port}; a port is a number from 1 to 65535."]
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return [
                f"Port {port} on {host}, wanted for the {what}, is in use. "
                f"Stop the program that uses it, or set {variable}."
            ]
        reason = error.strerror or str(error)
        return [
            f"Cannot listen on {host} port {port} for the {what}: {reason}. Set SLIPWAY_HOST or {variable}."
        ]
    return []
