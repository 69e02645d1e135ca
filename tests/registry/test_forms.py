"""The forms: every rule at its own field, in the reader's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import translation

from registry.browsing import browse
from registry.forms import ConnectionForm, DescriptionForm, ImportForm, split_labels
from registry.models import Connection
from tests.registry.conftest import CONFIG, write_package

pytestmark = pytest.mark.django_db

GOOD = {"name": "digits", "version": "0.0.1", "labels": "a, 图像", "description": "", "path": "good",
        "deployment_types": ["real-time", "edge"], "bucket": "models"}  # fmt: skip


@pytest.fixture
def form_of(connection: Connection, bucket: Path) -> Any:
    write_package(bucket / "good", {"model/a.m": "x", "model/config.json": CONFIG})
    write_package(bucket / "two", {"model/a.m": "x", "model/b.m": "x", "model/config.json": CONFIG})
    write_package(bucket / "bare", {"readme.txt": "x"})

    def make(**changes: Any) -> ImportForm:
        data = GOOD | {"connection": str(connection.pk)} | changes
        browsing = browse(connection, data["bucket"], data["path"])
        return ImportForm(data, connections=Connection.objects.all(), browsing=browsing)

    return make


def test_a_good_form_is_accepted(form_of: Any) -> None:
    form = form_of()
    assert form.is_valid(), form.errors
    assert form.cleaned_data["labels"] == ["a", "图像"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", "has space", "registry.field.model_name"),
        ("name", "x" * 65, "registry.field.model_name"),
        ("name", "", "required"),
        ("version", "1.0", "registry.field.model_version"),
        ("version", "1.0.0\n.", "registry.field.model_version"),
        ("version", "٣.0.0", "registry.field.model_version"),
        ("version", "", "required"),
        ("labels", "1st", "registry.field.label"),
        ("labels", "a b c d e f", "registry.field.labels_too_many"),
        ("labels", "a,a", "registry.field.label_twice"),
        ("description", "a < b", "registry.field.description"),
        ("description", "长" * 101, "registry.field.description_long"),
        ("deployment_types", [], "required"),
        ("deployment_types", ["cloud"], "invalid_choice"),
        ("path", "two", "registry.package.model_file_more_than_one"),
        ("path", "bare", "registry.package.subpath_missing"),
        ("path", "nowhere", "registry.source.no_such_path"),
        ("path", "../..", "registry.source.illegal_name"),
        ("path", "good/model", "registry.package.model_chosen"),
        ("connection", "7b6f7f0e-0000-4000-8000-000000000000", "invalid_choice"),
    ],
)
def test_each_rule_is_told_at_its_own_field(field: str, value: Any, code: str, form_of: Any) -> None:
    form = form_of(**{field: value})
    assert not form.is_valid()
    assert list(form.errors) == [field]
    assert code in [error.code for error in form.errors[field].as_data()]


def test_a_description_of_exactly_100_characters_is_accepted(form_of: Any) -> None:
    assert form_of(description="长" * 100).is_valid()


@pytest.mark.parametrize("text", ["a,b", "a， b", "a；b", "a b\n", " a;;b "])
def test_labels_are_separated_by_what_people_type(text: str) -> None:
    assert split_labels(text) == ["a", "b"]


def test_errors_name_cause_and_fix_in_both_languages(form_of: Any) -> None:
    told = {}
    for language in ("en", "zh-hans"):
        with translation.override(language):
            form = form_of(path="bare")
            form.is_valid()
            told[language] = form.errors["path"][0]
    assert "sub-folder model" in told["en"] and "Choose the parent" in told["en"]


def test_a_stored_secret_is_never_shown(connection: Connection) -> None:
    connection.secret_key = "very hidden"
    assert "very hidden" not in ConnectionForm(connection=connection).as_p()


def test_buckets_are_read_line_by_line() -> None:
    form = ConnectionForm({"name": "c", "kind": "local", "root": "/x", "buckets": "a\n\n b \r\n"})
    assert form.is_valid(), form.errors
    assert form.cleaned_data["buckets"] == ["a", "b"]


def test_a_description_form_refuses_markup() -> None:
    assert not DescriptionForm({"description": "<i>"}).is_valid()
    assert DescriptionForm({"description": ""}).is_valid()
