"""The declared JSON schema of a request: compiled once, told in plain words when it does not hold.

The documented files write rows as ``"items": [{…}]``. Read as JSON Schema that constrains the first row
alone; what their authors mean is *every row*, so a list with one schema is taken as that schema for every
item. Longer lists stay tuples (the ``[label, score]`` pair of facts §2.8). The dialect is Draft 7, the last
with tuples as lists.

`jsonschema-rs` is used because it checks in native code and its patterns cannot backtrack without limit,
which matters for a check that strangers feed (lessons §3.3 class 12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import Unusable, bad_request

_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def meaning(schema: Any) -> Any:
    """The schema as its author means it: single-element ``items`` lists become the schema of every item."""
    if isinstance(schema, dict):
        found = {key: meaning(value) for key, value in schema.items()}
        items = found.get("items")
        if isinstance(items, list) and len(items) == 1:
            found["items"] = items[0]
        return found
    if isinstance(schema, list):
        return [meaning(item) for item in schema]
    return schema


def compile_check(schema: dict[str, Any]) -> Callable[[Any], None]:
    """A function that raises `CallError` 400 for a body that breaks `schema`; `Unusable` if `schema` itself
    is wrong.
    """
    import jsonschema_rs

    try:
        validator = jsonschema_rs.Draft7Validator(meaning(schema))
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        reason = getattr(error, "message", None) or str(error)
        raise Unusable(f"The request schema in model/config.json is not a JSON Schema: {reason}.") from error
    is_valid = validator.is_valid

    def check(body: Any) -> None:
        if is_valid(body):
            return
        first = next(iter(validator.iter_errors(body)))
        raise bad_request(explain(first))

    return check


def explain(error: Any) -> str:
    """One `jsonschema_rs.ValidationError` as: place, what is wrong (rule), what to do."""
    kind = error.kind
    value = error.instance
    rule = kind.name
    wanted = _limit(kind, rule)
    if rule == "required":
        text, fix = f"the property “{kind.property}” is missing", f"Add “{kind.property}”."
    elif rule == "type":
        text = f"{wanted} is expected, but {_describe(value)} was sent"
        fix = f"Send {wanted} here."
    elif rule == "enum":
        text, fix = f"{_describe(value)} is not one of the allowed values", f"Use one of {wanted}."
    elif rule in ("additionalProperties", "falseSchema"):
        text, fix = "something is sent that is not declared", "Remove it or correct its name."
    elif rule in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf"):
        text, fix = f"{_describe(value)} breaks {rule} {wanted}", f"Send a number that keeps {rule} {wanted}."
    elif rule in ("minItems", "maxItems"):
        text, fix = (
            f"the array has {len(value)} items, which breaks {rule} {wanted}",
            "Change the number of items.",
        )
    elif rule in ("minLength", "maxLength"):
        text, fix = (
            f"the string has {len(value)} characters, which breaks {rule} {wanted}",
            "Change its length.",
        )
    else:
        text = f"{_describe(value)} does not keep the rule {rule}"
        fix = "Compare it with the request schema at /openapi.json."
    where = place(error.instance_path)
    return f"The request does not match the declared schema at {where}: {text} (rule {rule}). {fix}"


def place(path: Any) -> str:
    """A path of keys and positions as ``$.data.req_data[0].petal_len``."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _limit(kind: Any, rule: str) -> str:
    if rule == "type":
        return " or ".join(_article(name) for name in kind.types)
    value = kind.value
    return ", ".join(map(str, value))[:200] if isinstance(value, list) else str(value)[:200]


def _article(name: str) -> str:
    return "null" if name == "null" else f"{'an' if name[0] in 'aoi' else 'a'} {name}"


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    name = _NAMES.get(type(value), "a value")
    if isinstance(value, (bool, int, float)):
        return f"{name} ({str(value).lower() if isinstance(value, bool) else value})"
    if isinstance(value, str):
        return f"{name} (“{value[:60]}{'…' if len(value) > 60 else ''}”)"
    return name
