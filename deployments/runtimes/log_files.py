"""Reading the rotated log files of instances: `<service>.<id>.log`, `….log.1` (older), `….log.2` (oldest)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from deployments.runtimes.base import LogLine

RECENT_BYTES = 1024 * 1024  # read at most this when no moment is asked for
LINE_CHARACTERS = 8192
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # what programs send to terminals
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?)\b")


def read(folder: Path, id: str, since: datetime | None, until: datetime | None, tail: int) -> list[LogLine]:
    """The last `tail` lines of an instance between two moments, oldest first.

    A line without a time stamp of its own has the one of the line before; one before any stamp has none and
    belongs to every span.
    """
    limit = None if since or until else RECENT_BYTES
    lines = [line for line in _lines(_content(folder, id, limit)) if _within(line.at, since, until)]
    return lines[-tail:] if tail > 0 else []


def remove(folder: Path, service_id: str) -> None:
    """Remove every log file of a service."""
    for path in folder.glob(f"{service_id}.i-*.log*"):
        path.unlink(missing_ok=True)


def _content(folder: Path, id: str, limit: int | None) -> str:
    """The newest bytes of the files, at most `limit`, from the beginning of a line."""
    parts: list[bytes] = []
    room = limit
    for path in sorted(folder.glob(f"*.{id}.log*"), key=_age):
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                cut = room is not None and size > room
                file.seek(size - room if cut else 0)
                data = file.read()
        except OSError:
            continue  # rotated away meanwhile
        parts.append(data.partition(b"\n")[2] if cut else data)
        if room is not None:
            room -= len(data)
            if room <= 0:
                break
    return b"".join(reversed(parts)).decode(errors="replace")


def _age(path: Path) -> int:
    return int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0


def _lines(content: str) -> Iterator[LogLine]:
    at = None
    for text in content.split("\n"):
        if text := _COLOURS.sub("", text).rstrip("\r\0")[:LINE_CHARACTERS]:
            at = _moment(text) or at
            yield LogLine(at, text)


def _moment(text: str) -> datetime | None:
    found = _STAMP.match(text)
    if not found:
        return None
    try:
        moment = datetime.fromisoformat(found[1].replace(",", "."))
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _within(at: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    return at is None or not ((since and at < since) or (until and at > until))
