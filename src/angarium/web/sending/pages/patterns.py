"""Bounce patterns: how SMTP replies are read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from angarium.domain.bounce import CATEGORIES
from angarium.store.seed import reset_pattern
from angarium.web.access.journal import record
from angarium.web.access.pages import PlatformAdmin
from angarium.web.sending.models import BouncePattern
from angarium.web.sending.pages.forms import RowForm
from angarium.web.sending.pages.tester import tester
from angarium.web.widgets import Choice, Code

_CATEGORIES = [(name, f"{name} – {words}") for name, words in CATEGORIES.items() if name != "other"]


class PatternForm(RowForm):
    category = forms.ChoiceField(
        choices=[("other", "other"), *_CATEGORIES],
        widget=Choice,
    )  # fmt: skip
    pattern = forms.CharField(
        widget=Code(rows=4),
        help_text='Regular expression (RE2) over "code enhanced-code text", case is ignored.',
    )

    class Meta:
        model = BouncePattern
        fields = ("name", "type", "isp", "pattern", "category", "message", "position", "active")
        labels = {"isp": "ISP"}


@admin.register(BouncePattern)
class PatternAdmin(PlatformAdmin):
    form = PatternForm
    list_display = ("position", "name", "type", "category", "whose", "shown_pattern", "origin", "active")
    list_display_links = ("name",)
    list_filter = ("type", "builtin", "edited", "active", "category", "isp")
    list_select_related = ("isp",)
    list_fullwidth = True
    search_fields = ("name", "pattern", "message", "category")
    ordering = ("position", "id")
    fields = ("name", "type", "isp", "pattern", "category", "message", "position", "active")
    list_before_template = "sending/patterns_note.html"
    change_form_before_template = "sending/pattern_reset.html"

    @admin.display(description="ISP", ordering="isp")
    def whose(self, obj: BouncePattern) -> str:
        return str(obj.isp or "All")

    @admin.display(description="Pattern")
    def shown_pattern(self, obj: BouncePattern) -> SafeString:
        short = obj.pattern if len(obj.pattern) <= 60 else obj.pattern[:58] + "…"
        return format_html('<code class="a-pattern" title="{}">{}</code>', obj.pattern[:500], short)

    @admin.display(description="Origin")
    def origin(self, obj: BouncePattern) -> str:
        return "Own" if not obj.builtin else "Built-in, edited" if obj.edited else "Built-in"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if form.changed_data or not change:
            super().save_model(request, obj, form, change)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("test/", view(self.test), name="sending_bouncepattern_test"),
            path("<int:object_id>/reset/", view(self.reset), name="sending_bouncepattern_reset"),
            *super().get_urls(),
        ]

    def test(self, request: HttpRequest) -> HttpResponse:
        if not self.may_see(request):
            raise Http404
        return tester(request)

    def reset(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Undoes what a person changed in a built-in pattern."""
        row = self.get_object(request, str(object_id))
        if request.method != "POST" or not self.may_change(request) or row is None or not row.builtin:
            raise Http404
        reset_pattern(row)
        record(request, row, "reset")
        messages.success(request, "The pattern is as it was shipped.")
        return redirect(reverse("admin:sending_bouncepattern_change", args=[row.pk]))
