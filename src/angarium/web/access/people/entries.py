"""The audit journal, to be read."""

from __future__ import annotations

from typing import Any, Final

from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from angarium.web.access import current, permissions
from angarium.web.access.journal import ACCOUNT, EVENT
from angarium.web.access.pages import PanelAdmin

ACTIONS: Final = {
    LogEntry.Action.CREATE: "created",
    LogEntry.Action.UPDATE: "changed",
    LogEntry.Action.DELETE: "deleted",
    LogEntry.Action.ACCESS: "read",
}
LONGEST: Final = 80


class TableFilter(admin.SimpleListFilter):
    """Only tables of which there are entries."""

    title = "what"
    parameter_name = "table"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        labels = ("access", "directory", "mailings", "sending", "queues")
        kinds = ContentType.objects.filter(app_label__in=labels)
        return sorted(
            ((str(kind.pk), str(kind.name).capitalize()) for kind in kinds), key=lambda pair: pair[1]
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value() or ""
        return queryset.filter(content_type=int(chosen)) if chosen.isdecimal() else queryset


admin.site.unregister(LogEntry)


@admin.register(LogEntry)
class JournalAdmin(PanelAdmin):
    """Administrators read all of it; those who edit an account, what happened in it."""

    list_display = ("time", "who", "what", "object_repr", "differences", "remote_addr")
    list_display_links = None
    list_filter = (TableFilter, "action")
    list_select_related = ("actor", "content_type")
    search_fields = ("object_repr", "actor__username", "changes")
    show_full_result_count = False
    ordering = ("-pk",)

    def may_see(self, request: HttpRequest) -> bool:
        return permissions.may_administer(request.user) or current.editable(request).exists()

    def may_change(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        if permissions.may_administer(request.user):
            return rows
        accounts = list(current.editable(request).values_list("pk", flat=True))
        return rows.filter(**{f"additional_data__{ACCOUNT}__in": accounts})

    def get_list_display(self, request: HttpRequest) -> Any:
        return self.list_display

    @admin.display(description="Time", ordering="timestamp")
    def time(self, obj: LogEntry) -> SafeString:
        return format_html('<span class="a-time">{}</span>', f"{obj.timestamp:%Y-%m-%d %H:%M:%S}")

    @admin.display(description="Who", ordering="actor__username")
    def who(self, obj: LogEntry) -> str:
        token = (obj.additional_data or {}).get("token")
        name = obj.actor.username if obj.actor else obj.actor_email or "the system"
        return f"{name} (token {token})" if token else name

    @admin.display(description="What", ordering="content_type")
    def what(self, obj: LogEntry) -> str:
        event = (obj.additional_data or {}).get(EVENT) or ACTIONS[obj.action]
        return f"{obj.content_type.name}: {event}"

    @admin.display(description="Changes")
    def differences(self, obj: LogEntry) -> SafeString:
        lines = format_html_join(
            "", "<div><b>{}</b> {}</div>", (_difference(*item) for item in _changes(obj))
        )
        return format_html('<div class="a-differences">{}</div>', lines)


def _changes(entry: LogEntry) -> list[tuple[str, Any]]:
    changes = entry.changes_dict.items()
    return [(name, change) for name, change in changes if name != "id" and _says_something(change)][:20]


def _says_something(change: Any) -> bool:
    """Not a field left empty, nor the other end of a link from another table."""
    if isinstance(change, dict):
        return True
    return not all(_is_nothing(str(value)) for value in change)


def _is_nothing(text: str) -> bool:
    return text in ("None", "") or text.endswith(".None")


def _difference(name: str, change: Any) -> tuple[str, str]:
    if isinstance(change, dict):  # links to several rows
        return name, f"{change.get('operation', '')}: {', '.join(map(str, change.get('objects', [])))}"
    before, after = (_short(value) for value in change)
    return name, after if before in ("", "None") else f"{before} → {after}"


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
