"""What can be wrong with a typed value (facts §8.8); the codes of the errors of `registry.validators`."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.problems import register

INVALID = "ModelArts.3037"


def _field(reason: str, cause: str | Promise, fix: str | Promise, documented: str = INVALID) -> None:
    title = _("A value is not allowed")
    register(f"registry.field.{reason}", title=title, cause=cause, fix=fix, documented=documented)


_field(
    "model_name",
    _("%(value)s cannot be a name."),
    _("Use 1 to 64 letters, Chinese characters, digits, - or _."),
)
_field(
    "model_version",
    _("%(value)s cannot be a version."),
    _("Write three numbers from 0 to 99 without leading zeros, such as 0.0.1."),
)
_field(
    "label",
    _("%(value)s cannot be a label."),
    _(
        "Begin with a letter or Chinese character; then letters, Chinese characters, digits or _; at "
        "most 64 in all."
    ),
    "ModelArts.3023",
)
_field(
    "labels_too_many",
    _("There are %(count)s labels; at most %(limit)s are allowed."),
    _("Remove labels."),
    "ModelArts.3023",
)
_field(
    "label_twice",
    _("The label %(value)s is given more than once."),
    _("Remove one of them."),
    "ModelArts.3023",
)
_field(
    "description_long",
    _("The description has %(count)s characters; at most %(limit)s are allowed."),
    _("Shorten it."),
)
_field(
    "description",
    _("The description holds characters that are not allowed: %(value)s"),
    _("Leave out & ! ' \" < > = and control characters."),
)
_field(
    "document_name",
    _("%(value)s cannot be the name of a document."),
    _(
        "Begin with a letter or Chinese character; then letters, Chinese characters, digits, - or _; at "
        "most 48 in all."
    ),
)
_field(
    "document_url",
    _("%(value)s is not a link."),
    _("Write an address that begins with http:// or https:// and has no spaces."),
)
_field(
    "documents_too_many",
    _("There are %(count)s documents; at most %(limit)s are allowed."),
    _("Remove documents."),
)
_field(
    "deployment_types_none",
    _("No deployment type is chosen."),
    _("Tick at least one deployment type."),
)
_field(
    "deployment_type",
    _("%(value)s is not a deployment type."),
    _("Use real-time, batch or edge."),
)
_field(
    "model_algorithm",
    _("%(value)s cannot be a model algorithm."),
    _(
        "Begin with an English letter and use at most 36 characters, without Chinese and without & ! ' "
        '" < > =.'
    ),
)
_field(
    "package_name",
    _("%(value)s is not the name of a package."),
    _(
        "Use letters, digits, -, _ and ., without Chinese and without & ! ' \" < > =; the version has "
        "its own field."
    ),
)
_field(
    "package_version",
    _("%(value)s is not a version that can be compared."),
    _("Write a version such as 1.16.4, without Chinese and without & ! ' \" < > =."),
)
_field(
    "restraint",
    _("%(value)s is not a constraint."),
    _("Use EXACT, ATLEAST or ATMOST."),
)
_field(
    "restraint_missing",
    _("The version %(value)s has no constraint."),
    _("Choose EXACT, ATLEAST or ATMOST."),
)
_field(
    "restraint_without_version",
    _("The constraint %(value)s has no version."),
    _("Add the version, or remove the constraint."),
)
