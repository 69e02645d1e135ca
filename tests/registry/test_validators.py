"""Every validator of facts §8.8 against examples and counter-examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils.translation import override

from console.problems import registered
from registry import validators as v

CHINESE_EDGES = ["\u4e00", "\u9fa5"]
BEYOND_CHINESE = ["\u3400", "\u9fa6", "\u4dff", "ひ", "한", "é", "Ａ", "٣", "１", "😀"]


def refusal(validate: Callable[..., None], *values: Any) -> str:
    """The code of the refusal; empty when the value is accepted."""
    try:
        validate(*values)
    except ValidationError as error:
        assert all(message.strip() for message in error.messages)
        return error.error_list[0].code or ""
    return ""


@pytest.mark.facts(3)
@pytest.mark.parametrize(
    "name", ["a", "model-6187", "Z_9", "-", "数字识别", "9", "a" * 64, "模" * 64, *CHINESE_EDGES]
)
def test_a_model_name_within_the_rule(name: str) -> None:
    assert refusal(v.validate_model_name, name) == ""


@pytest.mark.facts(3)
@pytest.mark.parametrize(
    "name",
    ["", "a" * 65, "模" * 65, "a b", "a.b", "a\n", "\na", "a/b", "a\x00", "<b>", " a", *BEYOND_CHINESE],
)
def test_a_model_name_outside_the_rule(name: str) -> None:
    assert refusal(v.validate_model_name, name) == "registry.field.model_name"


@pytest.mark.facts(5)
@pytest.mark.parametrize("version", ["0.0.1", "0.0.0", "1.2.3", "99.99.99", "10.0.20"])
def test_a_version_within_the_rule(version: str) -> None:
    assert refusal(v.validate_model_version, version) == ""


@pytest.mark.facts(5)
@pytest.mark.parametrize(
    "version",
    ["", "1", "1.2", "1.2.3.4", "01.01.01", "1.02.3", "00.0.1", "100.0.0", "1.2.3\n", " 1.2.3", "1.2.3 ",
     "1.2.a", "-1.0.0", "1,2,3", "v1.2.3", "١.٢.٣", "１.2.3", "1..3", "+1.2.3", "1.2.3-rc1"],
)  # fmt: skip
def test_a_version_outside_the_rule(version: str) -> None:
    assert refusal(v.validate_model_version, version) == "registry.field.model_version"


@pytest.mark.facts(8)
@pytest.mark.parametrize("label", ["a", "A_9", "标签", "标1_a", "a" * 64, *CHINESE_EDGES])
def test_a_label_within_the_rule(label: str) -> None:
    assert refusal(v.validate_label, label) == ""


@pytest.mark.facts(8)
@pytest.mark.parametrize("label", ["", "1a", "_a", "a-b", "a b", "a" * 65, "a\n", "a٣", *BEYOND_CHINESE])
def test_a_label_outside_the_rule(label: str) -> None:
    assert refusal(v.validate_label, label) == "registry.field.label"
    assert registered()["registry.field.label"].documented == "ModelArts.3023"


@pytest.mark.facts(7)
def test_the_sixth_label_is_refused() -> None:
    assert refusal(v.validate_labels, []) == ""
    assert refusal(v.validate_labels, list("abcde")) == ""
    assert refusal(v.validate_labels, list("abcdef")) == "registry.field.labels_too_many"
    assert refusal(v.validate_labels, ["a", "a"]) == "registry.field.label_twice"


def test_every_faulty_label_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        v.validate_labels(["ok", "1", "a b"])
    assert [error.code for error in caught.value.error_list] == ["registry.field.label"] * 2
    assert '"1"' in caught.value.messages[0]
    assert '"a b"' in caught.value.messages[1]


@pytest.mark.facts(9, 10)
@pytest.mark.parametrize(
    "text", ["", "a", "x" * 100, "文" * 100, "it; (is) fine: 100% #1 a\\b", "two\nlines", "tab\t"]
)
def test_a_description_within_the_rule(text: str) -> None:
    assert refusal(v.validate_description, text) == ""


@pytest.mark.facts(10)
@pytest.mark.parametrize("text", [*(f"a{c}b" for c in "&!'\"<>="), "a\x00", "a\x1b[31m", "\ud800", "a\x85b"])
def test_a_description_with_a_refused_character(text: str) -> None:
    assert refusal(v.validate_description, text) == "registry.field.description"


@pytest.mark.facts(10)
def test_a_description_of_more_than_a_hundred_characters() -> None:
    assert refusal(v.validate_description, "x" * 101) == "registry.field.description_long"
    assert refusal(v.validate_description, "文" * 101) == "registry.field.description_long"


@pytest.mark.facts(24)
@pytest.mark.parametrize("name", ["a", "说明", "Doc-1_a", "a" * 48])
def test_a_document_name_within_the_rule(name: str) -> None:
    assert refusal(v.validate_document_name, name) == ""


@pytest.mark.facts(24)
@pytest.mark.parametrize("name", ["", "1a", "-a", "_a", "a b", "a" * 49, "a\n", *BEYOND_CHINESE])
def test_a_document_name_outside_the_rule(name: str) -> None:
    assert refusal(v.validate_document_name, name) == "registry.field.document_name"


@pytest.mark.parametrize("url", ["http://a", "https://example.org/x?y=1#z", "HTTPS://host:8443/路径"])
def test_a_document_link_within_the_rule(url: str) -> None:
    assert refusal(v.validate_document_url, url) == ""


@pytest.mark.parametrize(
    "url",
    ["", "ftp://a", "javascript:alert(1)", "http://", "https:///x", "//host", "http:/a", "http://a b", "http://a\n",
     "https://a\\b", " http://a", "https://" + "a" * 2048],
)  # fmt: skip
def test_a_document_link_outside_the_rule(url: str) -> None:
    assert refusal(v.validate_document_url, url) == "registry.field.document_url"


@pytest.mark.facts(23)
def test_the_fourth_document_is_refused() -> None:
    assert refusal(v.validate_documents, [1, 2, 3]) == ""
    assert refusal(v.validate_documents, [1, 2, 3, 4]) == "registry.field.documents_too_many"


@pytest.mark.facts(15)
def test_at_least_one_deployment_type_is_needed() -> None:
    assert refusal(v.validate_deployment_types, ["real-time", "batch", "edge"]) == ""
    assert refusal(v.validate_deployment_types, ["edge"]) == ""
    assert refusal(v.validate_deployment_types, []) == "registry.field.deployment_types_none"
    assert refusal(v.validate_deployment_types, ["realtime"]) == "registry.field.deployment_type"


@pytest.mark.parametrize("value", ["a", "image_classification", "A" * 36, "a b-c.1"])
def test_a_model_algorithm_within_the_rule(value: str) -> None:
    assert refusal(v.validate_model_algorithm, value) == ""


@pytest.mark.parametrize("value", ["", "1a", "a" * 37, "a图", "图", "a\n", *(f"a{c}" for c in "&!'\"<>=")])
def test_a_model_algorithm_outside_the_rule(value: str) -> None:
    assert refusal(v.validate_model_algorithm, value) == "registry.field.model_algorithm"


@pytest.mark.parametrize("name", ["numpy", "scikit-learn", "ruamel.yaml", "a_b", "celery[redis,auth]", "x1"])
def test_a_package_name_within_the_rule(name: str) -> None:
    assert refusal(v.validate_package_name, name) == ""


@pytest.mark.parametrize(
    "name",
    ["", "数据", "a b", "a==1", "a>1", "a\n", "-r", "--index-url", "./a", "a@b", "a;b", "git+https://h/x",
     "a.whl", "numpy&", "'numpy'", "a[", "a[]", *BEYOND_CHINESE],
)  # fmt: skip
def test_a_package_name_outside_the_rule(name: str) -> None:
    assert refusal(v.validate_package_name, name) == "registry.field.package_name"


@pytest.mark.parametrize(
    ("version", "restraint", "code"),
    [
        ("", "", ""),
        ("1.16.4", "EXACT", ""),
        ("1", "ATLEAST", ""),
        ("2.0", "ATMOST", ""),
        ("1", "", "restraint_missing"),
        ("", "EXACT", "restraint_without_version"),
        ("1", "==", "restraint"),
        ("1", "exact", "restraint"),
        ("1 2", "EXACT", "package_version"),
        ("版本1", "EXACT", "package_version"),
        ("1'", "EXACT", "package_version"),
        ("1\n", "EXACT", "package_version"),
        ("latest", "ATLEAST", "package_version"),
    ],
)
def test_version_and_restraint_come_together(version: str, restraint: str, code: str) -> None:
    expected = f"registry.field.{code}" if code else ""
    assert refusal(v.validate_package_version, version, restraint) == expected


def test_a_message_names_the_value_the_rule_and_the_fix_in_the_readers_language() -> None:
    with override("en"), pytest.raises(ValidationError) as caught:
        v.validate_model_version("01.01.01")
    (message,) = caught.value.messages
    assert message == (
        '"01.01.01" cannot be a version. '
        "Write three numbers from 0 to 99 without leading zeros, such as 0.0.1."
    )


def test_a_value_with_a_percent_sign_does_not_break_the_message() -> None:
    with pytest.raises(ValidationError) as caught:
        v.validate_model_name("100%s %(x)s")
    assert "100%s %(x)s" in caught.value.messages[0]
