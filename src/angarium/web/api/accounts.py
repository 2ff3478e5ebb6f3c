"""Accounts: the tenants to which mailings, profiles and reports belong."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from ninja.errors import HttpError
from pydantic import Field

from angarium.web.access.models import Account
from angarium.web.api.bodies import Body, Flag, Partial, given, save
from angarium.web.api.caller import Caller, caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router

router = rows_router("Accounts")


class AccountIn(Body):
    name: str
    active: Flag = Field(True, description="False: nothing is launched.")


class AccountChanges(AccountIn, Partial):
    """Only what changes."""


class AccountOut(Schema):
    id: int
    name: str
    active: bool
    created: datetime
    may_edit: bool = Field(description="Whether the caller may change and launch in it.")


class Me(Schema):
    """Who the request comes from."""

    username: str
    role: str
    token: str | None = Field(description="The token's name; null: a session.")
    account: int | None = Field(
        description="The only account the token is good for; null: all of the user's."
    )


@router.get("/me", response=Me, summary="Says who is asking")
def who_am_i(request: HttpRequest) -> object:
    me = caller(request)
    return Me(
        username=me.user.username,
        role=me.user.role,
        token=me.token.name if me.token else None,
        account=me.token.account_id if me.token else None,
    )


@router.get("/accounts", response=Page[AccountOut], summary="Lists the accounts the caller sees")
def list_accounts(request: HttpRequest, paging: Query[Paging], name: str = "") -> object:
    me = caller(request)
    found = page(me.accounts.filter(name__icontains=name), paging)
    editable = set(me.editable_accounts.values_list("pk", flat=True))
    return {**found, "items": [_shown(row, row.pk in editable) for row in found["items"]]}


@router.post("/accounts", response={201: AccountOut}, summary="Creates an account")
def create_account(request: HttpRequest, body: AccountIn) -> object:
    """For administrators."""
    me = caller(request)
    me.must_administer()
    save(row := Account(), body.dict())
    return Status(201, _with_right(row, me))


@router.get("/accounts/{int:account}", response=AccountOut, summary="Shows an account")
def get_account(request: HttpRequest, account: int) -> object:
    me = caller(request)
    return _with_right(get_object_or_404(me.accounts, pk=account), me)


@router.patch("/accounts/{int:account}", response=AccountOut, summary="Renames or closes an account")
def update_account(request: HttpRequest, account: int, body: AccountChanges) -> object:
    """For administrators."""
    me = caller(request)
    row = get_object_or_404(me.accounts, pk=account)
    if not me.administers:
        raise HttpError(403, "Only administrators change accounts.")
    save(row, given(body))
    return _with_right(row, me)


def _with_right(row: Account, me: Caller) -> AccountOut:
    return _shown(row, me.editable_accounts.filter(pk=row.pk).exists())


def _shown(row: Account, may_edit: bool) -> AccountOut:
    return AccountOut(id=row.pk, name=row.name, active=row.active, created=row.created, may_edit=may_edit)
