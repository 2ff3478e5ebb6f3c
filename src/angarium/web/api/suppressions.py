"""Suppression lists: contacts an account does not write to. And the platform's global stop list."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.web.api.bodies import Body, Flag, Link, Partial, RowId, given, save
from angarium.web.api.caller import Caller, caller
from angarium.web.api.errors import Invalid
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.directory.models import StopEntry, SuppressionEntry, SuppressionList
from angarium.web.sending.validation import domain_name

router = rows_router("Suppression lists")
stop_list = rows_router("Stop list")


class SuppressionListIn(Body):
    account: RowId | None = Field(None, description="May be left out where the caller edits one account.")
    name: str
    general: Flag = Field(False, description="Holds for every mailing of the account.")


class SuppressionListChanges(Body, Partial):
    name: str
    general: Flag


class SuppressionListOut(Schema):
    id: int
    account: Link
    name: str
    general: bool
    size: int

    @staticmethod
    def resolve_size(row: Any) -> int:
        counted: int | None = getattr(row, "size", None)
        return SuppressionEntry.objects.filter(list=row.id).count() if counted is None else counted


class EntryOut(Schema):
    id: int
    kind: str
    value: str


class Values(Body):
    values: list[str] = Field(max_length=10_000, description="E-mail addresses or domains.")


class Changed(Schema):
    changed: int = Field(description="How many of them were not so before.")


class StopEntryIn(Body):
    email: str
    reason: str = Field("", max_length=500)


class StopEntryOut(Schema):
    id: int
    channel: str
    contact: str
    reason: str
    at: datetime


@router.get("", response=Page[SuppressionListOut], summary="Lists suppression lists")
def list_suppression_lists(request: HttpRequest, paging: Query[Paging], account: int | None = None) -> object:
    rows = caller(request).own(SuppressionList.objects.select_related("account"), account=account)
    return page(rows.annotate(size=Count("entries")), paging)


@router.post("", response={201: SuppressionListOut}, summary="Creates a suppression list")
def create_suppression_list(request: HttpRequest, body: SuppressionListIn) -> object:
    row = SuppressionList(account=caller(request).account_for_new(body.account))
    save(row, {"name": body.name, "general": body.general})
    return Status(201, row)


@router.get("/{int:number}", response=SuppressionListOut, summary="Shows a suppression list")
def get_suppression_list(request: HttpRequest, number: int) -> object:
    return caller(request).find(SuppressionList.objects.all(), pk=number)


@router.patch("/{int:number}", response=SuppressionListOut, summary="Changes a suppression list")
def update_suppression_list(request: HttpRequest, number: int, body: SuppressionListChanges) -> object:
    row = _to_change(caller(request), number)
    save(row, given(body))
    return row


@router.delete("/{int:number}", response={204: None}, summary="Deletes a suppression list")
def delete_suppression_list(request: HttpRequest, number: int) -> object:
    """Mailings that named it do so no longer: whom it held back is written to again."""
    _to_change(caller(request), number).delete()
    return Status(204, None)


@router.get("/{int:number}/entries", response=Page[EntryOut], summary="Lists who is on a suppression list")
def list_suppressed(request: HttpRequest, number: int, paging: Query[Paging], value: str = "") -> object:
    row = caller(request).find(SuppressionList.objects.all(), pk=number)
    return page(row.entries.filter(value__startswith=value), paging)


@router.post("/{int:number}/add", response=Changed, summary="Puts addresses and domains on a list")
def suppress(request: HttpRequest, number: int, body: Values) -> object:
    """Nothing is changed when one of them is neither an address nor a domain."""
    row = _to_change(caller(request), number)
    wanted = dict.fromkeys(_compared(body.values))
    before = row.entries.count()
    entries = [SuppressionEntry(list=row, kind=kind, value=value) for kind, value in wanted]
    SuppressionEntry.objects.bulk_create(entries, ignore_conflicts=True)
    return {"changed": row.entries.count() - before}


@router.post("/{int:number}/remove", response=Changed, summary="Takes addresses and domains off a list")
def release(request: HttpRequest, number: int, body: Values) -> object:
    row = _to_change(caller(request), number)
    values = [value for _, value in _compared(body.values)]
    return {"changed": row.entries.filter(value__in=values).delete()[0]}


def _to_change(me: Caller, number: int) -> SuppressionList:
    row = me.find(SuppressionList.objects.all(), pk=number)
    me.must_edit(row.account_id)
    return row


def _compared(values: list[str]) -> list[tuple[str, str]]:
    """Kind and value as entries keep them. Raises `Invalid` naming the value by its place."""
    found, wrong = [], {}
    for number, value in enumerate(values):
        try:
            found.append(_kind(value))
        except (InvalidInput, ValueError) as error:
            wrong[f"values.{number}"] = str(error)
    if wrong:
        raise Invalid(wrong)
    return found


def _kind(value: str) -> tuple[str, str]:
    if "@" in value.strip().lstrip("@"):
        return SuppressionEntry.Kind.ADDRESS, email_address(value).contact
    return SuppressionEntry.Kind.DOMAIN, domain_name(value.strip().lstrip("@"))


@stop_list.get("", response=Page[StopEntryOut], summary="Lists the global stop list")
def list_stopped(request: HttpRequest, paging: Query[Paging], contact: str = "") -> object:
    """For administrators. `contact`: begins with."""
    caller(request).must_administer()
    return page(StopEntry.objects.filter(contact__startswith=contact), paging)


@stop_list.post("", response={201: StopEntryOut}, summary="Stops an address for all accounts")
def stop(request: HttpRequest, body: StopEntryIn) -> object:
    """An address that is there already stays as it is."""
    caller(request).must_administer()
    try:
        contact = email_address(body.email).contact
    except InvalidInput as error:
        raise Invalid({"email": str(error)}) from None
    row, _ = StopEntry.objects.get_or_create(
        channel="email", contact=contact, defaults={"reason": body.reason or "by hand"}
    )
    return Status(201, row)


@stop_list.delete("/{int:entry}", response={204: None}, summary="Takes an address off the stop list")
def unstop(request: HttpRequest, entry: int) -> object:
    caller(request).must_administer()
    get_object_or_404(StopEntry, pk=entry).delete()
    return Status(204, None)
