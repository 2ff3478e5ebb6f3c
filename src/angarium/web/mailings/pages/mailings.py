"""Mailings: list and form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from angarium.events import EventKind
from angarium.web.access import current, permissions
from angarium.web.mailings.models import Launch, LaunchState, Mailing, Template
from angarium.web.mailings.pages import launching, report, resending
from angarium.web.mailings.pages.mailing_form import MailingForm
from angarium.web.mailings.pages.templates import EditorAdmin
from angarium.web.queues.pages import mailing as queue
from angarium.web.reports import figures
from angarium.web.reports.models import Counter


@admin.register(Mailing)
class MailingAdmin(EditorAdmin):
    form = MailingForm
    list_display = ("name_link", "audience", "sender", "state", "share", "updated")
    list_display_links = None
    search_fields = ("name",)
    list_filter = ("active", "sender")
    ordering = ("-pk",)
    list_select_related = ("audience", "sender", "account")
    fieldsets = (
        (None, {"fields": ("name", ("audience", "resource"), "sender", ("active", "urgent"))}),
        (
            "Message",
            {
                "fields": (
                    "template", ("from_name", "from_address"), ("reply_to", "to_name"),
                    "subject", "preheader", "html", "text", "new_files", "remove_files",
                )
            },
        ),
        ("Who gets it", {"fields": ("filters", "suppression_lists", ("policy", "launch_limit"))}),
        ("How long it is tried", {"fields": ("life", "not_after")}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        last = Launch.objects.filter(mailing=OuterRef("pk"), test_address="").order_by("-pk")
        delivered = Counter.objects.filter(launch=OuterRef("last_launch"), kind=EventKind.DELIVERED)
        total = delivered.order_by().values("launch").annotate(n=Sum("count")).values("n")
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.annotate(  # type: ignore[no-any-return]
            last_launch=Subquery(last.values("pk")[:1]),
            last_state=Subquery(last.values("state")[:1]),
            last_counts=Subquery(last.values("counts")[:1]),
            last_delivered=Subquery(total),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A mailing keeps the template it was made with."""
        instead = {} if obj is None else {"template": "content_of"}
        if not self.may_change(request, obj):
            instead["sender"] = "sender_name"  # without the link to a page they may not see
        return [
            (title, {"fields": tuple(instead.get(str(name), name) for name in options["fields"])})
            for title, options in super().get_fieldsets(request, obj)
        ]

    @admin.display(description="Sender")
    def sender_name(self, obj: Mailing) -> str:
        return str(obj.sender)

    def preview_values(self, obj: Mailing) -> dict[str, str]:
        options = {name: str(value) for name, value in (obj.options or {}).items()}
        return {**super().preview_values(obj), **options, "audience": str(obj.audience_id)}

    @admin.display(description="From name")
    def from_name(self, obj: Mailing) -> str:
        return str(obj.options.get("from_name", ""))

    @admin.display(description="From address")
    def from_address(self, obj: Mailing) -> str:
        return str(obj.options.get("from_address", ""))

    @admin.display(description="Reply-To")
    def reply_to(self, obj: Mailing) -> str:
        return str(obj.options.get("reply_to", ""))

    @admin.display(description="Recipient's name")
    def to_name(self, obj: Mailing) -> str:
        return str(obj.options.get("to_name", ""))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("content_of",) if obj else ()

    @admin.display(description="Template")
    def content_of(self, obj: Mailing) -> str:
        others = obj.template.mailings.exclude(pk=obj.pk).values_list("name", flat=True)[:5]
        shared = f" – shared with {', '.join(others)}: changes below change them too" if others else ""
        return f"{obj.template}{shared}"

    def get_list_display(self, request: HttpRequest) -> Any:
        return [column for column in super().get_list_display(request) if column != "tools"] + ["quick"]

    def template_of(self, obj: Any) -> Template | None:
        return obj.template if obj else None

    @admin.display(description="Name", ordering="name")
    def name_link(self, obj: Mailing) -> SafeString:
        page = "mailings_mailing_report" if getattr(obj, "last_launch", None) else "mailings_mailing_change"
        return format_html('<a href="{}"><b>{}</b></a>', reverse(f"admin:{page}", args=[obj.pk]), obj.name)

    @admin.display(description="Last launch")
    def state(self, obj: Any) -> str:
        return LaunchState(obj.last_state).label if obj.last_state else "Not launched yet"

    @admin.display(description="Delivered")
    def share(self, obj: Any) -> str:
        counts = obj.last_counts or {}
        if isinstance(counts, str):
            counts = json.loads(counts)
        published = counts.get("published", 0)
        if not published:
            return "–"
        delivered = obj.last_delivered or 0
        return f"{figures.share(delivered, published)} of {published:,}".replace(",", "\u202f")

    @admin.display(description="")
    def quick(self, obj: Any) -> SafeString:
        may = permissions.may_edit(self.request.user, obj.account_id)
        pages = [
            ("change", "Edit" if may else "View"), ("report", "Report"), ("queue", "Sender Queue"),
            ("log", "Log"),
        ]  # fmt: skip
        if may:
            pages[1:1] = [("launch", "Launch"), ("test", "Test")]
        links = format_html_join(
            "",
            '<a href="{}">{}</a>',
            ((reverse(f"admin:mailings_mailing_{page}", args=[obj.pk]), words) for page, words in pages),
        )
        return format_html('<span class="a-tools">{}</span>', links)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.account = current.new_object_account(request)
        form.store(obj)

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, name: str, view: Any) -> URLPattern:
            return path(
                route, self.admin_site.admin_view(self._of_mailing(view)), name=f"mailings_mailing_{name}"
            )

        return [
            page("<int:object_id>/launch/", "launch", launching.launch),
            page("<int:object_id>/test/", "test", launching.test_send),
            page("<int:object_id>/launches/<int:number>/stop/", "stop", launching.stop),
            page("<int:object_id>/launches/<int:number>/resend/", "resend", resending.resend),
            page("<int:object_id>/launches/<int:number>/resume/", "resume", launching.resume),
            page("<int:object_id>/report/", "report", report.report),
            page("<int:object_id>/figures/", "figures", report.live),
            page("<int:object_id>/log/", "log", report.log),
            page("<int:object_id>/queue/", "queue", queue.page),
            page("<int:object_id>/queue/stream/", "queue_stream", queue.live),
            page("<int:object_id>/queue/freeze/", "queue_freeze", queue.freeze),
            page("<int:object_id>/queue/unfreeze/", "queue_unfreeze", queue.unfreeze),
            page("<int:object_id>/queue/clear/", "queue_clear", queue.clear),
            *super().get_urls(),
        ]

    def _of_mailing(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """A view of a mailing the person sees; others do not exist."""

        def wrapped(request: HttpRequest, object_id: int, **rest: int) -> HttpResponse:
            mailing = self.get_object(request, str(object_id))
            if mailing is None:
                raise Http404
            return view(request, mailing, **rest)

        return wrapped
