"""Imports of profiles: the file, its progress, and the lines that were refused."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from angarium.errors import InvalidInput
from angarium.web.access import current
from angarium.web.access.journal import record
from angarium.web.access.pages import AccountAdmin, page_context
from angarium.web.directory import uploads
from angarium.web.directory.models import ImportRun, ProfileList, Resource
from angarium.web.widgets import Choice, OneFile, Text

SILENT_AFTER: Final = timedelta(minutes=2)
"""An import that has not moved for so long died with its process."""
ENCODINGS: Final = [("", "Found out"), ("utf-8", "UTF-8"), ("cp1251", "Windows-1251 (Cyrillic)")]
DELIMITERS: Final = [("", "Found out"), (",", "Comma"), (";", "Semicolon"), ("\t", "Tab")]


class ImportForm(forms.Form):
    file = forms.FileField(
        label="CSV file",
        widget=OneFile(accept=".csv,.txt,text/csv"),
        help_text="The first line names the columns; one of them is email. The others become attributes.",
    )
    into = forms.ModelChoiceField(
        ProfileList.objects.none(),
        required=False,
        label="Put on the list",
        widget=Choice,
        empty_label="no list",
    )
    resource = forms.ModelChoiceField(
        Resource.objects.none(), required=False, label="Subscribe to", widget=Choice, empty_label="nothing",
        help_text="Nobody who unsubscribed, complained or bounced is subscribed again.",
    )  # fmt: skip
    encoding = forms.ChoiceField(choices=ENCODINGS, required=False, widget=Choice)
    delimiter = forms.ChoiceField(choices=DELIMITERS, required=False, widget=Choice)
    key = forms.CharField(
        max_length=200, required=False, label="Column with your own id", widget=Text,
        help_text="Empty: people are recognised by their e-mail address.",
    )  # fmt: skip
    status = forms.CharField(
        max_length=200, required=False, label="Column with subscription statuses", widget=Text,
        help_text="Such as subscribed or unsubscribed; empty: the file does not say.",
    )  # fmt: skip

    def __init__(self, account: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["into"].queryset = ProfileList.objects.filter(account=account).order_by("name")  # type: ignore[attr-defined]
        self.fields["resource"].queryset = Resource.objects.filter(account=account).order_by("name")  # type: ignore[attr-defined]

    def options(self) -> dict[str, Any]:
        """As `uploads.start` takes them."""
        values = {
            name: self.cleaned_data[name] or None for name in ("encoding", "delimiter", "key", "status")
        }
        for name in ("into", "resource"):
            values[name] = self.cleaned_data[name].pk if self.cleaned_data[name] else None
        return values


def state(run: ImportRun) -> str:
    """In words. An import whose process died can only be told by its silence."""
    if run.state == "running" and timezone.now() - run.updated > SILENT_AFTER:
        return "Interrupted"
    return run.state.capitalize()


@admin.register(ImportRun)
class ImportAdmin(AccountAdmin):
    list_display = (
        "file_link",
        "state_words",
        "lines",
        "created_profiles",
        "updated_profiles",
        "rejected",
        "started",
    )
    list_display_links = ("file_link",)
    search_fields = ("filename",)
    ordering = ("-pk",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="File")
    def file_link(self, obj: ImportRun) -> str:
        return obj.filename or f"import {obj.pk}"

    @admin.display(description="State")
    def state_words(self, obj: ImportRun) -> str:
        return state(obj)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        account = current.new_object_account(request)
        if not self.may_change(request) or account is None:
            return super().add_view(request, form_url, extra_context)
        initial = {name: request.GET.get(name) for name in ("into", "resource") if request.GET.get(name)}
        form = ImportForm(account.pk, request.POST or None, request.FILES or None, initial=initial)
        if request.method == "POST" and form.is_valid():
            try:
                return self._started(request, account.pk, form)
            except InvalidInput as error:
                form.add_error("file", f"{str(error)[:1].upper()}{str(error)[1:]}.")
        context = page_context(request, f"Import into {account}", form=form)
        return TemplateResponse(request, "directory/import.html", context)

    def _started(self, request: HttpRequest, account: int, form: ImportForm) -> HttpResponse:
        file = form.cleaned_data["file"]
        number = uploads.start(account, file, file.name or "", **form.options())
        record(request, ImportRun.objects.get(pk=number), "imported", file=file.name)
        return redirect("admin:directory_importrun_change", number)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        run = self._find(request, object_id)
        fragment = bool(request.headers.get("HX-Request"))
        context = page_context(request, f"Import of {run.filename}", run=run, state=state(run))
        template = "directory/import_figures.html" if fragment else "directory/import_run.html"
        return TemplateResponse(request, template, context)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.rejections)
        return [
            path("<int:object_id>/rejections.csv", view, name="directory_importrun_rejections"),
            *super().get_urls(),
        ]

    def rejections(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The refused lines as CSV."""
        run = self._find(request, str(object_id))
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="import-{run.pk}-rejected.csv"'
        writer = csv.writer(response)
        writer.writerow(("line", "reason", "text"))
        writer.writerows((row["line"], row["reason"], row["text"]) for row in run.rejections)
        return response

    def _find(self, request: HttpRequest, object_id: str) -> ImportRun:
        run: ImportRun | None = self.get_object(request, object_id)
        if run is None:
            raise Http404
        return run
