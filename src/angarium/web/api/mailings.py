"""Mailings: a template, an audience, a channel, a sender. Launching them is in `launches`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.errors import InvalidInput
from angarium.store import launches
from angarium.web.api.bodies import Body, Flag, Link, Links, Moment, Partial, RowId, Whole, given
from angarium.web.api.caller import Caller, caller
from angarium.web.api.errors import Invalid
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.mailings import writing
from angarium.web.mailings.models import Mailing
from angarium.web.sending import usage

router = rows_router("Mailings")


class Condition(Body):
    field: str = Field(description="A profile attribute, or `subscription.…`.")
    operator: str = Field(description="equal, not_equal, contains, in, empty, not_empty, greater or less.")
    value: str | int | float | bool | list[Any] | None = None


class MailingFields(Body):
    name: str
    active: Flag = True
    template: RowId
    audience: RowId = Field(description="The list it goes to.")
    resource: RowId = Field(description="Whose subscriptions count.")
    sender: RowId
    urgent: Flag = Field(False, description="Takes the priority queue.")
    from_address: str = ""
    from_name: str = ""
    reply_to: str = ""
    to_name: str = Field("", description="For the To header, for example `{{ name }}`.")
    headers: dict[str, str] = Field(default={}, description="Further header fields.")
    filters: list[Condition] = Field(default=[], description="Conditions, all of which must hold.")
    suppression_lists: list[RowId] = []
    policy: RowId | None = Field(None, description="Sending policy; null: the resource's or account's.")
    launch_limit: Whole | None = Field(None, ge=1, le=2_147_483_647, description="Most messages a launch.")
    life: Whole | None = Field(None, description="Seconds a message is tried for; null: as the sender says.")
    not_after: Moment | None = Field(None, description="Nothing is sent after this moment.")


class MailingIn(MailingFields):
    account: RowId | None = Field(None, description="May be left out where the caller edits one account.")


class MailingChanges(MailingFields, Partial):
    """Only what changes."""


class MailingOut(Schema):
    id: int
    account: Link
    name: str
    channel: str
    active: bool
    template: Link
    audience: Link
    resource: Link
    sender: Link
    urgent: bool
    from_address: str
    from_name: str
    reply_to: str
    to_name: str
    headers: dict[str, str]
    filters: list[dict[str, Any]]
    suppression_lists: Links
    policy: Link | None
    launch_limit: int | None
    life: int | None
    not_after: datetime | None
    created: datetime
    updated: datetime


class Validity(Schema):
    problems: list[str] = Field(
        description="What keeps the mailing from being launched; empty: nothing does."
    )


class PreviewOut(Schema):
    """The message as one profile would get it."""

    subject: str
    html: str
    text: str
    to_name: str
    address: str
    profile: int | None
    from_address: str
    from_name: str


@router.get("", response=Page[MailingOut], summary="Lists mailings")
def list_mailings(
    request: HttpRequest, paging: Query[Paging], account: int | None = None, name: str = "",
    active: bool | None = None, sender: int | None = None,
) -> object:  # fmt: skip
    rows = caller(request).own(Mailing.objects.filter(name__icontains=name), account=account)
    wanted = {"active": active, "sender": sender}
    rows = rows.filter(**{key: value for key, value in wanted.items() if value is not None})
    linked = rows.select_related("account", "template", "audience", "resource", "sender", "policy")
    found = page(linked.prefetch_related("suppression_lists"), paging, newest_first=True)
    return {**found, "items": [_shown(row) for row in found["items"]]}


@router.post("", response={201: MailingOut}, summary="Creates a mailing")
def create_mailing(request: HttpRequest, body: MailingIn) -> object:
    row = Mailing(account=caller(request).account_for_new(body.account))
    writing.write_mailing(row, body.dict(exclude={"account"}))
    return Status(201, _shown(row))


@router.get("/{int:number}", response=MailingOut, summary="Shows a mailing")
def get_mailing(request: HttpRequest, number: int) -> object:
    return _shown(caller(request).find(Mailing.objects.all(), pk=number))


@router.patch("/{int:number}", response=MailingOut, summary="Changes a mailing")
def update_mailing(request: HttpRequest, number: int, body: MailingChanges) -> object:
    """A launch that is running goes on as it began."""
    row = to_change(caller(request), number)
    writing.write_mailing(row, given(body))
    return _shown(row)


@router.delete("/{int:number}", response={204: None}, summary="Deletes a mailing that was never launched")
def delete_mailing(request: HttpRequest, number: int) -> object:
    row = to_change(caller(request), number)
    if row.launches.exists():
        raise usage.InUse("A mailing that was launched stays, for its reports; make it inactive.", [])
    row.delete()
    return Status(204, None)


@router.get("/{int:number}/validate", response=Validity, summary="Says whether a mailing can be launched")
def validate_mailing(request: HttpRequest, number: int) -> object:
    return {"problems": launches.validate(caller(request).find(Mailing.objects.all(), pk=number))}


@router.get(
    "/{int:number}/preview", response=PreviewOut, summary="Shows the message as a profile would get it"
)
def preview_mailing(request: HttpRequest, number: int, profile: int | None = None) -> object:
    """Without `profile`: as the first of the audience would."""
    row = caller(request).find(Mailing.objects.all(), pk=number)
    try:
        shown = launches.preview(row.account_id, row.pk, profile)
    except InvalidInput as error:
        raise Invalid({}, str(error)) from None
    return PreviewOut.model_validate(shown, from_attributes=True).model_copy(
        update={"profile": shown.profile or None}
    )


def to_change(me: Caller, number: int) -> Mailing:
    row = me.find(Mailing.objects.select_related("account"), pk=number)
    me.must_edit(row.account_id)
    return row


def _shown(row: Mailing) -> dict[str, Any]:
    """The row, its options flat."""
    plain = ("from_address", "from_name", "reply_to", "to_name")
    options = row.options or {}
    fields = [name for name in MailingOut.model_fields if name not in (*plain, "headers")]
    headers = options.get("headers") or {}
    return {
        **{name: getattr(row, name) for name in fields},
        **{name: str(options.get(name, "")) for name in plain},
        "headers": headers if isinstance(headers, dict) else dict(headers),
    }
