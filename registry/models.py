"""What exists: models, their versions and files, environments, and the connections they come from."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from console.encryption import EncryptedTextField
from console.lifecycle import Lifecycle
from console.models import Tracked, TransitionEvent, Workspace
from registry import lifecycle


class Connection(models.Model):
    """A place in object storage that an administrator opened to the workspace."""

    LOCAL, S3 = "local", "s3"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="connections")
    name = models.CharField(_("Name"), max_length=64)
    kind = models.CharField(
        _("Kind"), max_length=8, choices=[(LOCAL, _("Local directory")), (S3, _("S3 object storage"))]
    )
    root = models.CharField(_("Directory"), max_length=500, blank=True)
    endpoint = models.URLField(_("Endpoint"), max_length=500, blank=True)
    region = models.CharField(_("Region"), max_length=64, blank=True)
    buckets = models.JSONField(_("Buckets"), default=list, blank=True)
    access_key = models.CharField(_("Access key"), max_length=200, blank=True)
    secret_key = EncryptedTextField(_("Secret key"), blank=True)
    created_at = models.DateTimeField(_("Created"), auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="registry_connection_name"),
            models.CheckConstraint(condition=Q(kind__in=["local", "s3"]), name="registry_connection_kind"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def location(self) -> str:
        """Where it leads: the directory, the endpoint, or the region of the public service."""
        return self.root or self.endpoint or self.region


class Model(models.Model):
    """A name under which versions stand."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="models")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    name = models.CharField(_("Name"), max_length=64)
    description = models.CharField(_("Description"), max_length=100, blank=True)
    # What was ever given, so that a deleted version's number and ordinal are never given again.
    last_ordinal = models.PositiveIntegerField(default=0)
    next_rank = models.PositiveIntegerField(default=1)  # of the number that is proposed next: 0.0.1 at first
    created_at = models.DateTimeField(_("Created"), auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("model")
        verbose_name_plural = _("models")
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="registry_model_name")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("registry:model_detail", args=[self.name])


class FormerModel(models.Model):
    """What a name remembers after its last version went: which numbers and ordinals were given under it."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+")
    name = models.CharField(max_length=64)
    last_ordinal = models.PositiveIntegerField()
    next_rank = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="registry_former_model_once")
        ]

    def __str__(self) -> str:
        return self.name


class Label(models.Model):
    """A word of the workspace's catalogue of labels."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="labels")
    name = models.CharField(max_length=64)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="registry_label_once")]

    def __str__(self) -> str:
        return self.name


class Environment(models.Model):
    """A set of installed packages that versions with the same needs share; `digest` names its folder."""

    digest = models.CharField(max_length=64, primary_key=True)
    engine = models.CharField(max_length=32)
    runtime = models.CharField(max_length=64)
    packages = models.JSONField(default=list)
    size_bytes = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.digest[:12]


class Version(Tracked):
    """One imported model: immutable files, what they need, and how they are called."""

    lifecycle: ClassVar[Lifecycle] = lifecycle.VERSION
    SOURCES: ClassVar = [("objects", _("Object storage"))]

    model = models.ForeignKey(Model, models.CASCADE, related_name="versions")
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="versions")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    number = models.CharField(_("Version"), max_length=8)
    number_rank = models.PositiveIntegerField()
    ordinal = models.PositiveIntegerField()
    description = models.CharField(_("Description"), max_length=100, blank=True)
    labels = models.ManyToManyField(Label, related_name="versions", blank=True)
    deployment_types = models.JSONField(_("Deployment Type"), default=list)

    source = models.CharField(_("Meta Model Source"), max_length=12, choices=SOURCES, default="objects")
    connection = models.ForeignKey(Connection, models.SET_NULL, null=True, related_name="+")
    source_bucket = models.CharField(max_length=255, blank=True)
    source_path = models.CharField(max_length=1024, blank=True)

    engine = models.CharField(_("AI Engine"), max_length=32, blank=True)
    runtime = models.CharField(_("Runtime Environment"), max_length=64, blank=True)
    model_file = models.CharField(max_length=1024, blank=True)
    has_inference_code = models.BooleanField(default=False)
    config = models.JSONField(default=dict)
    apis = models.JSONField(default=list)
    dependencies = models.JSONField(default=list)
    requirements = models.JSONField(default=list)  # for pip: the runtime's own first
    metrics = models.JSONField(default=dict)

    size_bytes = models.PositiveBigIntegerField(_("Model Size"), default=0)
    manifest_digest = models.CharField(max_length=64, blank=True)
    # Counts the times that files were taken: each time has a place of its own in the artifacts.
    take = models.PositiveIntegerField(default=1)
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="versions")

    class Meta:
        ordering = ["-number_rank"]
        verbose_name = _("version")
        verbose_name_plural = _("versions")
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="registry_version_number"),
            models.UniqueConstraint(fields=["model", "ordinal"], name="registry_version_ordinal"),
            models.CheckConstraint(
                condition=Q(status__in=lifecycle.VERSION.values), name="registry_version_status"
            ),
            models.CheckConstraint(
                condition=~Q(status="published") | (Q(environment__isnull=False) & ~Q(manifest_digest="")),
                name="registry_version_normal_is_whole",
            ),
        ]
        indexes = [models.Index(fields=["workspace", "status"], name="registry_version_deployable")]

    def __str__(self) -> str:
        return f"{self.model.name} {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("registry:version_detail", args=[self.model.name, self.number])

    @property
    def is_deployable(self) -> bool:
        """Only a Normal version may be deployed (facts §3.1)."""
        return self.status == lifecycle.PUBLISHED

    @property
    def artifact_prefix(self) -> str:
        """Where its files are kept; made from its id, never from a name."""
        return f"versions/{self.pk.hex}-{self.take}"


class VersionFile(models.Model):
    """One file of a version: path below the package folder, size in bytes, SHA-256.

    The rows are written when the source was listed and say what to take; `fingerprint` is the source's, and
    `sha256` is empty until the file is stored.
    """

    version = models.ForeignKey(Version, models.CASCADE, related_name="files")
    path = models.CharField(_("Path"), max_length=1024)
    size_bytes = models.PositiveBigIntegerField(_("Size"))
    sha256 = models.CharField("SHA-256", max_length=64, blank=True)
    fingerprint = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["path"]
        constraints = [models.UniqueConstraint(fields=["version", "path"], name="registry_file_once")]

    def __str__(self) -> str:
        return self.path


class VersionEvent(TransitionEvent):
    """An event on a version's page."""

    subject = models.ForeignKey(Version, models.CASCADE, related_name="events")


class Discarded(models.Model):
    """A place in the artifacts that nobody needs any more.

    The row is written in the transaction that made the place unneeded, so that nobody forgets to remove it.
    """

    prefix = models.CharField(max_length=100, primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.prefix
