"""The sentences of what can go wrong with a service (documented codes: facts §4.1, §4.11)."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.problems import register

Text = str | Promise


def _service(
    reason: str, cause: Text, fix: Text = "", documented: str = "", http: int = 400, title: Text = ""
) -> None:
    code = f"deployments.{reason}"
    register(code, title=title, cause=cause, fix=fix, documented=documented, http=http)


# Refusals of what was asked for.

_service(
    "service.name_taken",
    _("A service named %(name)s exists already in this workspace."),
    _("Choose another name."),
    "ModelArts.3503",
    409,
)
_service(
    "service.quota",
    _("You have %(count)s real-time services, and %(limit)s are allowed; stopped and abnormal ones count."),
    _("Delete a service that is no longer needed."),
    "ModelArts.3520",
    409,
    title=_("Too many services"),
)
_service(
    "version.missing",
    _("The chosen version of the model does not exist."),
    _("Choose a version that is listed."),
    "ModelArts.3507",
    404,
)
_service(
    "version.not_normal",
    _("The version %(version)s is %(status)s; only a version that is Normal can be deployed."),
    _("Choose a version that is Normal."),
    "ModelArts.3515",
    409,
)
_service(
    "version.type_not_allowed",
    _("The version %(version)s was imported without the deployment type Real-Time Services."),
    _("Choose a version that has this deployment type."),
    "ModelArts.3589",
    409,
)
_service(
    "version.twice",
    _("The version %(version)s is chosen more than once."),
    _("Choose different versions, or raise the number of compute nodes."),
    "ModelArts.3516",
)
_service(
    "targets.none",
    _("No model and version is chosen."),
    _("Choose the model and version to deploy."),
)
_service(
    "targets.weights",
    _("The traffic ratios add up to %(sum)s %%; they must add up to 100 %%."),
    _("Change the traffic ratios."),
)
_service(
    "targets.count",
    _("%(count)s compute nodes are not possible."),
    _("Choose 1 to %(limit)s compute nodes."),
)
_service(
    "specification.missing",
    _("The compute node specification %(specification)s is not offered."),
    _("Choose a specification that is listed."),
)
_service(
    "timeout",
    _("%(minutes)s minutes is not a possible timeout."),
    _("Choose 3 to 120 minutes."),
)
_service(
    "variable.name",
    _("%(name)s cannot be the name of an environment variable."),
    _("Begin with a letter or _; then letters, digits or _; at most 64 in all."),
)
_service(
    "variable.forbidden",
    _("The environment variable %(name)s is reserved: it would change how the model server itself runs."),
    _("Choose another name."),
)
_service(
    "variable.twice",
    _("The environment variable %(name)s is given more than once."),
    _("Remove one of them."),
)
_service(
    "variable.value",
    _("The value of the environment variable %(name)s is too long or has a NUL character."),
    _("Shorten it to at most 32 KiB of text."),
)
_service(
    "variable.many",
    _("There are %(count)s environment variables; at most %(limit)s are allowed."),
    _("Remove some."),
)
_service(
    "confirmation.stale",
    _("What was confirmed is older than an hour, or was changed on the way."),
    _("Check the form and confirm again."),
    title=_("Please confirm again"),
)

# What a deployment can meet.

_service(
    "service.timed_out",
    _("The service was not ready within %(minutes)s minutes. %(detail)s"),
    _("See the logs of its instances. Raise the timeout or correct the model, then start it again."),
    title=_("The deployment has failed"),
)
_service(
    "service.kept_crashing",
    _("%(failures)s instances one after the other could not be kept running. %(detail)s"),
    _("See the logs of its instances. Correct the model or its environment variables, then start it again."),
    title=_("The deployment has failed"),
)
_service(
    "service.rolled_back",
    _("Configuration %(failed)s could not be brought up, so the service returned to configuration %(good)s."),
    _("The events before this one tell why. Correct the configuration, then modify the service again."),
    title=_("The update was taken back"),
)
_service(
    "service.lost",
    _("%(ready)s of %(wanted)s instances are ready."),
    _("Lost instances are started again. If this goes on, see their logs."),
    title=_("Instances are missing"),
)
_service(
    "service.not_converged",
    _("The work on this service was interrupted: %(reason)s"),
    _("It is taken up again within a minute."),
    title=_("The work was interrupted"),
)
_service(
    "instance.restarted",
    _(
        "The process of instance %(name)s ended by itself (%(detail)s) and was started again; "
        "restarts so far: %(restarts)s. Last line: %(line)s"
    ),
    _("If this repeats, see the log of the instance."),
)
_service(
    "instance.unready",
    _("Instance %(name)s does not answer: %(detail)s"),
    _("It gets no calls until it answers again."),
)
_service(
    "instance.gone",
    _("The process of instance %(name)s is gone."),
    _("It is started again."),
)
_service(
    "instance.crashes",
    _("Instance %(name)s was given up: its process kept ending (%(detail)s). Last line: %(line)s"),
    _("See the log of the instance."),
)
_service(
    "instance.silent",
    _("Instance %(name)s was given up: it did not answer in time (%(detail)s)."),
    _("See the log of the instance."),
)
_service(
    "instance.refused",
    _("Instance %(name)s cannot be started: %(detail)s"),
    _("An operator can correct this on the machine."),
)
_service(
    "gateway.unreachable",
    _("The gateway does not answer, so calls still go where they went before: %(detail)s"),
    _("This is tried again by itself. If it lasts, an operator should look at the gateway's log."),
    http=503,
    title=_("The gateway does not answer"),
)
_service(
    "gateway.rejected",
    _("The gateway refuses the new routes: %(detail)s"),
    _("This is tried again by itself. If it lasts, an operator should look at the gateway's log."),
    http=503,
    title=_("The gateway refuses the routes"),
)
_service(
    "runtime.unreachable",
    _("The process manager does not answer: %(detail)s"),
    _("This is tried again by itself. If it lasts, an operator should look at its log."),
    http=503,
    title=_("The process manager does not answer"),
)
_service(
    "environment.missing",
    _("The package environment of version %(version)s is not on this machine."),
    _("Import the version again, or edit its dependencies, so that the environment is built."),
)

# The Prediction tab.

_service(
    "prediction.not_json",
    _("The request is not valid JSON: %(detail)s"),
    _("Correct it and send it again."),
    title=_("The input cannot be sent"),
)
_service(
    "prediction.value",
    _("%(name)s: %(value)s is not a value of the type %(kind)s."),
    _("Correct it and send it again."),
    title=_("The input cannot be sent"),
)
_service(
    "prediction.too_large",
    _("The file or text is larger than %(limit)s."),
    _("Send it to the API address by a program; the limit there is higher."),
    http=413,
    title=_("The input cannot be sent"),
)
_service(
    "prediction.unreachable",
    _("The gateway did not answer: %(detail)s"),
    _("Try again. If it lasts, an operator should look at the gateway's log."),
    http=502,
    title=_("The gateway does not answer"),
)
_service(
    "prediction.path",
    _("The request path %(path)s is not one of this service."),
    _("Choose a path that is listed."),
)
