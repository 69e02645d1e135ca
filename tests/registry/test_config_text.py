"""config.json as a text from a stranger: whatever it is, it has one clear reason or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.utils.translation import override
from hypothesis import given, settings
from hypothesis import strategies as st

from console.problems import Problem, registered
from registry.config_json import PROBLEMS
from registry.engines import CATALOGUE
from registry.package import parse_config
from registry.problems import PackageProblems
from registry.strict_json import CONFIG_BYTES
from tests.registry.packages import make_config, make_dependencies, refusals


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "config_empty"),
        (b" \n\t ", "config_empty"),
        (b"\xff\xfe{\x00}\x00", "config_not_utf8"),
        (b'{"model_type": "\xe4\xb8"}', "config_not_utf8"),
        ('\ufeff{"model_type": "ONNX"}'.encode(), "config_bom"),
        (b"{", "config_not_json"),
        (b"{'model_type': 1}", "config_not_json"),
        (b'{"a": 1,}', "config_not_json"),
        (b'{"a": NaN}', "config_not_json"),
        (b'{"a": -Infinity}', "config_not_json"),
        (b'{"a": 1} trailing', "config_not_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "config_not_json"),
        (b"[]", "config_not_object"),
        (b'"text"', "config_not_object"),
        (b"null", "config_not_object"),
        (b"[" * 100_000, "config_too_deep"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "config_too_deep"),
        (b'{"a": "' + b"x" * CONFIG_BYTES + b'"}', "config_too_large"),
    ],
)
def test_a_text_that_is_no_json_object_has_one_clear_reason(text: bytes, reason: str) -> None:
    assert list(refusals(text)) == [reason]


def test_a_json_error_names_line_and_column() -> None:
    with pytest.raises(PackageProblems) as caught:
        parse_config('{\n  "model_type": "XGBoost",\n}')
    (problem,) = caught.value.problems
    assert problem.params["line"] == 3
    assert "3" in problem.cause


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"model_type": "ONNX", "model_type": "XGBoost", "model_algorithm": "a"}', "/model_type"),
        ('{"apis": [{"url": "/", "url": "/"}]}', "/apis/0/url"),
        ('{"metrics": {"f1": 1, "f1": 2, "f1": 3}}', "/metrics/f1"),
    ],
)
def test_a_key_given_twice_is_refused_at_its_place(text: str, path: str) -> None:
    assert refusals(text)["key_duplicate"] == path


def test_a_replaced_object_does_not_accuse_another_of_its_duplicates() -> None:
    text = '{"a": {"x": 1, "x": 2}, "a": {}, ' + ", ".join(f'"k{n}": {{"y": 1}}' for n in range(50)) + "}"
    with pytest.raises(PackageProblems) as caught:
        parse_config(text)
    paths = [p.params["path"] for p in caught.value.problems if p.code.endswith("key_duplicate")]
    assert paths == ["/a"]


@pytest.mark.parametrize(
    "text", [r'{"model_algorithm": "a\u0000b"}', r'{"a\ud800": 1}', r'{"runtime": "\udfff"}']
)
def test_text_that_a_database_cannot_store_is_refused(text: str) -> None:
    found = refusals(text)
    assert "text_illegal" in found
    found["text_illegal"].encode()  # what we store about it can be stored


@pytest.mark.parametrize("number", ["1e400", "-1e999", "9223372036854775808", "1" + "0" * 30])
def test_numbers_beyond_what_json_columns_keep_are_refused(number: str) -> None:
    schema = f'{{"request": {{"data": {{"minimum": {number}}}}}}}'
    text = f'{{"model_type": "XGBoost", "model_algorithm": "a", "apis": [{schema}]}}'
    assert refusals(text) == {"number_out_of_range": "/apis/0/request/data/minimum"}


def test_all_violations_are_reported_at_once() -> None:
    config = {
        "model_type": "XGBoost",
        "model_algorithm": "1",
        "runtime": "python1",
        "metrics": {"f1": "high"},
        "apis": [{"url": "/x", "request": {"Content-type": "multipart/form-data"}}, {}],
        "dependencies": make_dependencies({"package_name": "a b", "package_version": "1"}, installer="yum"),
        "health": {},
        "extra": 1,
    }
    assert set(refusals(config)) == {
        "model_algorithm_illegal", "runtime_unknown", "metric_illegal", "api_count", "api_url_not_root",
        "content_type_not_json", "installer_not_offered", "package_name_illegal", "restraint_missing",
        "only_for_image", "key_missing", "key_unknown",
    }  # fmt: skip


def test_thousands_of_violations_are_counted_not_listed() -> None:
    with pytest.raises(PackageProblems) as caught:
        parse_config(json.dumps(make_config(**{f"key{number}": 1 for number in range(3000)})))
    assert len(caught.value.problems) == PROBLEMS + 1
    assert caught.value.problems[-1] == Problem("registry.package.more", {"count": 3000 - PROBLEMS})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
known_keys = st.sampled_from(
    ["model_type", "model_algorithm", "runtime", "swr_location", "metrics", "apis", "dependencies", "health",
     "protocol", "port", "url", "method", "request", "response", "Content-type", "data", "installer",
     "packages", "package_name", "package_version", "restraint", "type", "properties", "items", "$ref",
     "definitions", "required", "allOf", "pattern", "f1"]
)  # fmt: skip
known_values = st.sampled_from(
    [*CATALOGUE, "python3.6", "/", "post", "file", "object", "multipart/form-data", "pip", "EXACT",
     "#/definitions/type"]
)  # fmt: skip
near_configs = st.dictionaries(
    known_keys,
    st.recursive(
        json_values | known_values,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(known_keys, inner, max_size=5),
        max_leaves=12,
    ),
    max_size=8,
)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_text_raises_anything_but_package_problems(text: bytes | str) -> None:
    refusals(text)


@settings(max_examples=100, deadline=None)
@given(json_values | near_configs | near_configs.map(lambda c: {**make_config(), **c}))
def test_no_json_raises_anything_but_package_problems(value: Any) -> None:
    text = json.dumps(value)
    try:
        parse_config(text)
    except PackageProblems as error:
        with override("zh-hans"):
            for problem in error.problems:
                json.dumps(problem.as_dict()).encode()
                assert problem.code in registered()
                for sentence in (problem.cause, problem.fix):
                    assert "<" + "path>" not in sentence  # every placeholder was filled
                    sentence.encode()
