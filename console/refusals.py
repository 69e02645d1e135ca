"""The sentences of the shell's own refusals."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from console.problems import register

register(
    "console.changed_meanwhile",
    title=_("Changed meanwhile"),
    cause=_("Somebody else, or a job, changed this at the same moment, so nothing was written."),
    fix=_("Look at the page again, then repeat the action if it is still wanted."),
    http=409,
)
register(
    "console.not_in_this_state",
    title=_("Not possible now"),
    cause=_("This action is not possible while the status is %(status)s."),
    fix=_("Wait until the status changes, then try again."),
    documented="ModelArts.3519",
    http=409,
)
