"""Imports: a CSV file into profiles, subscriptions and a list."""

from __future__ import annotations

from datetime import datetime
from typing import IO, Any, cast

from django.http import HttpRequest
from ninja import File, Form, Query, Router, Schema, Status, UploadedFile
from pydantic import Field

from angarium.web.access.journal import record
from angarium.web.api.bodies import Body, Link
from angarium.web.api.caller import caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.directory import uploads
from angarium.web.directory.models import ImportRun

router = Router(tags=["Imports"])


class ImportIn(Body):
    account: int | None = Field(None, description="May be left out where the caller edits one account.")
    resource: int | None = Field(None, description="What the addresses are subscribed to.")
    into: int | None = Field(None, alias="list", description="The list the profiles are put on.")
    key: str = Field("", description="The column with your own id; empty: the e-mail address.")
    status: str = Field("", description="The column with subscription statuses.")
    encoding: str = Field("", description="Empty: found out.")
    delimiter: str = Field("", description="Empty: found out.")


class ImportOut(Schema):
    id: int
    account: Link
    filename: str
    state: str = Field(description="running, finished or failed.")
    lines: int
    created_profiles: int
    updated_profiles: int
    unchanged_profiles: int
    rejected: int
    started: datetime
    finished: datetime | None
    error: str


class Rejection(Schema):
    line: int
    reason: str
    text: str


class ImportDetail(ImportOut):
    rejections: list[Rejection] = Field(description="The first 1,000.")


@router.post("", response={202: ImportDetail}, summary="Imports a CSV file")
def create_import(request: HttpRequest, file: File[UploadedFile], body: Form[ImportIn]) -> object:
    """Begins it; follow it by its id. The same file imported again changes nothing."""
    account = caller(request).account_for_new(body.account)
    named: dict[str, Any] = body.dict(exclude={"account"})
    options = {name: value for name, value in named.items() if value not in ("", None)}
    number = uploads.start(account.pk, cast(IO[bytes], file.file), file.name or "", **options)
    row = ImportRun.objects.get(pk=number)
    record(request, row, "imported", file=row.filename)
    return Status(202, row)


@router.get("", response=Page[ImportOut], summary="Lists imports, the newest first")
def list_imports(request: HttpRequest, paging: Query[Paging], account: int | None = None) -> object:
    rows = caller(request).own(ImportRun.objects.select_related("account"), account=account)
    return page(rows, paging, newest_first=True)


@router.get("/{int:number}", response=ImportDetail, summary="Shows an import and the lines it refused")
def get_import(request: HttpRequest, number: int) -> object:
    return caller(request).find(ImportRun.objects.all(), pk=number)
