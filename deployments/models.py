"""What runs: services, their immutable revisions, the instances behind them, and the keys that open them."""

from __future__ import annotations

import json
import secrets
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from console.encryption import EncryptedTextField
from console.lifecycle import Lifecycle
from console.models import Tracked, TransitionEvent, Workspace
from console.problems import Problem
from deployments import lifecycle
from registry.models import Version


class Specification(models.Model):
    """A size of compute node that a pool offers (facts §4.3)."""

    code = models.CharField(max_length=64, primary_key=True)
    name_en = models.CharField(max_length=80)
    name_zh = models.CharField(max_length=80)
    cpu = models.DecimalField(max_digits=6, decimal_places=2)
    memory_mb = models.PositiveIntegerField()
    is_open = models.BooleanField(default=True)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "code"]
        verbose_name = _("specification")
        verbose_name_plural = _("specifications")

    def __str__(self) -> str:
        return self.name_zh if (get_language() or "").startswith("zh") else self.name_en

    @property
    def memory_bytes(self) -> int:
        """What one instance may use."""
        return self.memory_mb * 1024**2


class Service(Tracked):
    """A real-time service: a stable address, what is wanted of it, and what is true of it."""

    lifecycle: ClassVar[Lifecycle] = lifecycle.SERVICE
    RUN, STOP, DELETE = "running", "stopped", "deleted"

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="services")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    name = models.CharField(_("Name"), max_length=64)
    description = models.CharField(_("Description"), max_length=100, blank=True)
    # People change only these two; the status is derived from instances by the converge loop.
    desired = models.CharField(
        max_length=8, default=RUN, choices=[(RUN, "running"), (STOP, "stopped"), (DELETE, "deleted")]
    )
    wanted_revision = models.PositiveIntegerField(default=1)
    # The revision that last became wholly ready; 0 before the first.
    good_revision = models.PositiveIntegerField(default=0)
    # The deploy timeout and the count of failed starts run from here: deploy, start, modify or roll back.
    deploy_started_at = models.DateTimeField(default=timezone.now)
    # What the gateway was last told of this service (`traffic.publish`); never edited elsewhere.
    routes = models.JSONField(default=dict, editable=False)
    routes_token = models.CharField(max_length=32, blank=True, editable=False)
    # Why it is abnormal or in alarm; empty when all is well.
    problem_code = models.CharField(max_length=80, blank=True)
    problem_params = models.JSONField(default=dict)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("real-time service")
        verbose_name_plural = _("real-time services")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="deployments_service_name"),
            models.CheckConstraint(
                condition=Q(status__in=lifecycle.SERVICE.values), name="deployments_service_status"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("deployments:service_detail", args=[self.pk])

    @property
    def can_modify(self) -> bool:
        """Whether it may get another configuration now: at once, or for its next start."""
        return self.can("revise") or self.status in lifecycle.RESTING

    @property
    def can_start(self) -> bool:
        return self.can("start")

    @property
    def can_stop(self) -> bool:
        return self.can("stop")

    @property
    def can_delete(self) -> bool:
        return self.can("delete")

    @property
    def problem(self) -> Problem | None:
        """Why it is abnormal or in alarm."""
        return Problem(self.problem_code, self.problem_params) if self.problem_code else None


class ServiceRevision(models.Model):
    """One configuration of a service; written once; only its result is added later."""

    RUNNING, SUCCESS, FAIL = "running", "success", "fail"
    RESULTS: ClassVar = [
        (RUNNING, pgettext_lazy("update result", "In progress")),
        (SUCCESS, pgettext_lazy("update result", "Succeeded")),
        (FAIL, pgettext_lazy("update result", "Failed")),
    ]

    service = models.ForeignKey(Service, models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    timeout_seconds = models.PositiveIntegerField(default=1200)
    result = models.CharField(_("Result"), max_length=8, choices=RESULTS, default=RUNNING)
    created_at = models.DateTimeField(_("Created"), auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["service", "number"], name="deployments_revision_number")
        ]

    def __str__(self) -> str:
        return f"{self.service} r{self.number}"


class RevisionTarget(models.Model):
    """One version inside a revision: its traffic share in percent, node size and count, variables."""

    revision = models.ForeignKey(ServiceRevision, models.CASCADE, related_name="targets")
    version = models.ForeignKey(Version, models.RESTRICT, related_name="targets")
    weight = models.PositiveSmallIntegerField(_("Traffic Ratio (%)"), default=100)
    specification = models.ForeignKey(Specification, models.PROTECT, related_name="+")
    instance_count = models.PositiveSmallIntegerField(_("Compute Nodes"), default=1)
    environment_variables = EncryptedTextField(default="{}")  # a JSON object of strings
    # Equal for targets whose instances are interchangeable: a change of count or share restarts nothing.
    key = models.CharField(max_length=32, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["revision", "version"], name="deployments_target_once"),
            models.CheckConstraint(condition=Q(weight__lte=100), name="deployments_target_weight"),
            models.CheckConstraint(condition=Q(instance_count__gte=1), name="deployments_target_count"),
        ]

    def __str__(self) -> str:
        return f"{self.version} {self.weight} %"

    @property
    def envs(self) -> dict[str, str]:
        """The variables that its instances are given."""
        return json.loads(self.environment_variables)


def new_instance_name() -> str:
    """A name for an instance, chosen before it starts so that starting it twice is harmless."""
    return f"i-{secrets.token_hex(6)}"


class Instance(Tracked):
    """One running copy of a version inside a service."""

    lifecycle: ClassVar[Lifecycle] = lifecycle.INSTANCE

    name = models.CharField(max_length=16, unique=True, default=new_instance_name)
    service = models.ForeignKey(Service, models.CASCADE, related_name="instances")
    target = models.ForeignKey(RevisionTarget, models.CASCADE, related_name="instances")
    restarts = models.PositiveIntegerField(_("Restarts"), default=0)
    # Restarts that are forgiven: those before we started it again ourselves, or before it ran well for long.
    settled_restarts = models.PositiveIntegerField(default=0)
    # When it was given up on, which counts against the deployment; empty for one that ended on request.
    failed_at = models.DateTimeField(null=True)
    address = models.CharField(max_length=200, blank=True)
    detail = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=lifecycle.INSTANCE.values), name="deployments_instance_status"
            )
        ]
        indexes = [models.Index(fields=["service", "status"], name="deployments_instance_of")]

    def __str__(self) -> str:
        return self.name


class InstanceEvent(TransitionEvent):
    """What happened to an instance."""

    subject = models.ForeignKey(Instance, models.CASCADE, related_name="events")


class ServiceEvent(TransitionEvent):
    """An event on a service's page."""

    subject = models.ForeignKey(Service, models.CASCADE, related_name="events")


class AccessKey(models.Model):
    """A key that opens a service at the gateway."""

    service = models.ForeignKey(Service, models.CASCADE, related_name="keys")
    name = models.CharField(_("Name"), max_length=64)
    secret = EncryptedTextField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["service", "name"], name="deployments_key_name")]

    def __str__(self) -> str:
        return self.name
