"""Requirement lines before uv sees them, and lock lines after: names and versions only, never places."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from console.problems import ProblemError
from registry.sources.base import printable

LINE_CHARACTERS = 300
MOST_LINES = 200
WHEEL_BYTES = 4 << 30

_WHEEL_NAME = re.compile(r"[A-Za-z0-9_.!+-]+\.whl")
_EXTRA = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LOCKED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


@dataclass(frozen=True)
class Wheel:
    """A wheel that the package brings along (facts §2.1)."""

    path: Path
    name: str
    version: str
    sha256: str


def checked(requirements: Sequence[str], wheel_folder: Path | None) -> tuple[list[str], list[Wheel]]:
    """`requirements` as plain lines, and the wheels that some of them name.

    Raises ProblemError `registry.environment.illegal_requirement` for an address, a path, an option, an
    unknown wheel, or anything else that is more than a name with extras, version bounds and a marker.
    """
    if len(requirements) > MOST_LINES:
        raise _illegal(f"{len(requirements)} > {MOST_LINES}")
    lines, wheels = [], []
    for text in requirements:
        text = text.strip()
        if text.endswith(".whl"):
            wheel = _wheel(text, wheel_folder)
            wheels.append(wheel)
            lines.append(f"{wheel.name}=={wheel.version}")
        else:
            lines.append(_plain(text))
    return lines, wheels


def of_file(path: Path) -> list[str]:
    """The requirement lines of one of our own files, without comments."""
    lines = (line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [_plain(line) for line in lines if line]


def tidy_lock(text: str, wheels: Sequence[Wheel]) -> str:
    """uv's lock, one sorted line per package. A package that came as a wheel keeps that wheel's hash only."""
    ours = {canonicalize_name(wheel.name): wheel for wheel in wheels}
    lines = []
    for line in text.replace("\\\n", " ").splitlines():
        line = " ".join(line.split())
        found = _LOCKED.match(line)
        if not found:
            continue
        wheel = ours.get(canonicalize_name(found[1]))
        if wheel is not None:
            line = f"{found[0]} --hash=sha256:{wheel.sha256}"
        lines.append(line)
    return "".join(f"{line}\n" for line in sorted(lines))


def names(lock: str) -> list[str]:
    """`name==version` of every package in a lock."""
    return [found[0] for line in lock.splitlines() if (found := _LOCKED.match(line))]


def _plain(text: str) -> str:
    if not text or len(text) > LINE_CHARACTERS or not text.isascii() or not text.isprintable():
        raise _illegal(text)
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise _illegal(text) from None
    if requirement.url or not all(_EXTRA.fullmatch(extra) for extra in requirement.extras):
        raise _illegal(text)
    return str(requirement)


def _wheel(name: str, folder: Path | None) -> Wheel:
    if folder is None or not _WHEEL_NAME.fullmatch(name):
        raise _illegal(name)
    path = folder / name
    try:
        package, version, _build, _tags = parse_wheel_filename(name)
        if path.is_symlink() or not path.is_file() or path.stat().st_size > WHEEL_BYTES:
            raise _illegal(name)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (InvalidWheelFilename, OSError):
        raise _illegal(name) from None
    return Wheel(path, str(package), str(version), sha256)


def _illegal(text: str) -> ProblemError:
    return ProblemError("registry.environment.illegal_requirement", requirement=printable(text))
