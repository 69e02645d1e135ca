"""Workspaces, members, operations, the audit trail, and the two abstract models of everything tracked."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from console.lifecycle import Lifecycle, Status
from console.problems import Problem, fill, registered


class Role(models.IntegerChoices):
    """What a member may do; each role includes the ones before it (design §7)."""

    VIEWER = 10, _("Viewer")
    DEVELOPER = 20, _("Developer")
    ADMIN = 30, _("Administrator")


class Workspace(models.Model):
    """The owner of everything; the API calls it a project."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("Name"), max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("workspace")
        verbose_name_plural = _("workspaces")

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's role in a workspace."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    role = models.PositiveSmallIntegerField(_("Role"), choices=Role, default=Role.VIEWER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="console_membership_once")]
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")

    def __str__(self) -> str:
        return f"{self.user} · {self.workspace}"


class SignInLink(models.Model):
    """A link that signs its user in once; only a digest of its token is stored."""

    digest = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.user} until {self.expires_at}"


class Tracked(models.Model):
    """Something with a status: its value changes only through `console.lifecycle.fire`."""

    lifecycle: ClassVar[Lifecycle]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    status = models.CharField(_("Status"), max_length=20)
    status_since = models.DateTimeField(default=timezone.now)
    revision = models.PositiveIntegerField(default=1)
    progress = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(_("Created"), auto_now_add=True)

    class Meta:
        abstract = True

    @property
    def state(self) -> Status:
        """The status with its label and tone."""
        return self.lifecycle.statuses[self.status]

    def can(self, trigger: str) -> bool:
        """Whether `trigger` is possible now."""
        return self.lifecycle.can(self.status, trigger)


class TransitionEvent(models.Model):
    """What happened to a tracked object: history, audit and statistics in one row.

    A subclass adds `subject`, the foreign key to its object, with `related_name="events"`.
    """

    NORMAL, ABNORMAL = "normal", "abnormal"

    kind = models.CharField(
        _("Event type"), max_length=8, choices=[(NORMAL, _("Normal")), (ABNORMAL, _("Abnormal"))]
    )
    code = models.CharField(max_length=80)
    params = models.JSONField(default=dict)
    trigger = models.CharField(max_length=40, blank=True)
    from_status = models.CharField(max_length=20, blank=True)
    to_status = models.CharField(max_length=20, blank=True)
    revision = models.PositiveIntegerField(null=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(_("Occurred"), default=timezone.now)

    class Meta:
        abstract = True
        ordering = ["-created_at", "-id"]
        constraints = [
            # One event per transition, whatever is delivered twice.
            models.UniqueConstraint(fields=["subject", "revision"], name="%(app_label)s_%(class)s_once"),
        ]
        indexes = [models.Index(fields=["subject", "-created_at"], name="%(app_label)s_%(class)s_time")]

    def __str__(self) -> str:
        return self.code

    @property
    def problem(self) -> Problem | None:
        """The problem that an abnormal event tells."""
        return Problem(self.code, self.params) if self.kind == self.ABNORMAL else None

    @property
    def sentence(self) -> str:
        """What happened, in the reader's language."""
        told = registered().get(self.code)
        return fill(told.cause, self.params) if told else self.code


class Operation(models.Model):
    """Who is working on what: the truth that the jobs pages, progress bars and workers share (design §4)."""

    QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "queued", "running", "succeeded", "failed", "cancelled"
    LIVE = (QUEUED, RUNNING)
    STATES: ClassVar[dict[str, Status]] = {
        status.value: status
        for status in (
            Status(QUEUED, _("Queued"), "idle", is_busy=True),
            Status(RUNNING, _("In progress"), "busy", is_busy=True),
            Status(SUCCEEDED, _("Succeeded"), "ok", is_final=True),
            Status(FAILED, _("Failed"), "bad", is_final=True),
            Status(CANCELLED, _("Cancelled"), "idle", is_final=True),
        )
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, null=True, related_name="operations")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(_("Kind"), max_length=60)
    target_kind = models.CharField(max_length=40)
    target_id = models.UUIDField()
    target_name = models.CharField(_("Target"), max_length=140, blank=True)
    target_path = models.CharField(max_length=500, blank=True)
    params = models.JSONField(default=dict)
    state = models.CharField(
        _("State"), max_length=10, default=QUEUED, choices=[(s.value, s.label) for s in STATES.values()]
    )
    attempt = models.PositiveSmallIntegerField(_("Attempts"), default=0)
    nudges = models.PositiveIntegerField(default=0)
    lease_owner = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    is_cancel_requested = models.BooleanField(default=False)
    stage = models.CharField(max_length=40, blank=True)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    unit = models.CharField(max_length=10, blank=True)
    rate = models.FloatField(default=0)
    problem_code = models.CharField(max_length=80, blank=True)
    problem_params = models.JSONField(default=dict)
    created_at = models.DateTimeField(_("Created"), auto_now_add=True)
    started_at = models.DateTimeField(_("Started"), null=True)
    finished_at = models.DateTimeField(_("Finished"), null=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "target_id"],
                condition=Q(state__in=["queued", "running"]),
                name="console_one_live",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "not_before"], name="console_op_due"),
            models.Index(fields=["workspace", "-created_at"], name="console_op_list"),
            models.Index(fields=["target_id", "-created_at"], name="console_op_target"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target_name}"

    @property
    def status(self) -> Status:
        """The state with its label and tone."""
        return self.STATES[self.state]

    @property
    def is_live(self) -> bool:
        """Queued or running."""
        return self.state in self.LIVE

    @property
    def problem(self) -> Problem | None:
        """Why it failed, or what it last waited for."""
        return Problem(self.problem_code, self.problem_params) if self.problem_code else None

    @property
    def seconds(self) -> float | None:
        """How long it ran or has been running, in seconds; None before it starts."""
        if self.started_at is None:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()


class OperationLine(models.Model):
    """One line of an operation's log, as the tool that did the work said it."""

    operation = models.ForeignKey(Operation, models.CASCADE, related_name="lines")
    at = models.DateTimeField(default=timezone.now)
    text = models.CharField(max_length=2000)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text


class AuditEntry(models.Model):
    """Who did what to which thing, when and from where; rows are only ever added."""

    at = models.DateTimeField(_("Time"), default=timezone.now, db_index=True)
    workspace = models.ForeignKey(Workspace, models.SET_NULL, null=True, related_name="+")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    actor_name = models.CharField(_("Actor"), max_length=150)
    verb = models.CharField(_("Action"), max_length=60)
    target_kind = models.CharField(_("Kind"), max_length=40, blank=True)
    target_id = models.CharField(max_length=40, blank=True)
    target_name = models.CharField(_("Target"), max_length=140, blank=True)
    data = models.JSONField(default=dict)
    address = models.GenericIPAddressField(_("Address"), null=True)

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")

    def __str__(self) -> str:
        return f"{self.actor_name} {self.verb} {self.target_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("audit entries are append-only")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("audit entries are append-only")
