"""Settings – MTA – Retry rules (spec section 10)."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path

from angarium.domain import retry, sending
from angarium.domain.duration import in_words
from angarium.web.access.pages import PlatformAdmin
from angarium.web.sending import usage
from angarium.web.sending.models import RetryRule

SHOWN_RETRIES: Final = 12
DAY: Final = 86_400.0
_OF_TYPE: Final = {"exponent": sending.RetryType.GEOMETRIC, "modifier": sending.RetryType.RANDOM}


class RetryRuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """Bad values get a message at the field; a field that its type does not show is not judged."""

    class Meta:
        model = RetryRule
        fields = ("name", "mode", "retries", "interval", "type", "exponent", "modifier")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in _OF_TYPE.keys() & self.fields.keys():
            self.fields[name].required = False
        for name in ("interval", *_OF_TYPE):
            if name in self.initial:
                self.initial[name] = plain(self.initial[name])

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        for name, kind in _OF_TYPE.items():
            if values.get("type") != kind:
                self._errors.pop(name, None)  # type: ignore[attr-defined]
                values[name] = getattr(self.instance, name)
        for name, message in retry.problems(values).items():
            if name in self.fields and name not in self.errors:
                self.add_error(name, message)
        return values


@admin.register(RetryRule)
class RetryRuleAdmin(PlatformAdmin):
    form = RetryRuleForm
    list_display = ("id", "name", "mode", "retries", "minutes", "type", "growth", "used_by")
    list_display_links = ("id", "name")
    search_fields = ("name",)
    ordering = ("id",)
    fields = ("name", "mode", "retries", "interval", "type", "exponent", "modifier")
    conditional_fields = {"exponent": "type == 'geometric'", "modifier": "type == 'random'"}
    change_form_after_template = "sending/retry_rule_preview.html"

    @admin.display(description="Time interval (min)", ordering="interval")
    def minutes(self, obj: RetryRule) -> str:
        return f"{obj.interval:g}"

    @admin.display(description="Exponent / modifier")
    def growth(self, obj: RetryRule) -> str:
        match obj.type:
            case sending.RetryType.GEOMETRIC:
                return f"× {obj.exponent:g}"
            case sending.RetryType.RANDOM:
                return f"+ {obj.modifier:g}"
        return "–"

    @admin.display(description="Used by")
    def used_by(self, obj: RetryRule) -> str:
        return ", ".join(usage.uses(obj)[:4]) or ("Default" if obj.default else "–")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview)
        return [path("preview/", view, name="sending_retryrule_preview"), *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """The attempt times of the rule in the form, as a fragment."""
        form = RetryRuleForm(request.GET, instance=RetryRule(name="preview"))
        form.fields.pop("name")
        if not self.may_see(request):
            return HttpResponse(status=403)
        rule = _record(form) if form.is_valid() else None
        return render(request, "sending/retry_rule_times.html", _times(rule) if rule else {})


def _record(form: RetryRuleForm) -> sending.RetryRule:
    values = form.cleaned_data
    return sending.RetryRule(
        id=0,
        name="preview",
        mode=sending.RetryMode(values["mode"]),
        retries=values["retries"],
        interval=values["interval"],
        type=sending.RetryType(values["type"]),
        exponent=values["exponent"],
        modifier=values["modifier"],
    )


def _times(rule: sending.RetryRule) -> dict[str, Any]:
    within_a_day = retry.attempt_times(rule, DAY)
    times = retry.attempt_times(rule)
    rows = [
        {
            "number": number,
            "at": in_words(earliest) if earliest == latest else f"{in_words(earliest)} – {in_words(latest)}",
            "late": earliest > DAY,
        }
        for number, (earliest, latest) in enumerate(times[:SHOWN_RETRIES], start=1)
    ]
    return {
        "rows": rows,
        "retries": rule.retries,
        "hidden": max(0, len(times) - SHOWN_RETRIES),
        "within_a_day": len(within_a_day),
        "last": in_words(times[-1][1]) if times else "",
        "random": rule.type is sending.RetryType.RANDOM,
    }


def plain(number: Any) -> Any:
    """15 rather than 15.0."""
    return int(number) if isinstance(number, float) and number.is_integer() else number
