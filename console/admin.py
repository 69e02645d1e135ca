"""Django admin for operators: what the shell owns. Nothing here writes a status."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from console import jobs
from console.models import AuditEntry, Membership, Operation, OperationLine, Workspace
from console.problems import ProblemError
from console.readonly import ReadOnly

admin.site.site_header = admin.site.site_title = "Slipway"
admin.site.enable_nav_sidebar = False


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]


@admin.register(Workspace)
class WorkspaceAdmin(admin.ModelAdmin):
    list_display = ["name", "created_at"]
    search_fields = ["name"]
    inlines = [MembershipInline]


class OperationLineInline(ReadOnly, admin.TabularInline):
    model = OperationLine
    extra = 0
    fields = ["at", "text"]


@admin.register(Operation)
class OperationAdmin(ReadOnly, admin.ModelAdmin):
    list_display = [
        "kind",
        "target_name",
        "state",
        "attempt",
        "workspace",
        "actor",
        "created_at",
        "finished_at",
    ]
    list_filter = ["state", "kind", "workspace"]
    list_select_related = ["workspace", "actor"]
    search_fields = ["target_name", "id", "target_id"]
    date_hierarchy = "created_at"
    inlines = [OperationLineInline]
    actions = ["cancel"]

    @admin.action(description=_("Cancel the selected jobs"), permissions=["view"])
    def cancel(self, request: HttpRequest, queryset: Any) -> None:
        """Ask each to stop, through the same service as the jobs page."""
        asked = 0
        for operation in queryset:
            try:
                jobs.cancel_job(actor=request.user, operation=operation)
                asked += 1
            except ProblemError as refusal:
                self.message_user(request, f"{operation}: {refusal.problem.cause}", messages.WARNING)
        self.message_user(
            request,
            ngettext("%(count)s job is asked to stop.", "%(count)s jobs are asked to stop.", asked)
            % {"count": asked},
        )


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["at", "actor_name", "verb", "target_name", "workspace", "address"]
    list_filter = ["verb", "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["actor_name", "target_name", "target_id"]
    date_hierarchy = "at"
