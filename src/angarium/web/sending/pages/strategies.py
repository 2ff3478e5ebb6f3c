"""Strategies, with the speed they amount to."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path

from angarium.domain import sending, strategy
from angarium.web.access.pages import PlatformAdmin
from angarium.web.sending import usage
from angarium.web.sending.models import Strategy

NUMBERS = ("connections", "messages_per_connection", "attempts", "interval")


class StrategyForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Strategy
        fields = ("name", *NUMBERS, "helo", "try_tls", "drop")

    def clean(self) -> dict[str, Any]:
        for name, message in strategy.problems(self.cleaned_data).items():
            if name in self.fields and name not in self.errors:
                self.add_error(name, message)
        return self.cleaned_data


@admin.register(Strategy)
class StrategyAdmin(PlatformAdmin):
    form = StrategyForm
    list_display = ("id", "name", *NUMBERS, "speed", "used_by")
    list_display_links = ("id", "name")
    search_fields = ("name",)
    ordering = ("id",)
    fieldsets = (
        (None, {"fields": ("name", *NUMBERS)}),
        ("Session", {"fields": ("helo", "try_tls", "drop")}),
    )
    change_form_after_template = "sending/strategy_preview.html"

    @admin.display(description="One IP, per hour")
    def speed(self, obj: Strategy) -> str:
        return amount(strategy.speed(_record(obj)).per_hour)

    @admin.display(description="Used by")
    def used_by(self, obj: Strategy) -> str:
        return ", ".join(usage.uses(obj)[:4]) or ("Default" if obj.default else "–")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview)
        return [path("preview/", view, name="sending_strategy_preview"), *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """The speed of the strategy in the form, as a fragment."""
        if not self.may_see(request):
            return HttpResponse(status=403)
        form = StrategyForm(request.GET, instance=Strategy(name="preview"))
        form.fields.pop("name")
        form.is_valid()
        good = not set(NUMBERS) & set(form.errors)
        return render(request, "sending/strategy_speed.html", _speeds(form.instance) if good else {})


def _record(row: Strategy) -> sending.Strategy:
    return sending.Strategy(
        id=row.pk or 0,
        name=row.name,
        connections=row.connections,
        messages_per_connection=row.messages_per_connection,
        attempts=row.attempts,
        interval=row.interval,
    )


def _speeds(row: Strategy) -> dict[str, Any]:
    record = _record(row)
    speed = strategy.speed(record)
    figures = [("minute", speed.per_minute), ("hour", speed.per_hour), ("day", speed.per_day)]
    return {
        "figures": [(unit, amount(value)) for unit, value in figures],
        "per_interval": record.messages_per_interval,
        "interval": row.interval,
        "drop": row.drop,
    }


def amount(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0").replace(",", "\u202f")
