"""How templates speak of models: deployment types in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.template import Library
from django.utils.translation import pgettext

register = Library()


@register.filter
def words_of(values: Iterable[Any], labels: Mapping[Any, Any]) -> str:
    """The labels of `values` in a row, in the reader's language."""
    return pgettext("between items of a list", ", ").join(str(labels.get(value, value)) for value in values)
