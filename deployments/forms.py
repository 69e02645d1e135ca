"""The forms of services. Labels are the documents' own words (facts §4.2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from django import forms
from django.core import signing
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.functional import cached_property
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from console.problems import Problem, ProblemError
from deployments import configuration, prediction
from deployments.configuration import TargetSpec
from deployments.models import Instance, RevisionTarget, Specification
from deployments.prediction import Field
from registry import validators
from registry.models import Version

CONFIRMED_SALT = "deployments.confirmed"
CONFIRMED_SECONDS = 3600
CONTROL = "f:"  # before the names of the prediction form's controls
VARIABLE_KEY, VARIABLE_VALUE = "env_key", "env_value"


def propose_name() -> str:
    """A name for a new service, as the documents propose one: `service-e582`."""
    return f"service-{secrets.token_hex(2)}"


def told(problem: Problem) -> ValidationError:
    """A problem as an error of a form: cause and fix, under the problem's own code."""
    return ValidationError(format_lazy("{} {}", problem.cause, problem.fix), code=problem.code)


class DescriptionForm(forms.Form):
    """The description alone."""

    description = forms.CharField(
        label=_("Description"),
        required=False,
        validators=[validators.validate_description],
        widget=forms.Textarea(attrs={"rows": 2, "data-counted": validators.DESCRIPTION_LENGTH}),
    )


class ConfigurationForm(forms.Form):
    """What a service runs: the form of a modification, and the larger part of the deploy form.

    `versions` are those that may be chosen, `specifications` the sizes on offer. Environment variables come
    as rows of `env_key` and `env_value`; `rows` gives them back with their errors.
    """

    pool = forms.ChoiceField(
        label=_("Resource Pool"),
        choices=[("public", _("Public Resource Pool"))],
        initial="public",
        disabled=True,  # there is no other yet
        required=False,
        widget=forms.RadioSelect,
    )
    version = forms.ChoiceField(
        label=_("Model and Version"),
        help_text=_("Only versions whose status is Normal are listed."),
        error_messages={"invalid_choice": _("Choose a version that is listed; only Normal ones are.")},
    )
    weight = forms.IntegerField(
        label=_("Traffic Ratio (%)"),
        initial=100,
        disabled=True,
        required=False,
        help_text=_("A single version gets all calls."),
    )
    specification = forms.ChoiceField(label=_("Compute Node Specifications"))
    instance_count = forms.IntegerField(
        label=_("Compute Nodes"),
        initial=1,
        min_value=1,
        max_value=configuration.MOST_INSTANCES,
        help_text=_("Instances of this version. 1 computes on a single node, more are distributed."),
    )
    timeout = forms.IntegerField(
        label=_("Timeout (minutes)"),
        initial=configuration.DEFAULT_TIMEOUT_SECONDS // 60,
        min_value=configuration.LEAST_TIMEOUT_MINUTES,
        max_value=configuration.MOST_TIMEOUT_MINUTES,
        help_text=_("How long deploying and starting may take: 3 to 120 minutes."),
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        versions: Sequence[Version],
        specifications: Sequence[Specification],
        **kwargs: Any,
    ) -> None:
        super().__init__(data, **kwargs)
        self.versions = {str(version.pk): version for version in versions}
        self.specifications = {each.code: each for each in specifications}
        self.fields["version"].choices = [("", _("Choose a version")), *_grouped(versions)]
        self.fields["specification"].choices = [(each.code, str(each)) for each in specifications]
        if specifications:
            self.fields["specification"].initial = specifications[0].code
        self.variable_errors: dict[int, str] = {}

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The environment variables as typed; rows without a name and a value are left out."""
        if not self.is_bound:
            return list(self.initial.get("envs", {}).items())
        keys, values = self.data.getlist(VARIABLE_KEY), self.data.getlist(VARIABLE_VALUE)
        rows = [(key.strip(), value) for key, value in zip(keys, values, strict=False)]
        return [(key, value) for key, value in rows if key or value]

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows for `{% pairs %}`."""
        return [
            {"key": key, "value": value, "error": self.variable_errors.get(number, "")}
            for number, (key, value) in enumerate(self.pairs)
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        problems = configuration.check_variables(dict(self.pairs))
        seen: set[str] = set()
        for number, (key, _value) in enumerate(self.pairs):
            problem = problems.get(key)
            if key in seen:
                problem = Problem("deployments.variable.twice", {"name": key})
            seen.add(key)
            if problem is not None:
                self.variable_errors[number] = str(problem)
        if self.variable_errors:
            raise ValidationError(_("An environment variable is not allowed."), code="variables")
        return cleaned

    @property
    def target(self) -> TargetSpec:
        """What the valid form asks for."""
        return TargetSpec(
            version_id=self.versions[self.cleaned_data["version"]].pk,
            specification=self.cleaned_data["specification"],
            instance_count=self.cleaned_data["instance_count"],
            weight=100,
            envs=dict(self.pairs),
        )

    @property
    def timeout_seconds(self) -> int:
        """The timeout that the valid form asks for."""
        return self.cleaned_data["timeout"] * 60

    def add_refusal(self, error: ProblemError) -> None:
        """Put what a service refused at the field that it names, or over the form."""
        self.add_error(error.field if error.field in self.fields else None, told(error.problem))


class DeployForm(ConfigurationForm, DescriptionForm):
    """Deploy a real-time service."""

    billing = forms.ChoiceField(
        label=_("Billing Mode"),
        choices=[("pay-per-use", _("Pay-per-use"))],
        initial="pay-per-use",
        disabled=True,  # facts §4.2: fixed
        required=False,
        widget=forms.RadioSelect,
    )
    name = forms.CharField(
        label=_("Name"),
        strip=True,
        validators=[validators.validate_model_name],
        help_text=_("1 to 64 characters: letters, Chinese characters, digits, - and _."),
        widget=forms.TextInput(attrs={"maxlength": 64, "autocomplete": "off", "spellcheck": "false"}),
    )

    field_order = [
        "billing",
        "name",
        "description",
        "pool",
        "version",
        "weight",
        "specification",
        "instance_count",
        "timeout",
    ]

    def sealed(self) -> str:
        """What the valid form holds, signed, for the confirmation page to carry."""
        kept = {name: self.cleaned_data[name] for name in ("name", "description", "version", "specification")}
        kept |= {
            "instance_count": self.cleaned_data["instance_count"],
            "timeout": self.cleaned_data["timeout"],
        }
        return signing.dumps({"fields": kept, "envs": self.pairs}, salt=CONFIRMED_SALT, compress=True)


def unsealed(text: str) -> QueryDict:
    """What `sealed` made, as if the form had been sent again.

    Raises ProblemError `deployments.confirmation.stale` when it was changed or is older than an hour.
    """
    try:
        kept = signing.loads(text, salt=CONFIRMED_SALT, max_age=CONFIRMED_SECONDS)
    except signing.BadSignature as error:
        raise ProblemError("deployments.confirmation.stale") from error
    data = QueryDict(mutable=True)
    for name, value in kept["fields"].items():
        data[name] = str(value)
    for key, value in kept["envs"]:
        data.appendlist(VARIABLE_KEY, key)
        data.appendlist(VARIABLE_VALUE, value)
    return data


def initial_of(target: RevisionTarget, timeout_seconds: int) -> dict[str, Any]:
    """What the form of a modification begins with."""
    return {
        "version": str(target.version_id),
        "specification": target.specification_id,
        "instance_count": target.instance_count,
        "timeout": timeout_seconds // 60,
        "envs": target.envs,
    }


def _grouped(versions: Iterable[Version]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Choices grouped by model, so that one control chooses both and works without a script."""
    return [
        (name, [(str(version.pk), f"{name} {version.number}") for version in own])
        for name, own in groupby(versions, key=lambda version: version.model.name)
    ]


class LogsForm(forms.Form):
    """Whose log, and how far back (facts §4.8)."""

    instance = forms.ChoiceField(label=_("Instance"), required=False)
    minutes = forms.ChoiceField(
        label=_("Time"),
        required=False,
        choices=[(5, _("Last 5 minutes")), (30, _("Last 30 minutes")), (60, _("Last 1 hour"))],
    )

    def __init__(self, *, instances: Iterable[Instance], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fields["instance"].choices = [
            (row.name, f"{row.name} · {row.target.version.number} · {row.state.label}") for row in instances
        ]


class PathForm(forms.Form):
    """Which API, where a version has several."""

    path = forms.ChoiceField(label=_("Request Path"), required=False)

    def __init__(self, *, apis: Iterable[Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fields["path"].choices = [(api["url"], f"{api['method']} {api['url']}") for api in apis]


class EditorForm(forms.Form):
    """The JSON editor of the Prediction tab."""

    body = forms.CharField(
        label=_("Request body (JSON)"),
        strip=False,
        widget=forms.Textarea(attrs={"rows": 14, "class": "mono", "spellcheck": "false"}),
    )


def prediction_form(fields: Iterable[Field]) -> forms.Form:
    """The controls of the Prediction tab, made from a declared schema, holding the fields' values."""
    form = forms.Form(prefix=None)
    for each in fields:
        form.fields[CONTROL + each.name] = forms.CharField(
            label=each.label,
            required=False,
            initial=each.shown,
            widget=_control(each),
            help_text=_("Values separated by commas") if each.kind == "list" else "",
        )
    return form


def _control(each: Field) -> forms.Widget:
    given = [prediction.plain(value) for value in each.choices]
    choices = ["true", "false"] if each.kind == "boolean" else given
    if choices:
        empty = [("", "–")] if each.is_nullable or not each.shown else []
        return forms.Select(choices=[*empty, *((value, value) for value in choices)])
    if each.kind == "file":
        return forms.FileInput()
    if each.kind == "list":
        return forms.Textarea(attrs={"rows": 2, "class": "mono", "spellcheck": "false"})
    number = {"inputmode": "decimal"} if each.kind in ("number", "integer") else {}
    return forms.TextInput(attrs={"autocomplete": "off", **number})
