"""What the environment says: typed readers of variables, secret files, and the folder for sockets.

Lowest layer of the house; imports nothing of ours and nothing of Django.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path

SOCKET_PATH_LIMIT = 107  # bytes that fit in sockaddr_un.sun_path, less the closing NUL
LONGEST_SOCKET_NAME = 40


class EnvironmentProblem(Exception):
    """A variable or a folder that Slipway cannot start with; the message names it and the fix."""


def text(name: str, default: str = "") -> str:
    """The value of `name`, or the content of the file that `<name>_FILE` points to, or `default`."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise EnvironmentProblem(f"{name}_FILE: cannot read {path}: {error.strerror}") from error
    return os.environ.get(name, default)


def integer(name: str, default: int) -> int:
    """The whole number in `name`, or `default`."""
    value = text(name)
    try:
        return int(value) if value else default
    except ValueError:
        raise EnvironmentProblem(f"{name}: {value!r} is not a whole number") from None


def flag(name: str, default: bool = False) -> bool:
    """True for 1, true, yes, on; false for 0, false, no, off."""
    value = text(name).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    if value == "":
        return default
    raise EnvironmentProblem(f"{name}: {value!r} is neither true nor false")


def words(name: str, default: str = "") -> list[str]:
    """The comma-separated words in `name`."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def private_folder(path: Path) -> Path:
    """`path`, made with its parents and closed to other users."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot use this folder: {error.strerror}") from error
    return path


def kept_secret(path: Path) -> str:
    """The secret in the private file `path`, made up at the first call; safe when two processes race."""
    private_folder(path.parent)
    made = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        if not path.exists():
            with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48) + "\n")
            # A link appears whole or not at all, and the first one stays.
            try:
                os.link(made, path)
            except FileExistsError:
                pass
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot keep the secret: {error.strerror}") from error
    finally:
        made.unlink(missing_ok=True)


def run_folder(var: Path) -> Path:
    """The private folder for Unix sockets of the installation in `var`.

    It is `var/run`, unless paths below that would not fit in a socket address: then a short folder
    under the system's temporary folder, remembered in `var/run-folder`.
    """
    inside = var / "run"
    if len(os.fsencode(inside)) + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT:
        return private_folder(inside)
    note = private_folder(var) / "run-folder"
    try:
        remembered = Path(note.read_text(encoding="utf-8").strip())
        if _is_ours(remembered):
            return remembered
    except OSError:
        pass
    made = Path(tempfile.mkdtemp(prefix="slipway-"))
    note.write_text(f"{made}\n", encoding="utf-8")
    return made


def _is_ours(path: Path) -> bool:
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077
