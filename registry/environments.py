"""The only door to uv: package environments that versions with the same needs share.

An environment is named by what is in it: the digest of interpreter, platform and resolved lock. It is built
under another name and renamed when complete, so a name that exists is whole. Only wheels are installed, each
checked against the hash in the lock, and no interpreter of an environment is ever started here: no package's
code runs in the console or its workers (lessons §3.3, class 9).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from django.conf import settings

from console.problems import ProblemError
from registry import requirement_lines
from registry.doors import ShouldStop, held, never, remove_tree, sweep_tree, try_lock
from registry.launch import environment_python, predictor_dir
from registry.package_index import PackageIndex, package_index
from registry.requirement_lines import Wheel
from registry.uv_command import Command, Refused, TimedOut, Unreachable, find_uv

BUILD_FORMAT = "1"  # raised when environments must be built anew although their lock is the same
RESOLUTION_SECONDS = 3600  # this long an equal request is not asked of the index again
MEMO_SECONDS = 90 * 24 * 3600  # this long an answer is kept for when the index is away
LEAST_FREE_BYTES = 512 << 20
MARKER = "slipway.json"
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class EnvironmentInfo:
    """One complete environment; `locked` lists `name==version`, `reused` says that nothing was built."""

    digest: str
    path: Path
    locked: list[str]
    reused: bool = False
    size_bytes: int = 0


def ensure(
    requirements: Sequence[str],
    *,
    wheel_folder: Path | None = None,
    on_line: Callable[[str], None] = lambda line: None,
    should_stop: ShouldStop = never,
) -> EnvironmentInfo:
    """The environment that meets `requirements` and the predictor's own, built when there is none yet.

    A requirement is a package name with extras and version bounds, or the full file name of a wheel in
    `wheel_folder` (facts §2.1). An equal request within the hour is answered without asking the index; one
    that was ever answered is answered also while the index is away. `on_line` gets what uv says.

    Raises ProblemError `registry.environment.unresolvable` (uv's words), `.index_unreachable` (retryable),
    `.timed_out` (retryable: downloads are kept), `.build_failed`, `registry.storage.full`; Stopped when
    `should_stop` says so. Whatever is raised, nothing half-made is left. Two callers may ask at once.
    """
    started = time.monotonic()
    lines, wheels = requirement_lines.checked(requirements, wheel_folder)
    lines += requirement_lines.of_file(predictor_dir() / "requirements.in")
    index = package_index()
    seconds = settings.SLIPWAY_ENVIRONMENT_SECONDS
    hidden = (str(_root()), str(settings.SLIPWAY_VAR), str(settings.BASE_DIR))
    command = Command(_scrubbed(index), on_line, should_stop, started + seconds, hidden)
    try:
        memo = _memo(lines, wheels, index)
        lock = _resolve(command, lines, wheels, memo)
        digest = hashlib.sha256(f"{BUILD_FORMAT}\n{_interpreter()}\n{lock}".encode()).hexdigest()
        found = _complete(digest)
        if found is None:
            with held(_root() / ".locks" / digest, should_stop):
                found = _complete(digest)  # whoever held the lock before us has built it
                if found is None:
                    try:
                        return _build(command, digest, lock, wheels)
                    except Refused:
                        memo.unlink(missing_ok=True)  # the index may have moved on since it was resolved
                        raise
        return found
    except Unreachable as error:
        raise ProblemError("registry.environment.index_unreachable", detail=error.detail) from error
    except Refused as error:
        raise ProblemError("registry.environment.build_failed", detail=error.detail) from error
    except TimedOut as error:
        minutes = max(1, round(seconds / 60))
        raise ProblemError("registry.environment.timed_out", minutes=minutes) from error


def find(digest: str) -> EnvironmentInfo | None:
    """The complete environment called `digest` on this machine, or None."""
    return _complete(digest)


def list_installed() -> list[EnvironmentInfo]:
    """Every complete environment on this machine."""
    if not _root().is_dir():
        return []
    found = (_complete(each.name) for each in sorted(_root().iterdir()) if DIGEST.fullmatch(each.name))
    return [info for info in found if info is not None]


def size_bytes(digest: str) -> int:
    """Bytes of the environment's files, as measured when it was built; 0 when there is none."""
    info = _complete(digest)
    return info.size_bytes if info else 0


def remove(digest: str) -> bool:
    """Remove the environment called `digest`; True when there was one."""
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not the digest of an environment.")
    return remove_tree(_root() / digest)


def sweep_temporary() -> int:
    """Remove what killed builders left, and nothing that a live one works on; the number removed."""
    removed = 0
    if not _root().is_dir():
        return 0
    for memo in (_root() / ".resolutions").glob("*"):
        if _recall(memo)[1] > MEMO_SECONDS:
            memo.unlink(missing_ok=True)
    for each in _root().iterdir():
        if each.name.startswith(".removed-"):
            sweep_tree(each)
            removed += 1
        elif each.name.startswith(".building-"):
            fd = try_lock(each)  # a builder, and the uv it started, hold it for as long as they live
            if fd is not None:
                sweep_tree(each)
                os.close(fd)
                removed += 1
    return removed


def _resolve(command: Command, lines: list[str], wheels: list[Wheel], memo: Path) -> str:
    """The lock: sorted `name==version --hash=…` lines."""
    known, age = _recall(memo)
    if known and age < RESOLUTION_SECONDS:
        return known
    work = _root() / f".building-{secrets.token_hex(8)}"
    fd = _locked_folder(work)
    try:
        (work / "requirements.in").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        argv = [
            find_uv(), "pip", "compile", work / "requirements.in", "--output-file", work / "lock.txt",
            "--python", _base_python(), "--generate-hashes", "--only-binary", ":all:",
            "--no-header", "--no-annotate", "--quiet",
        ]  # fmt: skip
        more = _wheel_links(work, wheels, command)
        try:
            _ask_index(command, argv, more)
        except Unreachable:
            if known:
                return known
            raise
        except Refused as error:
            raise ProblemError("registry.environment.unresolvable", detail=error.detail) from error
        return _tidy_lock(work, wheels, memo)
    finally:
        sweep_tree(work)
        os.close(fd)


def _tidy_lock(work: Path, wheels: list[Wheel], memo: Path) -> str:
    lock = requirement_lines.tidy_lock((work / "lock.txt").read_text(encoding="utf-8"), wheels)
    memo.parent.mkdir(parents=True, exist_ok=True)
    fresh = memo.with_suffix(f".{secrets.token_hex(4)}")
    fresh.write_text(lock, encoding="utf-8")
    fresh.replace(memo)
    return lock


def _build(command: Command, digest: str, lock: str, wheels: list[Wheel]) -> EnvironmentInfo:
    free = os.statvfs(_root())
    if free.f_bavail * free.f_frsize < LEAST_FREE_BYTES:
        raise ProblemError(
            "registry.storage.full", needed=LEAST_FREE_BYTES, free=free.f_bavail * free.f_frsize
        )
    work = _root() / f".building-{secrets.token_hex(8)}"
    fd = _locked_folder(work)
    try:
        made = work / "environment"
        command = replace(command, keep_open=(fd,))
        command.run(
            [find_uv(), "venv", "--quiet", "--no-project", "--relocatable", "--python", _base_python(), made]
        )
        lock_file = made / "requirements.lock"
        lock_file.write_text(lock, encoding="utf-8")
        argv = [
            find_uv(), "pip", "sync", lock_file, "--python", environment_python(made), "--require-hashes",
            "--only-binary", ":all:", "--link-mode", "hardlink",
        ]  # fmt: skip
        _ask_index(command, argv, _wheel_links(work, wheels, command))
        _compile(command, made)
        locked = requirement_lines.names(lock)
        size = _tree_bytes(made)
        facts = {"digest": digest, "interpreter": _interpreter(), "locked": locked, "size_bytes": size}
        (made / MARKER).write_text(json.dumps(facts), encoding="utf-8")
        target = _root() / digest
        remove_tree(target)  # only ever one that is of no use any more, such as after a new interpreter
        made.rename(target)
        return EnvironmentInfo(digest, target, locked, reused=False, size_bytes=size)
    finally:
        sweep_tree(work)
        os.close(fd)


def _ask_index(command: Command, argv: Sequence[str | Path], more: dict[str, str]) -> None:
    """Run uv; where the index is away, once more with what uv keeps of earlier answers and downloads."""
    try:
        command.run(argv, **more)
    except Unreachable:
        try:
            command.run(argv, UV_OFFLINE="1", **more)
        except (Unreachable, Refused):
            pass
        else:
            return
        raise


def _compile(command: Command, made: Path) -> None:
    """Byte-compile with the base interpreter, isolated and without `site`: no `.pth` line is executed.

    The sandbox may not write into an environment, so what is not compiled now would be compiled at every
    start of a model.
    """
    folder = made / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # Test suites are half of the modules of the numeric packages, and nobody imports them when serving.
    skipped = re.escape(str(folder)) + r"/(.*/)?tests/"
    argv = [_base_python(), "-I", "-S", "-m", "compileall", "-q", "-j", "0", "-x", skipped, folder]
    try:
        command.run(argv)
    except Refused as error:
        # Packages may carry files for other Pythons that do not compile; they are not imported here either.
        command.on_line(error.detail)


def _complete(digest: str) -> EnvironmentInfo | None:
    path = _root() / digest
    try:
        facts = json.loads((path / MARKER).read_text(encoding="utf-8"))
        usable = facts["digest"] == digest and os.access(environment_python(path), os.X_OK)
    except (OSError, ValueError, KeyError):
        return None
    return EnvironmentInfo(digest, path, facts["locked"], True, facts["size_bytes"]) if usable else None


def _recall(memo: Path) -> tuple[str, float]:
    try:
        return memo.read_text(encoding="utf-8"), time.time() - memo.stat().st_mtime
    except OSError:
        return "", 0.0


def _memo(lines: list[str], wheels: list[Wheel], index: PackageIndex) -> Path:
    key = json.dumps(
        [sorted(lines), sorted(wheel.sha256 for wheel in wheels), _interpreter(), index.identity]
    )
    return _root() / ".resolutions" / hashlib.sha256(key.encode()).hexdigest()


def _wheel_links(work: Path, wheels: list[Wheel], command: Command) -> dict[str, str]:
    """Lay out the package's own wheels, and nothing else of it, for uv to find."""
    if not wheels:
        return {}
    links = work / "wheels"
    links.mkdir(exist_ok=True)
    for wheel in wheels:
        target = links / wheel.path.name
        if not target.exists():
            target.write_bytes(wheel.path.read_bytes())
    others = command.environment.get("UV_FIND_LINKS", "")
    return {"UV_FIND_LINKS": ",".join(filter(None, [str(links), others]))}


def _locked_folder(path: Path) -> int:
    path.mkdir(parents=True, mode=0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def _scrubbed(index: PackageIndex) -> dict[str, str]:
    cache = Path(settings.SLIPWAY_VAR) / "uv-cache"
    home = _root() / ".home"  # not inside the cache: uv refuses to work there
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "UV_CACHE_DIR": str(cache),
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_KEYRING_PROVIDER": "disabled",
        "UV_HTTP_RETRIES": "2",
        "UV_HTTP_TIMEOUT": "30",
        **index.environment,
    }


def _tree_bytes(top: Path) -> int:
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _folders, names in os.walk(top)
        for name in names
    )


def _base_python() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _interpreter() -> str:
    kind = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{kind} {sysconfig.get_config_var('SOABI')} {' '.join(platform.libc_ver())}"


def _root() -> Path:
    return Path(settings.SLIPWAY_VAR) / "environments"
