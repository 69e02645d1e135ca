"""The paths of a package, as a stranger's storage lists them: checked before anything is made of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from console.problems import Problem
from registry.strict_json import shown

FILES = 10_000
PATH_BYTES = 1024
NAME_BYTES = 255

# Control characters, lone surrogates, and what reverses or breaks the line that shows the name.
_REFUSED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def without_folder_markers(listing: Mapping[str, int]) -> dict[str, int]:
    """`listing` without the empty objects `folder/` that object-storage consoles create for folders."""
    return {path: size for path, size in listing.items() if not (path.endswith("/") and size == 0)}


def check_paths(listing: Mapping[str, int]) -> list[Problem]:
    """What forbids these relative paths to become files: at most one problem for each path.

    A listing without problems holds only plain relative paths, no two of which are one file.
    """
    if len(listing) > FILES:
        return [Problem("registry.package.too_many_files", {"count": len(listing), "limit": FILES})]
    problems: list[Problem] = []
    seen: set[str] = set()
    folders: set[str] = set()
    fine: list[str] = []
    for path in listing:
        reason = _fault(path)
        if reason is None and _same(path) in seen:
            reason = "path_duplicate"
        if reason is not None:
            problems.append(Problem(f"registry.package.{reason}", {"value": shown(path)}))
            continue
        seen.add(_same(path))
        fine.append(path)
        parts = _same(path).split("/")
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    problems.extend(
        Problem("registry.package.path_conflict", {"value": shown(path)})
        for path in fine
        if _same(path) in folders
    )
    return problems


def _fault(path: str) -> str | None:
    if path.startswith("/") or (len(path) > 1 and path[1] == ":" and path[0].isascii() and path[0].isalpha()):
        return "path_absolute"
    if any(c == "\\" or c in _BIDI or unicodedata.category(c) in _REFUSED_CATEGORIES for c in path):
        return "path_characters"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "path_climbs"
    if len(path.encode()) > PATH_BYTES or any(len(part.encode()) > NAME_BYTES for part in parts):
        return "path_too_long"
    return None


def _same(path: str) -> str:
    """Equal for paths that some file systems take for one file: composed and decomposed accents."""
    return unicodedata.normalize("NFC", path)
