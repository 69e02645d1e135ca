"""The shapes of what people type, facts §8.8: one place for forms and API.

Each validator returns nothing and raises Django's ValidationError, whose `code` is a registered problem (so
the API finds the documented code) and whose message names the rule and the fix in the reader's language.
Patterns are for `fullmatch` only: `$` would let a trailing newline through. "Chinese" is U+4E00-U+9FA5.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from django.utils.text import format_lazy

from console.problems import registered
from registry.config_rules import CHINESE, MODEL_ALGORITHM, OPERATORS, REFUSED, is_package_name, is_version
from registry.strict_json import shown

MODEL_NAME = re.compile(rf"[A-Za-z0-9{CHINESE}_-]{{1,64}}", re.ASCII)
MODEL_VERSION = re.compile(r"(0|[1-9]\d?)\.(0|[1-9]\d?)\.(0|[1-9]\d?)", re.ASCII)
LABEL = re.compile(rf"[A-Za-z{CHINESE}][A-Za-z0-9{CHINESE}_]{{0,63}}", re.ASCII)
DOCUMENT_NAME = re.compile(rf"[A-Za-z{CHINESE}][A-Za-z0-9{CHINESE}_-]{{0,47}}", re.ASCII)
DOCUMENT_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f-\x9f/?#\\]+[^\s\x00-\x1f\x7f-\x9f\\]*", re.IGNORECASE)

DESCRIPTION_LENGTH = 100
DOCUMENT_URL_LENGTH = 2048
LABELS = 5
DOCUMENTS = 3
DEPLOYMENT_TYPES = ("real-time", "batch", "edge")

_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def validate_model_name(value: str) -> None:
    """1-64 letters, Chinese characters, digits, `-`, `_`."""
    if not MODEL_NAME.fullmatch(value):
        _refuse("registry.field.model_name", value)


def validate_model_version(value: str) -> None:
    """`n.n.n`, each part 0-99 without leading zeros."""
    if not MODEL_VERSION.fullmatch(value):
        _refuse("registry.field.model_version", value)


def validate_label(value: str) -> None:
    """Begins with a letter or Chinese character; letters, digits, Chinese, `_`; at most 64."""
    if not LABEL.fullmatch(value):
        _refuse("registry.field.label", value)


def validate_labels(values: Sequence[str]) -> None:
    """At most 5 labels, each valid, none twice; every fault is reported."""
    errors: list[ValidationError] = []
    if len(values) > LABELS:
        errors.append(_error("registry.field.labels_too_many", count=len(values), limit=LABELS))
    for value in dict.fromkeys(values):
        if not LABEL.fullmatch(value):
            errors.append(_error("registry.field.label", value=shown(value)))
        elif list(values).count(value) > 1:
            errors.append(_error("registry.field.label_twice", value=shown(value)))
    if errors:
        raise ValidationError(errors)


def validate_description(value: str) -> None:
    """At most 100 characters, none of `& ! ' " < > =`; line breaks are allowed, other controls are not."""
    if len(value) > DESCRIPTION_LENGTH:
        raise _error("registry.field.description_long", count=len(value), limit=DESCRIPTION_LENGTH)
    found = sorted({character for character in value if character in REFUSED})
    if found:
        raise _error("registry.field.description", value=" ".join(found))
    if control := _UNSTORABLE.search(value):
        raise _error("registry.field.description", value=shown(control[0]))


def validate_document_name(value: str) -> None:
    """1-48 characters, begins with a letter or Chinese character; letters, digits, Chinese, `-`, `_`."""
    if not DOCUMENT_NAME.fullmatch(value):
        _refuse("registry.field.document_name", value)


def validate_document_url(value: str) -> None:
    """An http or https address of at most 2048 characters, without spaces."""
    if len(value) > DOCUMENT_URL_LENGTH or not DOCUMENT_URL.fullmatch(value):
        _refuse("registry.field.document_url", value)


def validate_documents(values: Collection[Any]) -> None:
    """At most 3 documents."""
    if len(values) > DOCUMENTS:
        raise _error("registry.field.documents_too_many", count=len(values), limit=DOCUMENTS)


def validate_deployment_types(values: Collection[str]) -> None:
    """At least one of real-time, batch, edge; nothing else."""
    if not values:
        raise _error("registry.field.deployment_types_none")
    for value in values:
        if value not in DEPLOYMENT_TYPES:
            _refuse("registry.field.deployment_type", value)


def validate_model_algorithm(value: str) -> None:
    """Begins with an English letter, at most 36 characters, no Chinese, none of `& ! ' " < > =`."""
    if not MODEL_ALGORITHM.fullmatch(value):
        _refuse("registry.field.model_algorithm", value)


def validate_package_name(value: str) -> None:
    """A package name for pip: no Chinese, none of `& ! ' " < > =`, nothing that pip reads as an option."""
    if not is_package_name(value):
        _refuse("registry.field.package_name", value)


def validate_package_version(version: str, restraint: str) -> None:
    """Version and restraint come together or not at all; EXACT, ATLEAST or ATMOST; comparable by pip."""
    if restraint and restraint not in OPERATORS:
        _refuse("registry.field.restraint", restraint)
    if version and not restraint:
        _refuse("registry.field.restraint_missing", version)
    if restraint and not version:
        _refuse("registry.field.restraint_without_version", restraint)
    if version and not is_version(version, restraint):
        _refuse("registry.field.package_version", version)


def _refuse(code: str, value: str) -> NoReturn:
    raise _error(code, value=shown(value))


def _error(code: str, **params: Any) -> ValidationError:
    sentence = registered()[code]
    message = format_lazy("{} {}", sentence.cause, sentence.fix)
    return ValidationError(message, code=code, params=params)
