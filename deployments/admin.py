"""Services in Django's admin: to look and to search. What a service does changes on its pages alone."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from console.readonly import ReadOnly
from deployments.models import (
    AccessKey,
    Instance,
    RevisionTarget,
    Service,
    ServiceEvent,
    ServiceRevision,
    Specification,
)


class InstanceInline(ReadOnly, admin.TabularInline):
    model = Instance
    extra = 0
    fields = ("name", "status", "status_since", "restarts", "address", "detail")


class KeyInline(ReadOnly, admin.TabularInline):
    model = AccessKey
    extra = 0
    fields = ("name", "created_by", "created_at")  # never the secret


@admin.register(Specification)
class SpecificationAdmin(admin.ModelAdmin):
    list_display = ("code", "name_en", "name_zh", "cpu", "memory_mb", "is_open", "position")
    list_editable = ("is_open", "position")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("code",) if obj else ()


@admin.register(Service)
class ServiceAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "workspace", "owner", "status", "desired", "wanted_revision", "created_at")
    list_filter = ("status", "workspace")
    list_select_related = ("workspace", "owner")
    search_fields = ("name", "id", "description")
    exclude = ("routes", "routes_token")
    inlines = (InstanceInline, KeyInline)


class TargetInline(ReadOnly, admin.TabularInline):
    model = RevisionTarget
    extra = 0
    fields = ("version", "weight", "specification", "instance_count")  # variables may be confidential


@admin.register(ServiceRevision)
class ServiceRevisionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("service", "number", "author", "result", "timeout_seconds", "created_at")
    list_filter = ("result",)
    list_select_related = ("service", "author")
    search_fields = ("service__name", "service__id")
    inlines = (TargetInline,)


@admin.register(Instance)
class InstanceAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "service", "status", "restarts", "status_since", "detail")
    list_filter = ("status",)
    list_select_related = ("service",)
    search_fields = ("name", "service__name")


@admin.register(ServiceEvent)
class ServiceEventAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("created_at", "subject", "kind", "sentence", "actor")
    list_filter = ("kind",)
    list_select_related = ("subject", "actor")
    search_fields = ("subject__name", "code")
    date_hierarchy = "created_at"
