"""Default rules, routes and DKIM keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from angarium.web.access.pages import PlatformAdmin
from angarium.web.sending import dkim
from angarium.web.sending.models import DefaultRule, DkimKey, Route
from angarium.web.sending.pages.forms import RowForm
from angarium.web.widgets import Secret


class DefaultRuleForm(RowForm):
    class Meta:
        model = DefaultRule
        fields = ("position", "isp", "bounce_type", "pattern", "retry_rule")
        labels = {"isp": "ISP"}


@admin.register(DefaultRule)
class DefaultRuleAdmin(PlatformAdmin):
    form = DefaultRuleForm
    list_display = ("position", "whose", "kind", "by_pattern", "then")
    list_display_links = ("position", "whose")
    list_select_related = ("isp", "pattern", "retry_rule")
    ordering = ("position", "id")
    fields = ("position", "isp", "bounce_type", "pattern", "retry_rule")
    list_before_template = "sending/default_rules_note.html"

    @admin.display(description="ISP")
    def whose(self, obj: DefaultRule) -> str:
        return str(obj.isp or "All")

    @admin.display(description="Bounce type")
    def kind(self, obj: DefaultRule) -> str:
        return obj.get_bounce_type_display() if obj.bounce_type else "Any"

    @admin.display(description="Bounce pattern")
    def by_pattern(self, obj: DefaultRule) -> str:
        return str(obj.pattern or "Any")

    @admin.display(description="Then")
    def then(self, obj: DefaultRule) -> str:
        return f"Retry rule {obj.retry_rule}" if obj.retry_rule else "Undelivered"


class RouteForm(RowForm):
    password = forms.CharField(
        required=False, max_length=500, widget=Secret, help_text="Empty: the one that is kept stays."
    )

    class Meta:
        model = Route
        fields = ("domain", "sender", "host", "port", "tls", "username", "password")

    def clean_password(self) -> str:
        given: str = self.cleaned_data["password"]
        return given or self.instance.password

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        same = Route.objects.filter(domain=values.get("domain"), sender=values.get("sender"))
        if same.exclude(pk=self.instance.pk).exists():
            self.add_error("domain", "There is a route for this domain and sender already.")
        return values


@admin.register(Route)
class RouteAdmin(PlatformAdmin):
    form = RouteForm
    list_display = ("domain", "whose", "host", "port", "tls")
    list_select_related = ("sender",)
    search_fields = ("domain", "host")
    ordering = ("domain",)
    fields = ("domain", "sender", "host", "port", "tls", "username", "password")

    @admin.display(description="Sender")
    def whose(self, obj: Route) -> str:
        return str(obj.sender or "Every")


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = DkimKey
        fields = ("domain", "selector", "algorithm")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if self.errors:
            return values
        try:
            made = dkim.new_key(values["domain"], values["selector"], values["algorithm"])
        except ValueError as error:
            self.add_error("selector" if "selector" in str(error) else "domain", str(error))
            return values
        self.instance.private_key = made.private_key
        return {**values, "domain": made.domain, "selector": made.selector}

    def validate_unique(self) -> None:
        values = self.cleaned_data
        if DkimKey.objects.filter(domain=values.get("domain"), selector=values.get("selector")).exists():
            self.add_error("selector", "There is a key with this domain and selector.")


@admin.register(DkimKey)
class KeyAdmin(PlatformAdmin):
    form = KeyForm
    list_display = ("domain", "selector", "algorithm", "used_by", "created")
    search_fields = ("domain", "selector")
    ordering = ("domain", "selector")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A key is made or deleted, never changed."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change(request)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ((None, {"fields": ("domain", "selector", "algorithm")}),)
        return (
            (None, {"fields": ("domain", "selector", "algorithm", "created", "used_by")}),
            ("DNS record to publish (TXT)", {"fields": ("record_name", "record_value", "zone_line")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("created", "used_by", "record_name", "record_value", "zone_line") if obj else ()

    @admin.display(description="Senders")
    def used_by(self, obj: DkimKey) -> str:
        return ", ".join(str(sender) for sender in obj.senders.select_related("sender")[:5]) or "–"

    @admin.display(description="Name")
    def record_name(self, obj: DkimKey) -> SafeString:
        return _copyable("record-name", dkim.dns_record(obj).name)

    @admin.display(description="Value")
    def record_value(self, obj: DkimKey) -> SafeString:
        return _copyable("record-value", dkim.dns_record(obj).value)

    @admin.display(description="As a line of a zone file")
    def zone_line(self, obj: DkimKey) -> SafeString:
        return _copyable("record-zone", dkim.dns_record(obj).zone)


def _copyable(name: str, text: str) -> SafeString:
    return format_html(
        '<span class="a-copy"><code id="{}">{}</code>'
        '<button type="button" class="a-button" data-copy="{}">Copy</button></span>',
        name, text, name,
    )  # fmt: skip
