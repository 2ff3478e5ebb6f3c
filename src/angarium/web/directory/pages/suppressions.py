"""Suppression lists with what is on them, and the platform's stop list."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.web.access.journal import record
from angarium.web.access.pages import AdministratorAdmin
from angarium.web.directory.models import StopEntry, SuppressionEntry, SuppressionList
from angarium.web.directory.pages.lists import NamedAdmin, NamedForm
from angarium.web.sending.validation import domain_name
from angarium.web.widgets import Code, Text

PASTED_AT_ONCE: Final = 100_000
ENTRIES_A_PAGE: Final = 100
WRONG_SHOWN: Final = 5


class SuppressionForm(NamedForm):
    add = forms.CharField(
        required=False, strip=False, label="Add", widget=Code(rows=6),
        help_text="E-mail addresses and domains, one a line. Those that are on the list already stay.",
    )  # fmt: skip
    remove = forms.CharField(
        required=False, strip=False, label="Take off", widget=Code(rows=3), help_text="One a line."
    )

    class Meta:
        model = SuppressionList
        fields = ("name", "general")

    def clean_add(self) -> list[tuple[str, str]]:
        return _compared(self.cleaned_data["add"])

    def clean_remove(self) -> list[tuple[str, str]]:
        return _compared(self.cleaned_data["remove"])


def _compared(text: str) -> list[tuple[str, str]]:
    """Kind and value as entries keep them. Raises `ValidationError` naming lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > PASTED_AT_ONCE:
        raise ValidationError(f"At most {PASTED_AT_ONCE:,} at a time.")
    found: dict[tuple[str, str], None] = {}
    wrong = []
    for line in lines:
        try:
            found[_kind(line)] = None
        except (InvalidInput, ValueError):
            wrong.append(line)
    if wrong:
        more = f" and {len(wrong) - WRONG_SHOWN} more" if len(wrong) > WRONG_SHOWN else ""
        raise ValidationError(f"Neither an address nor a domain: {', '.join(wrong[:WRONG_SHOWN])}{more}.")
    return list(found)


def _kind(line: str) -> tuple[str, str]:
    if "@" in line.lstrip("@"):
        return SuppressionEntry.Kind.ADDRESS, email_address(line).contact
    return SuppressionEntry.Kind.DOMAIN, domain_name(line.lstrip("@"))


@admin.register(SuppressionList)
class SuppressionListAdmin(NamedAdmin):
    form = SuppressionForm
    list_display = ("name", "general", "size")
    fieldsets = ((None, {"fields": ("name", "general")}), ("Entries", {"fields": ("add", "remove")}))
    change_form_outer_after_template = "directory/suppressed.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.annotate(entry_count=Count("entries"))  # type: ignore[no-any-return]

    @admin.display(description="Entries")
    def size(self, obj: Any) -> str:
        return f"{obj.entry_count:,}".replace(",", "\u202f")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = dict(extra_context or {})
        if object_id and (row := self.get_object(request, object_id)):
            wanted = request.GET.get("value", "").strip().lower()
            entries = row.entries.filter(value__startswith=wanted).order_by("value")
            page = Paginator(entries, ENTRIES_A_PAGE).get_page(request.GET.get("page"))
            context |= {"page": page, "wanted": wanted}
        return super().changeform_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        before = obj.entries.count()
        new = [SuppressionEntry(list=obj, kind=kind, value=value) for kind, value in form.cleaned_data["add"]]
        SuppressionEntry.objects.bulk_create(new, ignore_conflicts=True, batch_size=500)
        added, removed = obj.entries.count() - before, 0
        for kind, value in form.cleaned_data["remove"]:
            removed += obj.entries.filter(kind=kind, value=value).delete()[0]
        if new or form.cleaned_data["remove"]:
            record(request, obj, "entries changed", added=added, removed=removed)
            messages.info(request, f"{added} added, {removed} taken off.")


class StopForm(forms.ModelForm):  # type: ignore[type-arg]
    contact = forms.CharField(max_length=320, label="E-mail address", widget=Text)

    class Meta:
        model = StopEntry
        fields = ("contact", "reason")

    def clean_contact(self) -> str:
        try:
            contact = email_address(self.cleaned_data["contact"]).contact
        except InvalidInput as error:
            raise ValidationError(f"{str(error).capitalize()}.") from error
        if StopEntry.objects.filter(channel="email", contact=contact).exists():
            raise ValidationError("This address is on the stop list already.")
        return contact


@admin.register(StopEntry)
class StopAdmin(AdministratorAdmin):
    form = StopForm
    list_display = ("contact", "channel", "reason", "at")
    search_fields = ("^contact",)
    show_full_result_count = False
    ordering = ("-pk",)
    fields = ("contact", "reason")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An entry is made or taken away, never changed."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may_change(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.channel = "email"
        obj.save()
        record(request, obj, "stopped")

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        record(request, obj, "taken off the stop list")
        obj.delete()
