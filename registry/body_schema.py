"""The JSON Schema (draft 7) that an API declares for its request or response body, facts §2.5.

A file is `{"type": "file"}`. `check` finds what is wrong with a schema, `parameters` makes the rows that the
pages show, `params` the stored form `{"type": "object", "properties": {…}}`. Our own checker instead of the
meta-schema: linear in its input, and its messages name the rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from console.problems import Problem
from registry.strict_json import pointer, shown, shown_key

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null", "file")
ROWS = 200
VISITS = 5000

_Path = tuple[str | int, ...]


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return _number(value) and value >= 0 and float(value).is_integer()


def _names(value: Any) -> bool:
    return (
        isinstance(value, list) and all(isinstance(v, str) for v in value) and len(set(value)) == len(value)
    )


def _types(value: Any) -> bool:
    if isinstance(value, str):
        return value in TYPES
    return _names(value) and bool(value) and all(name in TYPES for name in value)


def _pattern(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _schema(value: Any) -> bool:
    return isinstance(value, (dict, bool))


def _schema_map(value: Any) -> bool:
    return isinstance(value, dict) and all(_schema(v) for v in value.values())


def _schema_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_schema(v) for v in value)


_KEYWORDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_types, ", ".join(TYPES)),
    "required": (_names, '["name", …]'),
    "enum": (lambda v: isinstance(v, list), "[…]"),
    "pattern": (_pattern, "regular expression"),
    "items": (lambda v: _schema(v) or _schema_list(v), "{…}, [{…}]"),
    "multipleOf": (lambda v: _number(v) and v > 0, "number > 0"),
    "uniqueItems": (lambda v: isinstance(v, bool), "true, false"),
    "dependencies": (
        lambda v: isinstance(v, dict) and all(_schema(x) or _names(x) for x in v.values()),
        "{…}",
    ),
    **dict.fromkeys(("$ref", "$id", "$schema", "$comment", "title", "description", "format"),
                    (lambda v: isinstance(v, str), "string")),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (_number, "number")),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
                    (_count, "integer >= 0")),
    **dict.fromkeys(("properties", "patternProperties", "definitions", "$defs"), (_schema_map, "{…}")),
    **dict.fromkeys(("additionalItems", "additionalProperties", "contains", "propertyNames",
                     "not", "if", "then", "else"), (_schema, "{…}, true, false")),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), (_schema_list, "[{…}, …]")),
}  # fmt: skip

_MAPS = ("properties", "patternProperties", "definitions", "$defs", "dependencies")
_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLES = ("items", "additionalItems", "additionalProperties", "contains", "propertyNames",
            "not", "if", "then", "else")  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One row of an input or output table: `path` from the body's root, `name` its last part, `type` as
    declared, `depth` 0 for the top, `required` where the schema says so."""

    path: str
    name: str
    type: str
    depth: int
    required: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The row as plain JSON."""
        return asdict(self)


def check(schema: Any, at: _Path, *, form: bool) -> list[Problem]:
    """What is wrong with the body schema at pointer `at`; `form` when its content type is multipart."""
    if not isinstance(schema, dict):
        return [_problem("type_wrong", at, value=shown(schema), expected="object")]
    problems: list[Problem] = []
    for path, part in _walk(schema, at):
        for key, value in part.items():
            known = _KEYWORDS.get(key)
            if known is None:
                continue
            holds, expected = known
            if not holds(value):
                facts = {"keyword": key, "value": shown(value), "expected": expected}
                problems.append(_problem("schema_illegal", (*path, key), **facts))
        if _mentions_file(part) and not form:
            problems.append(_problem("file_needs_form_data", path, value=shown(part)))
        if "patternProperties" in part and isinstance(part["patternProperties"], dict):
            for name in part["patternProperties"]:
                if not _pattern(name):
                    place = (*path, "patternProperties", name)
                    facts = {"keyword": "patternProperties", "expected": "regular expression"}
                    problems.append(_problem("schema_illegal", place, value=shown(name), **facts))
    problems.extend(_bad_references(schema, at))
    if form and schema.get("type", "object") != "object":
        problems.append(_problem("form_needs_object", (*at, "type"), value=shown(schema["type"])))
    return problems


def parameters(schema: Any) -> list[Parameter]:
    """The rows that describe a checked `schema`, in its order, at most 200."""
    rows: list[Parameter] = []
    waiting: list[tuple[Any, str, int, Parameter | None]] = [(schema, "", 0, None)]
    for _visit in range(VISITS):  # references can multiply: a page of schema may mean millions of rows
        if not waiting or len(rows) == ROWS:
            break
        part, prefix, depth, row = waiting.pop()
        if row is not None:
            rows.append(row)
        waiting.extend(reversed(_children(_resolve(part, schema), schema, prefix, depth)))
    return rows


def _children(
    schema: Any, root: Any, prefix: str, depth: int
) -> list[tuple[Any, str, int, Parameter | None]]:
    if not isinstance(schema, dict):
        return []
    found: list[tuple[Any, str, int, Parameter | None]] = []
    required = schema.get("required") or ()
    for name, child in (schema.get("properties") or {}).items():
        path = f"{prefix}.{name}" if prefix else name
        row = Parameter(path, name, kind(_resolve(child, root)), depth, name in required)
        found.append((child, path, depth + 1, row))
    items = schema.get("items")
    if isinstance(items, dict):
        items = [items]
    for index, child in enumerate(items if isinstance(items, list) else ()):
        name = "[]" if len(items) == 1 else f"[{index}]"
        word = kind(_resolve(child, root))
        row = None if word in ("object", "array") else Parameter(prefix + name, name, word, depth)
        found.append((child, prefix + name, depth, row))
    return found


def params(schema: Any) -> dict[str, Any]:
    """The stored form of a body schema (facts §2.5): `{"type": "object", "properties": {…}}`.

    A body that is no object keeps its schema as it is; no schema gives an object without properties.
    """
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    schema = _resolve(schema, schema)
    if kind(schema) not in ("object", "any"):
        return dict(schema)
    return {"type": "object", "properties": dict(schema.get("properties") or {})}


def kind(schema: Any) -> str:
    """The declared type in a word; told from the other keywords where the type is left out."""
    if not isinstance(schema, dict):
        return "any"
    declared = schema.get("type")
    if isinstance(declared, list):
        return " | ".join(declared)
    if declared:
        return declared
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "any"


def _resolve(schema: Any, root: Any) -> Any:
    """`schema`, or what its local reference means; checked schemas hold no cycles."""
    for _hop in range(32):
        if not (isinstance(schema, dict) and isinstance(schema.get("$ref"), str)):
            break
        schema = _target(root, schema["$ref"])
    return schema


def _target(root: dict[str, Any], reference: str) -> Any:
    """The definition that `reference` names, or None."""
    for section in ("definitions", "$defs"):
        head = f"#/{section}/"
        if reference.startswith(head) and isinstance(root.get(section), dict):
            name = reference.removeprefix(head).replace("~1", "/").replace("~0", "~")
            return root[section].get(name)
    return None


def _bad_references(root: dict[str, Any], at: _Path) -> Iterator[Problem]:
    """References to other documents, to nothing, or round in a circle; each would stop the model server."""
    for path, part in _walk(root, at):
        reference = part.get("$ref")
        if isinstance(reference, str) and not isinstance(_target(root, reference), dict):
            yield _problem("schema_reference", (*path, "$ref"), value=shown(reference))
        if path != at and "$id" in part:  # it would move the place that references start from
            yield _problem("schema_reference", (*path, "$id"), value=shown(part["$id"]))
    edges: dict[str, list[str]] = {}
    for section in ("definitions", "$defs"):
        definitions = root.get(section)
        for name, definition in definitions.items() if isinstance(definitions, dict) else ():
            source = f"#/{section}/" + str(name).replace("~", "~0").replace("/", "~1")
            edges[source] = [
                part["$ref"] for _path, part in _walk(definition, ()) if isinstance(part.get("$ref"), str)
            ]
    for source in _on_a_cycle(edges):
        where = source[2:].split("/", 1)
        yield _problem("schema_reference", (*at, *where), value=shown(source))


def _on_a_cycle(edges: dict[str, list[str]]) -> list[str]:
    """The names that lead back to themselves: what is left when every finished name is taken away."""
    left = {name: {target for target in targets if target in edges} for name, targets in edges.items()}
    users: dict[str, list[str]] = {name: [] for name in left}
    for name, targets in left.items():
        for target in targets:
            users[target].append(name)
    done = [name for name, targets in left.items() if not targets]
    while done:
        name = done.pop()
        left.pop(name, None)
        for user in users[name]:
            if user in left:
                left[user].discard(name)
                if not left[user]:
                    done.append(user)
    return sorted(left)


def _walk(schema: Any, at: _Path) -> Iterator[tuple[_Path, dict[str, Any]]]:
    """Every sub-schema that is an object, with its path; names of properties are not taken for keywords."""
    waiting: list[tuple[_Path, Any]] = [(at, schema)]
    while waiting:
        path, part = waiting.pop()
        if not isinstance(part, dict):
            continue
        yield path, part
        for key in _MAPS:
            if isinstance(part.get(key), dict):
                waiting.extend(((*path, key, name), child) for name, child in part[key].items())
        for key in _LISTS + _SINGLES:
            child = part.get(key)
            if isinstance(child, list):
                waiting.extend(((*path, key, index), item) for index, item in enumerate(child))
            else:
                waiting.append(((*path, key), child))


def _mentions_file(part: dict[str, Any]) -> bool:
    declared = part.get("type")
    return declared == "file" or (isinstance(declared, list) and "file" in declared)


def _problem(reason: str, path: _Path, **more: Any) -> Problem:
    if "keyword" in more:
        more["keyword"] = shown_key(more["keyword"])
    return Problem(f"registry.package.{reason}", {"path": pointer(path), **more})
