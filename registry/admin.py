"""The registry in Django's admin: to look, to search, to mend words. Statuses change on the pages alone."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest

from console.readonly import ReadOnly
from registry.models import (
    Connection,
    Discarded,
    Environment,
    FormerModel,
    Label,
    Model,
    Version,
    VersionEvent,
    VersionFile,
)


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin):
    list_display = ("name", "workspace", "kind", "root", "endpoint", "created_at")
    list_filter = ("kind", "workspace")
    search_fields = ("name", "root", "endpoint")
    exclude = ("secret_key",)  # write-only, through the connection's page

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # the page checks the directory and the address


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):
    list_display = ("name", "workspace", "owner", "last_ordinal", "created_at")
    list_filter = ("workspace",)
    search_fields = ("name", "description")
    readonly_fields = ("workspace", "name", "last_ordinal", "next_rank", "created_at")
    list_select_related = ("workspace", "owner")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False  # its versions have files


class FileInline(admin.TabularInline):
    model = VersionFile
    fields = readonly_fields = ("path", "size_bytes", "sha256")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Version)
class VersionAdmin(admin.ModelAdmin):
    list_display = ("model", "number", "workspace", "status", "engine", "size_bytes", "owner", "created_at")
    list_filter = ("status", "engine", "workspace")
    search_fields = ("model__name", "number", "id", "description", "labels__name")
    list_select_related = ("model", "workspace", "owner")
    date_hierarchy = "created_at"
    inlines: ClassVar = [FileInline]
    fields = ("description", "labels", "owner")

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> list[str]:
        return [each.name for each in Version._meta.concrete_fields if each.name not in self.fields]

    def get_fields(self, request: HttpRequest, obj: object = None) -> list[str]:
        return [*self.get_readonly_fields(request, obj), *self.fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False  # its files go first: the version's page does that


@admin.register(VersionEvent)
class VersionEventAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("created_at", "subject", "kind", "code", "from_status", "to_status", "actor")
    list_filter = ("kind", "to_status")
    search_fields = ("subject__model__name", "code")
    list_select_related = ("subject__model", "actor")
    date_hierarchy = "created_at"


@admin.register(Environment)
class EnvironmentAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("digest", "engine", "runtime", "size_bytes", "created_at")
    list_filter = ("engine", "runtime")
    search_fields = ("digest",)


@admin.register(VersionFile)
class VersionFileAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("path", "version", "size_bytes", "sha256")
    search_fields = ("path", "sha256", "version__model__name")
    list_select_related = ("version__model",)


@admin.register(Label)
class LabelAdmin(admin.ModelAdmin):
    list_display = ("name", "workspace")
    list_filter = ("workspace",)
    search_fields = ("name",)


@admin.register(FormerModel)
class FormerModelAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("name", "workspace", "last_ordinal", "next_rank")
    search_fields = ("name",)


@admin.register(Discarded)
class DiscardedAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("prefix", "created_at")
