"""The JSON Schema of request and response bodies, facts §2.5."""

from __future__ import annotations

import copy
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registry.body_schema import ROWS, TYPES, check, parameters, params
from tests.registry.packages import FORM
from tests.registry.samples import SAMPLES

TABLE = SAMPLES["e"]["apis"][0]["request"]["data"]


def faults(schema: Any, *, form: bool = False) -> dict[str, str]:
    """Reason → path."""
    return {p.code.removeprefix("registry.package."): p.params["path"] for p in check(schema, (), form=form)}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        TABLE,
        {"type": "array", "items": {"type": "number"}, "minItems": 1, "uniqueItems": True},
        {"type": ["string", "null"], "enum": ["a", None], "pattern": "^a+$", "format": "date"},
        {"properties": {"type": {"type": "string"}, "$ref": {"type": "string"}}, "required": ["type"]},
        {"$ref": "#/definitions/row", "definitions": {"row": {"type": "object"}}},
        {"properties": {"a": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": {"type": "string"}}},
        {"anyOf": [{"type": "string"}, True], "not": {"const": 1}, "additionalProperties": False},
        {"x-unit": "cm", "type": "number", "multipleOf": 0.5, "exclusiveMinimum": 0},
    ],
)  # fmt: skip
def test_a_schema_is_accepted(schema: dict[str, Any]) -> None:
    assert faults(schema) == {}


@pytest.mark.parametrize(
    ("schema", "reason", "path"),
    [
        ([], "type_wrong", ""),
        (True, "type_wrong", ""),
        ({"type": "int"}, "schema_illegal", "/type"),
        ({"type": []}, "schema_illegal", "/type"),
        ({"type": ["string", "string"]}, "schema_illegal", "/type"),
        ({"properties": []}, "schema_illegal", "/properties"),
        ({"properties": {"a": "number"}}, "schema_illegal", "/properties"),
        ({"properties": {"a": {"type": "float"}}}, "schema_illegal", "/properties/a/type"),
        ({"items": "number"}, "schema_illegal", "/items"),
        ({"items": [{"items": [1]}]}, "schema_illegal", "/items/0/items"),
        ({"required": "a"}, "schema_illegal", "/required"),
        ({"required": ["a", "a"]}, "schema_illegal", "/required"),
        ({"enum": "a"}, "schema_illegal", "/enum"),
        ({"pattern": "("}, "schema_illegal", "/pattern"),
        ({"patternProperties": {"[": {}}}, "schema_illegal", "/patternProperties/["),
        ({"minItems": -1}, "schema_illegal", "/minItems"),
        ({"minItems": True}, "schema_illegal", "/minItems"),
        ({"maximum": "9"}, "schema_illegal", "/maximum"),
        ({"multipleOf": 0}, "schema_illegal", "/multipleOf"),
        ({"allOf": []}, "schema_illegal", "/allOf"),
        ({"not": 1}, "schema_illegal", "/not"),
        ({"properties": {"a": {"$ref": "http://host/x"}}}, "schema_reference", "/properties/a/$ref"),
        ({"$ref": "file:///etc/passwd"}, "schema_reference", "/$ref"),
        ({"$ref": "#"}, "schema_reference", "/$ref"),
        ({"$ref": "#/definitions/none"}, "schema_reference", "/$ref"),
        ({"properties": {"a": {"$id": "http://host/"}}}, "schema_reference", "/properties/a/$id"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}, "schema_reference", "/$defs/a"),
    ],
)
def test_a_schema_with_a_fault_is_refused_at_its_place(schema: Any, reason: str, path: str) -> None:
    assert faults(schema) == {reason: path}


def test_a_circle_through_two_definitions_is_found() -> None:
    schema = {
        "definitions": {
            "a": {"properties": {"b": {"$ref": "#/definitions/b"}}},
            "b": {"allOf": [{"$ref": "#/definitions/a"}]},
            "fine": {"type": "string"},
        }
    }
    paths = {p.params["path"] for p in check(schema, (), form=False)}
    assert paths == {"/definitions/a", "/definitions/b"}


@pytest.mark.facts(65)
def test_a_file_needs_a_form() -> None:
    assert faults(FORM, form=True) == {}
    assert faults(FORM, form=False) == {"file_needs_form_data": "/properties/images"}
    assert faults({"type": "array", "items": {"type": "file"}}) == {"file_needs_form_data": "/items"}


def test_a_form_consists_of_named_fields() -> None:
    assert faults({"type": "array", "items": {"type": "file"}}, form=True) == {"form_needs_object": "/type"}
    assert faults({"properties": {"a": {"type": "file"}}}, form=True) == {}


def test_the_rows_show_names_types_and_nesting() -> None:
    rows = [(row.path, row.name, row.type, row.depth) for row in parameters(TABLE)]
    assert rows == [
        ("data", "data", "object", 0),
        ("data.req_data", "req_data", "array", 1),
        ("data.req_data[].petal_len", "petal_len", "number", 2),
        ("data.req_data[].petal_wid", "petal_wid", "number", 2),
    ]


def test_the_rows_tell_what_is_required_and_follow_references() -> None:
    schema = {
        "required": ["b"],
        "properties": {
            "a": {"type": ["number", "null"]},
            "b": {"$ref": "#/definitions/b"},
            "c": {"type": "array", "items": [{"type": "string"}, {"type": "number"}]},
            "d": {},
        },
        "definitions": {"b": {"properties": {"x": {"type": "file"}}}},
    }
    rows = [(row.path, row.type, row.required) for row in parameters(schema)]
    assert rows == [
        ("a", "number | null", False),
        ("b", "object", True),
        ("b.x", "file", False),
        ("c", "array", False),
        ("c[0]", "string", False),
        ("c[1]", "number", False),
        ("d", "any", False),
    ]


def test_nothing_declared_gives_no_rows() -> None:
    assert parameters(None) == []
    assert parameters({}) == []
    assert params(None) == {"type": "object", "properties": {}}


def test_the_stored_form_is_an_object_with_properties() -> None:
    assert params({"type": "object", "required": ["a"], "properties": {"a": {"type": "number"}}}) == {
        "type": "object",
        "properties": {"a": {"type": "number"}},
    }
    array = {"type": "array", "items": {"type": "number"}}
    assert params(array) == array


def test_references_that_multiply_do_not_hang_the_page() -> None:
    definitions = {
        f"d{n}": {"type": "array", "items": [{"$ref": f"#/definitions/d{n + 1}"}] * 2} for n in range(60)
    }
    definitions["d60"] = {"type": "object"}
    schema = {"properties": {"a": {"$ref": "#/definitions/d0"}}, "definitions": definitions}
    assert faults(schema) == {}
    started = time.monotonic()
    assert len(parameters(schema)) <= ROWS
    assert time.monotonic() - started < 5


def test_checking_takes_time_in_proportion_to_the_schema() -> None:
    mixed = [value for n in range(20_000) for value in (n, str(n))]
    started = time.monotonic()
    assert faults({"required": mixed, "enum": mixed}) == {"schema_illegal": "/required"}
    assert time.monotonic() - started < 5


def _as_draft7(schema: Any) -> Any:
    """`file` is ours; everything else must be draft 7."""
    if isinstance(schema, dict):
        return {
            key: "string" if key == "type" and value == "file" else _as_draft7(value)
            for key, value in schema.items()
        }
    return [_as_draft7(item) for item in schema] if isinstance(schema, list) else schema


keywords = {
    "type": st.sampled_from([t for t in TYPES if t != "file"]) | st.just("int"),
    "required": st.lists(st.sampled_from("ab"), max_size=2),
    "minItems": st.sampled_from([0, 1, 2.0, -1, 1.5, "1"]),
    "multipleOf": st.sampled_from([1, 0.5, 0]),
    "uniqueItems": st.booleans() | st.just(1),
    "pattern": st.sampled_from(["a+", "^x$"]) | st.just(3),
    "enum": st.just([1, "a"]) | st.just("a"),
    "title": st.just("t") | st.just(1),
}
schemas = st.recursive(
    st.fixed_dictionaries({}, optional=keywords),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            **keywords,
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2) | st.just([]),
            "items": inner | st.lists(inner, max_size=2) | st.just(1),
            "anyOf": st.lists(inner, max_size=2),
            "additionalProperties": inner | st.booleans() | st.just("x"),
            "dependencies": st.dictionaries(st.sampled_from("ab"), inner | st.just(["a"]), max_size=1),
        },
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(schemas)
@example({"items": []})
def test_we_accept_exactly_what_the_meta_schema_accepts(schema: Any) -> None:
    before = copy.deepcopy(schema)
    ours = not check(schema, (), form=True) or faults(schema, form=True).keys() == {"form_needs_object"}
    try:
        jsonschema.Draft7Validator.check_schema(_as_draft7(schema))
        theirs = True
    except jsonschema.SchemaError:
        theirs = False
    assert ours == theirs
    assert schema == before
