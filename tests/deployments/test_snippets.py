from __future__ import annotations

import ast
import json
import shlex
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.problems import ProblemError
from deployments import prediction, snippets

API = {"method": "POST", "url": "/", "request_type": "application/json", "request_schema": None}
ADDRESS = "http://127.0.0.1:8080/v1/infers/6f1c"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def version(**fields):
    made = {"model": SimpleNamespace(name="数字 digits"), "has_inference_code": False, "number": "0.0.1"}
    return SimpleNamespace(**(made | fields))


@given(JSON)
def test_what_curl_sends_is_the_body_whatever_is_in_it(body):
    curl = snippets.snippets_of(version(), API, ADDRESS, "k'ey", body)[0]
    words = shlex.split(curl.text.replace("\\\n", " "))
    assert words[:5] == ["curl", "-sS", "-X", "POST", ADDRESS]
    assert words[words.index("-H") + 1] == "X-Apig-AppCode: k'ey"
    assert json.loads(words[words.index("-d") + 1]) == body


@given(JSON)
def test_what_python_sends_is_the_body_whatever_is_in_it(body):
    code = snippets.snippets_of(version(), API, ADDRESS, "k'ey", body)[1]
    tree = ast.parse(code.text)
    [assigned] = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "body"
    ]
    assert ast.literal_eval(assigned) == body


def test_open_inference_is_offered_where_the_model_has_tensors():
    labels = [each.label for each in snippets.snippets_of(version(), API, ADDRESS, "k", {})]
    assert "Open Inference Protocol v2" in labels
    own = version(has_inference_code=True)
    assert "Open Inference Protocol v2" not in [
        s.label for s in snippets.snippets_of(own, API, ADDRESS, "k", {})
    ]
    code = snippets.snippets_of(version(), API, ADDRESS, "k", {"inputs": {"x": [[1.0]]}})[2].text
    ast.parse(code)
    assert "%E6%95%B0" in code, "a model's name in an address is quoted"


def test_a_file_is_sent_as_a_form():
    schema = {"type": "object", "properties": {"images": {"type": "file"}, "note": {"type": "string"}}}
    api = API | {"request_type": "multipart/form-data", "request_schema": schema}
    curl, code = snippets.snippets_of(version(has_inference_code=True), api, ADDRESS, "k", None)
    assert "-F images=@images.png" in curl.text and "-F note=" in curl.text
    ast.parse(code.text)


ROWS = {
    "type": "object",
    "properties": {
        "data": {
            "type": "object",
            "properties": {
                "req_data": {
                    "type": "array",
                    "items": [
                        {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "integer"}}}
                    ],
                }
            },
        }
    },
}


def test_a_form_holds_the_rows_of_the_example_and_gives_them_back():
    body = {"data": {"req_data": [{"a": 1.5, "b": 2}, {"a": 3.0, "b": 4}]}}
    fields = prediction.fields_of(ROWS, body)
    assert [field.name for field in fields] == [
        "/data/req_data/0/a",
        "/data/req_data/0/b",
        "/data/req_data/1/a",
        "/data/req_data/1/b",
    ]
    assert prediction.body_of(fields, {field.name: field.shown for field in fields}) == body


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "number"}, "1e3", 1000.0),
        ({"type": "integer"}, "-7", -7),
        ({"type": "boolean"}, "true", True),
        ({"type": "string"}, "5", "5"),
        ({"type": ["number", "null"]}, "", None),
        ({"type": "array", "items": {"type": "number"}}, "1, 2.5,3", [1, 2.5, 3]),
        ({"type": "array", "items": [{"type": "string"}]}, "a, b", ["a", "b"]),
    ],
)
def test_each_type_is_read_as_what_it_is(schema, text, value):
    fields = prediction.fields_of({"type": "object", "properties": {"a/b~c": schema}})
    assert prediction.body_of(fields, {fields[0].name: text}) == {"a/b~c": value}


@pytest.mark.parametrize("text", ["x", "true", "NaN", "1,2", '"1"'])
def test_what_is_no_number_is_refused_by_its_name(text):
    fields = prediction.fields_of({"type": "object", "properties": {"width": {"type": "number"}}})
    with pytest.raises(ProblemError) as error:
        prediction.body_of(fields, {"/width": text})
    assert "width" in error.value.problem.cause


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        {"$ref": "#"},
        {"type": "object"},
        {"type": "array"},
        {"type": ["number", "string"]},
        {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        {"type": "object", "properties": {f"p{n}": {"type": "number"} for n in range(100)}},
    ],
)
def test_what_is_not_simple_is_left_to_the_editor(schema):
    assert prediction.fields_of(schema) is None


def test_an_example_has_the_shape_of_the_schema():
    assert prediction.example_of(ROWS) == {"data": {"req_data": [{"a": 0.0, "b": 0}]}}
    assert prediction.example_of({"type": "string", "enum": ["x", "y"]}) == "x"
    assert prediction.example_of(None) == {}
