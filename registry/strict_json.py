"""Reads a JSON text that a stranger wrote: bounded, without duplicate keys, with a pointer to every fault.

`read` gives back the tree and what is wrong inside it; a text that is no JSON object at all raises at once.
Nothing here recurses over the input, so depth cannot exhaust the interpreter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from console.problems import Problem
from registry.problems import PackageProblems

CONFIG_BYTES = 256 * 1024
"""A config.json is a page of text; more than this is a mistake or an attack."""

DEPTH = 32
SHOWN = 80


def pointer(path: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) of `path`, its keys shortened so that it stays readable."""
    parts = (shown_key(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "".join("/" + part for part in parts)


def shown_key(key: str | int) -> str:
    """`key` as text that every row and page can hold: escaped like JSON, at most 40 characters."""
    text = json.dumps(str(key), ensure_ascii=False)[1:-1].encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 40 else text[:39] + "…"


def shown(value: Any) -> str:
    """`value` as JSON, cut to 80 characters, safe to store and to show."""
    if isinstance(value, (str, bytes)):
        value = value[: 2 * SHOWN]
    elif isinstance(value, (dict, list)):
        value = dict(list(value.items())[:SHOWN]) if isinstance(value, dict) else value[:SHOWN]
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits, or too deep
        text = f"<{type(value).__name__}>"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def read(source: str | bytes, limit: int = CONFIG_BYTES) -> tuple[dict[str, Any], list[Problem]]:
    """The JSON object in `source` and the problems in its details.

    Raises PackageProblems when there is no object to speak of: empty, too large, not UTF-8, with a byte
    order mark, not JSON, too deep, or another value than an object.
    """
    text = _decode(source, limit)
    # The object is kept beside its keys, so that nothing else can come to have its id.
    duplicates: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            seen: set[str] = set()
            duplicates[id(made)] = made, [key for key, _value in items if key in seen or seen.add(key)]
        return made

    try:
        tree = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        _refuse("config_not_json", detail=error.msg, line=error.lineno, column=error.colno)
    except RecursionError:
        _refuse("config_too_deep", limit=DEPTH)
    except ValueError as error:  # NaN and its like, or an integer that Python refuses to read
        _refuse("config_not_json", detail=shown_key(str(error)), line=1, column=1)
    if not isinstance(tree, dict):
        _refuse("config_not_object", value=shown(tree))
    problems = []
    for path, value, depth in _walk(tree):
        if depth > DEPTH:
            _refuse("config_too_deep", limit=DEPTH)
        if isinstance(value, dict):
            for key in duplicates.get(id(value), (value, ()))[1]:
                problems.append(_problem("key_duplicate", path=pointer((*path, key)), key=shown_key(key)))
            for key in value:
                if not _storable(key):
                    problems.append(_problem("text_illegal", path=pointer((*path, key)), value=shown(key)))
        elif isinstance(value, str) and not _storable(value):
            problems.append(_problem("text_illegal", path=pointer(path), value=shown(value)))
        elif _too_great(value):
            problems.append(_problem("number_out_of_range", path=pointer(path), value=shown(value)))
    return tree, problems


def _decode(source: str | bytes, limit: int) -> str:
    size = len(source) if isinstance(source, bytes) else len(source.encode("utf-8", "surrogatepass"))
    if size > limit:
        _refuse("config_too_large", size=size, limit=limit)
    if isinstance(source, bytes):
        try:
            source = source.decode("utf-8")
        except UnicodeDecodeError as error:
            _refuse("config_not_utf8", position=error.start + 1)
    if source.startswith("\ufeff"):
        _refuse("config_bom")
    if not source.strip():
        _refuse("config_empty")
    return source


def _walk(tree: Any) -> Iterator[tuple[tuple[str | int, ...], Any, int]]:
    waiting: list[tuple[tuple[str | int, ...], Any, int]] = [((), tree, 1)]
    while waiting:
        path, value, depth = waiting.pop()
        yield path, value, depth
        if isinstance(value, dict):
            children = list(value.items())
        elif isinstance(value, list):
            children = list(enumerate(value))
        else:
            continue
        waiting.extend(((*path, key), child, depth + 1) for key, child in reversed(children))


def _storable(text: str) -> bool:
    """False for NUL and lone surrogates, which PostgreSQL and UTF-8 refuse."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _too_great(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    return isinstance(value, float) and value in (float("inf"), float("-inf"))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _problem(reason: str, **params: Any) -> Problem:
    return Problem(f"registry.package.{reason}", params)


def _refuse(reason: str, **params: Any) -> NoReturn:
    raise PackageProblems([_problem(reason, **params)])
