"""The forms of the registry. Labels are the documents' own words (facts §1.2, §1.3, §1.7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from console.problems import Problem, ProblemError
from registry import validators
from registry.browsing import Browsing
from registry.models import Connection

SHORT_TYPE_LABELS = {"real-time": _("Real-time"), "batch": _("Batch"), "edge": _("Edge")}
"""For the narrow columns of lists; forms use the documents' whole words."""

DEPLOYMENT_TYPE_LABELS = (
    ("real-time", _("Real-Time Services")),
    ("batch", _("Batch Services")),
    ("edge", _("Edge Services")),
)

_LABEL_ENDS = re.compile(r"[,，;；\s]+")


def split_labels(text: str) -> list[str]:
    """The labels in `text`, which commas, semicolons, spaces and line ends separate."""
    return [label for label in _LABEL_ENDS.split(text) if label]


def told(problem: Problem) -> ValidationError:
    """A problem as an error of a form: cause and fix, under the problem's own code."""
    return ValidationError(format_lazy("{} {}", problem.cause, problem.fix), code=problem.code)


def add_refusal(form: forms.BaseForm, error: ProblemError) -> None:
    """Put what a service refused at the field that it names, or over the form."""
    form.add_error(error.field if error.field in form.fields else None, told(error.problem))


class LabelsField(forms.CharField):
    """Labels in one line, `a, b`; cleans to a list."""

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return list(value) if isinstance(value, (list, tuple)) else split_labels(value or "")

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, (list, tuple)) else value

    def run_validators(self, value: Any) -> None:
        validators.validate_labels(value)


class ImportForm(forms.Form):
    """Import a model from object storage.

    `browsing` is the look at the chosen folder: with its problems the form is refused before anything is
    begun (facts §1.7), so that nobody waits for a worker to learn what the page can tell.
    """

    name = forms.CharField(
        label=_("Name"),
        strip=True,
        validators=[validators.validate_model_name],
        help_text=_("1 to 64 characters: letters, Chinese characters, digits, - and _."),
        widget=forms.TextInput(attrs={"maxlength": 64, "autocomplete": "off", "spellcheck": "false"}),
    )
    version = forms.CharField(
        label=_("Version"),
        validators=[validators.validate_model_version],
        help_text=_("n.n.n, each part with one or two digits."),
        widget=forms.TextInput(attrs={"maxlength": 8, "autocomplete": "off", "spellcheck": "false"}),
    )
    labels = LabelsField(
        label=_("Label"),
        required=False,
        help_text=_("At most five, separated by commas. Each begins with a letter or a Chinese character."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "data-chips": ""}),
    )
    description = forms.CharField(
        label=_("Description"),
        required=False,
        validators=[validators.validate_description],
        help_text=_("At most 100 characters, without & ! ' \" < > =."),
        widget=forms.Textarea(attrs={"rows": 2, "data-counted": validators.DESCRIPTION_LENGTH}),
    )
    connection = forms.ModelChoiceField(
        Connection.objects.none(), label=_("Storage Connection"), empty_label=None
    )
    bucket = forms.ChoiceField(label=_("Bucket"))
    path = forms.CharField(
        label=_("Meta Model"),
        required=False,
        help_text=_("The folder that holds the folder model. Empty is the bucket itself."),
        widget=forms.TextInput(attrs={"maxlength": 1024, "autocomplete": "off", "spellcheck": "false"}),
    )
    deployment_types = forms.MultipleChoiceField(
        label=_("Deployment Type"),
        choices=DEPLOYMENT_TYPE_LABELS,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one deployment type.")},
    )

    # The number that the page proposed: while the version still says it, another name may propose another.
    proposed = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self, *args: Any, connections: Any, browsing: Browsing, browse_url: str = "", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.browsing = browsing
        self.fields["connection"].queryset = connections
        self.fields["bucket"].choices = [(bucket, bucket) for bucket in browsing.buckets]
        # Another connection or bucket is looked into at once; without scripts the button Browse does it.
        look = {
            "hx-post": browse_url,
            "hx-target": "#import",
            "hx-swap": "outerHTML",
            "hx-vals": '{"browse": "1"}',
        }
        for name in ("connection", "bucket"):
            self.fields[name].widget.attrs.update(look | {"hx-trigger": "change"})
        self.fields["name"].widget.attrs.update(
            {
                "hx-get": reverse("registry:model_import_number"),
                "hx-target": "#number-hint",
                "hx-trigger": "change",
            }
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "connection" in self.errors or "bucket" in self.errors:
            return cleaned
        found = self.browsing
        if found.problem is not None:
            self.add_error("path", told(found.problem))
        elif found.inspection is None:
            self.add_error("path", told(Problem("registry.package.subpath_missing")))
        for problem in found.inspection.problems if found.inspection else []:
            self.add_error("path", told(problem))
        return cleaned


class DescriptionForm(forms.Form):
    """The description of a model or a version, edited in place."""

    description = forms.CharField(
        label=_("Description"),
        required=False,
        validators=[validators.validate_description],
        help_text=_("At most 100 characters, without & ! ' \" < > =."),
        widget=forms.Textarea(attrs={"rows": 2, "data-counted": validators.DESCRIPTION_LENGTH}),
    )


class ConnectionForm(forms.Form):
    """A connection to object storage. The secret is write-only: left empty, the stored one is kept."""

    name = forms.CharField(label=_("Name"), max_length=64)
    kind = forms.ChoiceField(
        label=_("Kind"), choices=Connection._meta.get_field("kind").choices, widget=forms.RadioSelect
    )
    root = forms.CharField(
        label=_("Directory"),
        required=False,
        max_length=500,
        help_text=_("An absolute path beneath a root that the operator allows."),
    )
    endpoint = forms.CharField(
        label=_("Endpoint"), required=False, max_length=500, help_text=_("Such as https://s3.example.org.")
    )
    region = forms.CharField(label=_("Region"), required=False, max_length=64)
    buckets = forms.CharField(
        label=_("Buckets"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("One on each line. Empty: every bucket that the connection can see."),
    )
    access_key = forms.CharField(
        label=_("Access key"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    secret_key = forms.CharField(
        label=_("Secret key"),
        required=False,
        max_length=500,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Stored encrypted and never shown again. Leave it empty to keep the stored one."),
    )

    def __init__(self, *args: Any, connection: Connection | None = None, **kwargs: Any) -> None:
        if connection is not None:
            shown = ("name", "kind", "root", "endpoint", "region", "access_key")
            kwargs["initial"] = {name: getattr(connection, name) for name in shown}
            kwargs["initial"]["buckets"] = "\n".join(connection.buckets)
        super().__init__(*args, **kwargs)
        if connection is not None:
            self.fields["kind"].disabled = True
        else:
            self.fields["kind"].initial = Connection.LOCAL

    def clean_buckets(self) -> list[str]:
        return [line.strip() for line in self.cleaned_data["buckets"].splitlines() if line.strip()]


Service = Callable[..., Any]


def do(form: forms.Form, service: Service, **given: Any) -> Any:
    """Call `service` with the cleaned form; None when either refuses, with the error told."""
    if not form.is_valid():
        return None
    try:
        return service(**given, **form.cleaned_data)
    except ProblemError as error:
        add_refusal(form, error)
        return None
