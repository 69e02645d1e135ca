"""The sentences of what normally happens to a service and to its instances (topics: facts §4.11)."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from console.events import register_events

register_events(
    {
        "deployments.service.deploy": _("The deployment starts."),
        "deployments.service.start": _("The service is being started."),
        "deployments.service.stop": _("The service is being stopped."),
        "deployments.service.delete": _("The service is being deleted."),
        "deployments.service.revise": _("The service is being updated to configuration %(number)s."),
        "deployments.service.revised_at_rest": _(
            "Configuration %(number)s was saved; it takes effect when the service is started."
        ),
        "deployments.service.roll_back": _("The service returns to its last good configuration."),
        "deployments.service.description": _("The description was changed."),
        "deployments.service.preparing": _("The environment of version %(version)s is being prepared."),
        "deployments.service.prepared": _("The environment of version %(version)s is ready."),
        "deployments.service.scheduled": _("Instances scheduled of version %(version)s: %(count)s."),
        "deployments.service.model_starting": _("The model is starting in instance %(name)s."),
        "deployments.service.instance_ready": _("Instance %(name)s is ready and warmed up."),
        "deployments.service.instance_back": _("Instance %(name)s is ready again."),
        "deployments.service.traffic": _("Instances that the gateway sends calls to: %(count)s."),
        "deployments.service.instances_ready": _("The service is running."),
        "deployments.service.instances_lost": _("The service lost instances."),
        "deployments.service.gave_up": _("The deployment has failed."),
        "deployments.service.instances_gone": _("The service has stopped."),
        "deployments.instance.became_ready": _("The instance is ready."),
        "deployments.instance.became_unready": _("The instance is not ready."),
        "deployments.instance.crash": _("The instance was given up."),
        "deployments.instance.stop": _("The instance is being stopped."),
        "deployments.instance.vanish": _("The instance is gone."),
    }
)
