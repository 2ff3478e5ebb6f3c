"""The form of an e-mail's content: texts and files, checked by the rules that render them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.files.uploadedfile import UploadedFile

from angarium.mailing import render
from angarium.web.mailings import files
from angarium.web.mailings.models import Template, TemplateFile
from angarium.web.widgets import Code, FileChoices, ManyFiles, Text

if TYPE_CHECKING:
    Upload = UploadedFile[Any]
else:
    Upload = UploadedFile

PARTS: Final = ("subject", "preheader", "html", "text")
_PART_OF: Final = re.compile(r"^(subject|preheader|html|text)(?:, line \d+)?: ")


class MultipleFiles(forms.FileField):
    widget = ManyFiles

    def clean(self, data: Any, initial: Any = None) -> list[Upload]:
        uploads = data if isinstance(data, list | tuple) else [data]
        return [super(MultipleFiles, self).clean(upload, initial) for upload in uploads if upload]


class ContentForm(forms.ModelForm):  # type: ignore[type-arg]
    """Edits a template's content. The row's template is `self.template`, perhaps not saved yet."""

    subject = forms.CharField(max_length=500, widget=Text)
    preheader = forms.CharField(
        max_length=500,
        required=False,
        widget=Text,
        help_text="Shown after the subject in the inbox, hidden in the message.",
    )
    html = forms.CharField(required=False, label="HTML", strip=False, widget=Code(rows=20))
    text = forms.CharField(
        required=False,
        strip=False,
        widget=Code(rows=8),
        help_text="Empty: made from the HTML when the mailing is launched.",
    )
    new_files = MultipleFiles(
        required=False,
        label="Add files",
        help_text="A picture that the HTML names as cid:its-file-name is shown there; others are attached.",
    )
    remove_files = forms.MultipleChoiceField(
        required=False, label="Files (tick to remove)", widget=FileChoices
    )

    template: Template
    initial: dict[str, Any]

    def load_content(self, template: Template) -> None:
        self.template = template
        content = template.content or {}
        self.initial |= {part: content.get(part, "") for part in PARTS}
        kept = list(template.files.select_related("blob").defer("blob__content")) if template.pk else []
        choices = [(str(file.pk), _described(file)) for file in kept]
        self.fields["remove_files"].choices = choices  # type: ignore[attr-defined]
        if not choices:
            self.fields["remove_files"].widget = forms.MultipleHiddenInput()

    def content(self) -> dict[str, str]:
        return {part: (self.cleaned_data.get(part) or "").replace("\r\n", "\n") for part in PARTS}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not self.errors.keys() & set(PARTS):
            for problem in render.problems(self.content()):
                named = _PART_OF.match(problem)
                self.add_error(named[1] if named else "html", problem)
        return values

    def clean_new_files(self) -> list[Upload]:
        uploads: list[Upload] = self.cleaned_data["new_files"]
        for upload in uploads:
            if (upload.size or 0) > files.MOST_BYTES:
                raise forms.ValidationError(
                    f"{upload.name} is larger than {files.MOST_BYTES // 1_000_000} MB."
                )
        return uploads

    def save_content(self) -> Template:
        """Stores texts and files. The template must have its account and name."""
        template = self.template
        template.content = {**(template.content or {}), **self.content()}
        template.save()
        template.files.filter(pk__in=self.cleaned_data.get("remove_files") or []).delete()
        for file in self.cleaned_data.get("new_files") or []:
            files.attach(template, file.name or "file", file.content_type or "", file.read())
        for row in template.files.all():
            files.place(row, template.content["html"])
        return template


def _described(file: TemplateFile) -> str:
    place = "in the HTML" if file.content_id else "attached"
    return f"{file.filename} – {file.blob.size / 1000:,.0f} kB, {place}"
