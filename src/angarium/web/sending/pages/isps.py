"""ISPs: mailbox providers and their recipient domains."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from angarium.web.access.pages import PlatformAdmin
from angarium.web.sending.models import Isp, IspDomain
from angarium.web.sending.pages.forms import HeaderLines, Lines, RowForm
from angarium.web.sending.validation import domain_name
from angarium.web.widgets import Switch


class IspForm(RowForm):
    domains = Lines(rows=8, help_text="Recipient domains, one a line. A domain belongs to one ISP.")
    move = forms.BooleanField(
        required=False, widget=Switch, label="Move domains here",
        help_text="Domains of the list above that belong to another ISP leave it.",
    )  # fmt: skip
    mx_suffixes = Lines(label="MX suffixes", rows=3, help_text="Host suffixes, one a line: .google.com")
    add_headers = HeaderLines(rows=3, help_text="One a line: Name: value.")
    remove_headers = Lines(rows=3, help_text="Names, one a line.")

    class Meta:
        model = Isp
        fields = ("name", "mx_suffixes", "html_encoding", "text_encoding", "add_headers", "remove_headers")
        labels = {"html_encoding": "HTML encoding"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["domains"] = sorted(self.instance.domains.values_list("domain", flat=True))

    def clean_domains(self) -> list[str]:
        wrong, found = [], []
        for line in self.cleaned_data["domains"]:
            try:
                found.append(domain_name(line))
            except ValueError as error:
                wrong.append(str(error))
        if wrong:
            raise forms.ValidationError(wrong)
        return sorted(set(found))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        taken = self._taken(values.get("domains", []))
        if taken and not values.get("move"):
            owners = ", ".join(f"{row.domain} to {row.isp}" for row in taken[:10])
            self.add_error(
                "domains", f"These belong to another ISP: {owners}. Tick “Move domains here” to move them."
            )
        return values

    def _taken(self, domains: list[str]) -> list[IspDomain]:
        rows = IspDomain.objects.filter(domain__in=domains).select_related("isp")
        return list(rows.exclude(isp=self.instance.pk) if self.instance.pk else rows)

    def save_domains(self, isp: Isp) -> None:
        wanted = set(self.cleaned_data["domains"])
        for row in self._taken(sorted(wanted)):
            row.delete()
        kept = set(isp.domains.values_list("domain", flat=True))
        for row in isp.domains.exclude(domain__in=wanted):
            row.delete()
        for domain in sorted(wanted - kept):
            IspDomain.objects.create(isp=isp, domain=domain)


@admin.register(Isp)
class IspAdmin(PlatformAdmin):
    form = IspForm
    list_display = ("name", "domain_count", "mx", "origin")
    search_fields = ("name", "domains__domain")
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "domains", "move", "mx_suffixes")}),
        ("Messages to it", {"fields": ("html_encoding", "text_encoding", "add_headers", "remove_headers")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.annotate(count=Count("domains", distinct=True))  # type: ignore[no-any-return]

    @admin.display(description="Domains", ordering="count")
    def domain_count(self, obj: Any) -> int:
        return int(obj.count)

    @admin.display(description="MX suffixes")
    def mx(self, obj: Isp) -> str:
        return ", ".join(obj.mx_suffixes[:3]) or "–"

    @admin.display(description="Origin")
    def origin(self, obj: Isp) -> str:
        return "Own" if not obj.builtin else "Built-in, edited" if obj.edited else "Built-in"

    def save_model(self, request: HttpRequest, obj: Isp, form: IspForm, change: bool) -> None:
        if set(form.changed_data) - {"domains", "move"} or not change:
            super().save_model(request, obj, form, change)
        form.save_domains(obj)
