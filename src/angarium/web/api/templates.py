"""Templates: subject, preheader, HTML, text, and the files that go with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import File, Query, Schema, Status, UploadedFile
from pydantic import Field

from angarium.web.api.bodies import Body, Link, Partial, RowId, given
from angarium.web.api.caller import Caller, caller
from angarium.web.api.errors import Invalid
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.mailings import files, writing
from angarium.web.mailings.models import Template, TemplateFile
from angarium.web.sending import usage

router = rows_router("Templates")


class Parts(Body):
    name: str
    subject: str
    preheader: str = Field("", description="Shown after the subject in the inbox, hidden in the message.")
    html: str = ""
    text: str = Field("", description="Empty: made from the HTML when the mailing is launched.")


class TemplateIn(Parts):
    account: RowId | None = Field(None, description="May be left out where the caller edits one account.")


class TemplateChanges(Parts, Partial):
    """Only what changes."""


class FileOut(Schema):
    id: int
    filename: str
    content_type: str
    content_id: str = Field(description="For a picture in the HTML, which names it as cid:…")
    size: int

    @staticmethod
    def resolve_size(row: Any) -> int:
        return int(row.blob.size)


class TemplateOut(Schema):
    id: int
    account: Link
    name: str
    channel: str
    subject: str
    preheader: str
    html: str
    text: str
    files: list[FileOut]
    updated: datetime

    @staticmethod
    def resolve_subject(row: Any) -> str:
        return str(row.content.get("subject", ""))

    @staticmethod
    def resolve_preheader(row: Any) -> str:
        return str(row.content.get("preheader", ""))

    @staticmethod
    def resolve_html(row: Any) -> str:
        return str(row.content.get("html", ""))

    @staticmethod
    def resolve_text(row: Any) -> str:
        return str(row.content.get("text", ""))

    @staticmethod
    def resolve_files(row: Any) -> list[Any]:
        return list(row.files.select_related("blob").defer("blob__content"))


@router.get("", response=Page[TemplateOut], summary="Lists templates")
def list_templates(
    request: HttpRequest, paging: Query[Paging], account: int | None = None, name: str = ""
) -> object:
    rows = Template.objects.filter(name__icontains=name).select_related("account")
    return page(caller(request).own(rows, account=account), paging)


@router.post("", response={201: TemplateOut}, summary="Creates a template")
def create_template(request: HttpRequest, body: TemplateIn) -> object:
    """What would fail for every recipient is refused at the part it is in."""
    row = Template(account=caller(request).account_for_new(body.account))
    writing.write_template(row, body.dict())
    return Status(201, row)


@router.get("/{int:number}", response=TemplateOut, summary="Shows a template")
def get_template(request: HttpRequest, number: int) -> object:
    return caller(request).find(Template.objects.all(), pk=number)


@router.patch("/{int:number}", response=TemplateOut, summary="Changes a template")
def update_template(request: HttpRequest, number: int, body: TemplateChanges) -> object:
    row = _to_change(caller(request), number)
    writing.write_template(row, given(body))
    return row


@router.delete("/{int:number}", response={204: None}, summary="Deletes a template that no mailing names")
def delete_template(request: HttpRequest, number: int) -> object:
    usage.delete(_to_change(caller(request), number))
    return Status(204, None)


@router.post("/{int:number}/files", response={201: FileOut}, summary="Attaches a file")
def attach_file(request: HttpRequest, number: int, file: File[UploadedFile]) -> object:
    """A picture that the HTML names as cid:its-file-name is shown there; one of the same name is replaced."""
    row = _to_change(caller(request), number)
    if (file.size or 0) > files.MOST_BYTES:
        raise Invalid({"file": f"A file has at most {files.MOST_BYTES // 1_000_000} MB."})
    return Status(201, files.attach(row, file.name or "file", file.content_type or "", file.read()))


@router.delete("/{int:number}/files/{int:file}", response={204: None}, summary="Removes a file")
def remove_file(request: HttpRequest, number: int, file: int) -> object:
    row = _to_change(caller(request), number)
    caller(request).find(TemplateFile.objects.filter(template=row), "template__account", pk=file).delete()
    return Status(204, None)


def _to_change(me: Caller, number: int) -> Template:
    row = me.find(Template.objects.all(), pk=number)
    me.must_edit(row.account_id)
    return row
