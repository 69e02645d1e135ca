"""The controls of lists and forms: the part of `{% load ui %}` that reads queries, pages and form fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.core.paginator import Page
from django.http import QueryDict
from django.template.context import Context

from console.components import Components

register = Components()


# Lists


@register.wrapper
def table(*, label: Any) -> None:
    """The rows of a list: thead with `{% head %}` or `<th scope="col">`, tbody."""


def _query(context: Context) -> QueryDict:
    """The list's query, to be changed: without the page, and without the tag of a poll."""
    query = context["request"].GET.copy()
    query.pop("page", None)
    query.pop("tag", None)
    return query


@register.component
def head(
    context: Context, label: Any, *, sort: str = "", number: bool = False, hidden: bool = False
) -> dict[str, Any]:
    """A column's head; with `sort` a link that sorts by `?sort=<name>` and turns the order round."""
    if not sort:
        return {"url": "", "order": ""}
    query = _query(context)
    now = query.get("sort") or context.get("sort", "")
    order = {sort: "ascending", f"-{sort}": "descending"}.get(now, "")
    query["sort"] = f"-{sort}" if order == "ascending" else sort
    return {"url": f"?{query.urlencode()}", "order": order}


@register.component
def pager(context: Context, page: Page) -> dict[str, Any]:
    """Which rows are shown of how many, and the way to the others by `?page=`."""
    query = _query(context)
    rest = f"&{query.urlencode()}" if query else ""
    shown = page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
    return {"numbers": list(shown), "rest": rest}


@register.wrapper
def filters(
    context: Context, *, label: Any, target: str = "", query: str = "", name: str = "q", url: str = ""
) -> dict[str, Any]:
    """The search box of a list and its filters (the content); answers into `target` while one types."""
    return {"url": url or context["request"].path}


@register.component
def select(
    name: str, label: Any, choices: Iterable[Any], *, value: Any = "", all_label: Any = ""
) -> dict[str, Any]:
    """A filter of a list; its first choice is `all_label`, which filters nothing."""
    told = [(each.value, each.label) if hasattr(each, "label") else each for each in choices]
    return {"choices": [(str(key), words) for key, words in told], "value": str(value or "")}


# Forms


@register.component
def form_errors(form: forms.BaseForm) -> dict[str, Any]:
    """Why a form was refused: errors of the whole, and links to the fields that have errors."""
    return {"fields": [field for field in form if field.errors and not field.is_hidden]}


@register.component
def form_fields(form: forms.BaseForm) -> None:
    """Every field of a form, hidden ones too."""


@register.wrapper
def form_section(title: Any, *, text: Any = "", id: str = "") -> None:
    """A group of fields with its heading."""


@register.wrapper
def form_foot(label: Any, *, cancel: str = "", icon: str = "", look: str = "primary") -> None:
    """The end of a form: the submit button, other buttons (the content), and the way back."""


@register.component
def field(
    field: forms.BoundField,
    *,
    look: str = "",
    wide: bool = False,
    short: bool = False,
    details: Mapping[Any, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """A bound field: label, control, help, errors.

    Choices may look like "segments" or "cards", a tick like a "switch".
    `details` gives cards more to say: `{value: {"text": …, "icon": …, "disabled": reason}}`.
    """
    widget = field.field.widget
    if isinstance(widget, forms.RadioSelect | forms.CheckboxSelectMultiple):
        return {"kind": "choices", "options": _options(field, details or {}), "look": look or "list"}
    if isinstance(widget, forms.CheckboxInput):
        return {"kind": "tick", "control": field.as_widget(attrs={"class": "form-check-input"})}
    style = "form-select" if isinstance(widget, forms.Select) else "form-control"
    if isinstance(widget, forms.Textarea) and "mono" in widget.attrs.get("class", ""):
        style += " mono"
    return {"kind": "control", "control": field.as_widget(attrs={"class": style})}


def _options(field: forms.BoundField, details: Mapping[Any, Mapping[str, Any]]) -> list[dict[str, Any]]:
    kind = "checkbox" if field.field.widget.allow_multiple_selected else "radio"
    return [
        {
            "id": option.id_for_label,
            "kind": kind,
            "name": option.data["name"],
            "value": option.data["value"],
            "label": option.choice_label,
            "checked": option.data["selected"],
            **details.get(option.data["value"], {}),
        }
        for option in field.subwidgets
    ]


@register.component
def pairs(
    rows: Sequence[Mapping[str, Any]],
    *,
    key_name: str,
    value_name: str,
    key_label: Any,
    value_label: Any,
    add_label: Any,
    spare: int = 2,
) -> dict[str, Any]:
    """Rows `{key, value, error?}` and spare ones; the view reads both names with `getlist`."""
    return {"rows": [*rows, *({"key": "", "value": ""} for _ in range(spare))]}
