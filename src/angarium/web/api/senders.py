"""Senders: what carries the messages of a channel; here our own SMTP."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from ninja.errors import HttpError
from pydantic import Field

from angarium.domain.sending import DoubtPolicy, TlsPolicy
from angarium.web.api.bodies import Body, Flag, Link, Links, Partial, RowId, Whole, given
from angarium.web.api.caller import Caller, caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import senders, usage
from angarium.web.sending.models import Sender

router = rows_router("Senders")


class OverrideIn(Body):
    strategy: RowId
    address: RowId | None = Field(None, description="IP address; null: any.")
    isp: RowId | None = Field(None, description="Null: any.")


class OverrideOut(Schema):
    strategy: Link
    address: Link | None
    isp: Link | None


class SenderIn(Body):
    name: str
    active: Flag = True
    accounts: list[RowId] = Field(default=[], description="Who may use it.")
    addresses: list[RowId] = Field(default=[], description="IP addresses it sends from.")
    strategy: RowId | None = Field(None, description="Null: the default strategy.")
    overrides: list[OverrideIn] = Field(
        default=[], description="Other strategies for one IP, one ISP, or one of both."
    )
    retry_rule: RowId | None = Field(None, description="Null: the default rules decide.")
    dkim_keys: list[RowId] = []
    doubt: DoubtPolicy = Field(
        DoubtPolicy.RETRY, description="What happens to messages sent without a known answer."
    )
    life: Whole = Field(86_400, description="Seconds a message is tried for, from its publishing.")
    bounce_domain: str = Field("", description="Of the envelope sender; empty: the From domain.")
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC


class SenderChanges(SenderIn, Partial):
    """Only what changes; lists replace what was there."""


class MtaOut(Schema):
    """How it sends; postmasters see it."""

    addresses: Links
    strategy: Link | None
    overrides: list[OverrideOut]
    retry_rule: Link | None
    dkim_keys: Links
    doubt: DoubtPolicy
    life: int
    bounce_domain: str
    tls: TlsPolicy


class SenderOut(Schema):
    id: int
    name: str
    channel: str
    kind: str
    active: bool
    accounts: list[int]
    mta: MtaOut | None = Field(None, description="Null for those who do not see the platform's settings.")


@router.get("", response=Page[SenderOut], summary="Lists senders")
def list_senders(request: HttpRequest, paging: Query[Paging], name: str = "") -> object:
    """Postmasters see all; others those that their accounts may use."""
    me = caller(request)
    found = page(_seen(me).filter(name__icontains=name), paging)
    return {**found, "items": [_shown(row, me) for row in found["items"]]}


@router.post("", response={201: SenderOut}, summary="Creates a sender")
def create_sender(request: HttpRequest, body: SenderIn) -> object:
    me = caller(request)
    me.must_edit_platform()
    return Status(201, _shown(senders.write(Sender(), body.dict()), me))


@router.get("/{int:sender}", response=SenderOut, summary="Shows a sender")
def get_sender(request: HttpRequest, sender: int) -> object:
    me = caller(request)
    return _shown(get_object_or_404(_seen(me), pk=sender), me)


@router.patch("/{int:sender}", response=SenderOut, summary="Changes a sender")
def update_sender(request: HttpRequest, sender: int, body: SenderChanges) -> object:
    me = caller(request)
    row = _to_change(me, sender)
    return _shown(senders.write(row, given(body)), me)


@router.delete("/{int:sender}", response={204: None}, summary="Deletes a sender that no mailing names")
def delete_sender(request: HttpRequest, sender: int) -> object:
    usage.delete(_to_change(caller(request), sender))
    return Status(204, None)


def _seen(me: Caller) -> QuerySet[Sender]:
    rows = Sender.objects.select_related("mta").prefetch_related("accounts")
    if me.sees_platform:
        return rows.prefetch_related("mta__addresses", "mta__dkim_keys", "mta__overrides")
    return me.own(rows, "accounts").distinct()


def _to_change(me: Caller, number: int) -> Sender:
    row = _seen(me).filter(pk=number).first()
    if row is None:
        raise Http404
    if not me.sees_platform:
        raise HttpError(403, "Your account may use this sender, not change it.")
    me.must_edit_platform()
    return row


def _shown(row: Sender, me: Caller) -> dict[str, Any]:
    accounts = [account.pk for account in row.accounts.all()]
    if not me.sees_platform:
        visible = set(me.accounts.values_list("pk", flat=True))
        accounts = [account for account in accounts if account in visible]
    return {
        **{name: getattr(row, name) for name in ("id", "name", "channel", "kind", "active")},
        "accounts": accounts,
        "mta": getattr(row, "mta", None) if me.sees_platform else None,
    }
