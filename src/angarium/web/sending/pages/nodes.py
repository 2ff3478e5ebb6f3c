"""Nodes and their IP addresses: the sending servers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from angarium.domain.duration import in_words
from angarium.store import settings as stored
from angarium.web.access.pages import PlatformAdmin, Rows
from angarium.web.reports import figures
from angarium.web.reports.models import QueueFigure
from angarium.web.sending.models import IpAddress, Node
from angarium.web.sending.pages.forms import RowForm

SILENT_AFTER = 30.0
"""Seconds without a sign of life."""


class AddressForm(RowForm):
    class Meta:
        model = IpAddress
        fields = ("node", "address", "hostname")


class AddressRows(Rows):
    model = IpAddress
    form = AddressForm
    fields = ("address", "hostname")
    can_delete = False
    verbose_name_plural = "IP addresses"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


def silence(node: Node) -> float | None:
    """Seconds since the last sign of life; None: there was none."""
    return (timezone.now() - node.seen).total_seconds() if node.seen else None


def running(node: Node) -> SafeString:
    """In words, for lists."""
    quiet = silence(node)
    if quiet is None:
        return format_html('<span class="a-tag a-bad">{}</span>', "never seen")
    if quiet > SILENT_AFTER:
        return format_html('<span class="a-tag a-bad">silent for {}</span>', in_words(quiet))
    if not node.active:
        return format_html('<span class="a-tag">{}</span>', "stopped by hand")
    return format_html('<span class="a-tag a-good">{}</span>', "running")


@admin.register(Node)
class NodeAdmin(PlatformAdmin):
    list_display = ("name", "state", "queue", "synced", "addresses", "notice", "switch")
    search_fields = ("name",)
    ordering = ("name",)
    fields = ("name", "active")
    inlines = (AddressRows,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("addresses")

    @admin.display(description="State")
    def state(self, obj: Node) -> SafeString:
        return running(obj)

    @admin.display(description="Queue")
    def queue(self, obj: Node) -> int:
        return sum(figures.queue(QueueFigure.objects.filter(node=obj.pk)).values())

    @admin.display(description="Settings")
    def synced(self, obj: Node) -> str:
        newest = stored.version()
        return "up to date" if obj.version == newest else f"version {obj.version} of {newest}"

    @admin.display(description="IP addresses")
    def addresses(self, obj: Node) -> str:
        return ", ".join(address.address for address in obj.addresses.all()) or "–"

    @admin.display(description="Sending")
    def switch(self, obj: Node) -> SafeString:
        words = "Stop" if obj.active else "Start"
        address = reverse("admin:sending_node_switch", args=[obj.pk])
        return format_html(
            '<button class="a-button" type="submit" formaction="{}">{}</button>', address, words
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.switch_view)
        return [path("<int:object_id>/switch/", view, name="sending_node_switch"), *super().get_urls()]

    def switch_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Starts or stops the sending of a node."""
        node = self.get_object(request, str(object_id))
        if request.method != "POST" or not self.may_change(request) or node is None:
            raise Http404
        node.active = not node.active
        node.save(update_fields=["active"])
        messages.success(request, f"{node} {'sends' if node.active else 'sends nothing from now on'}.")
        return redirect("admin:sending_node_changelist")


@admin.register(IpAddress)
class AddressAdmin(PlatformAdmin):
    form = AddressForm
    list_display = ("address", "node", "hostname", "used_by")
    list_filter = ("node",)
    list_select_related = ("node",)
    search_fields = ("address", "hostname")
    ordering = ("node", "address")
    fields = ("node", "address", "hostname")

    @admin.display(description="Senders")
    def used_by(self, obj: IpAddress) -> str:
        return ", ".join(str(sender) for sender in obj.senders.select_related("sender")[:5]) or "–"
