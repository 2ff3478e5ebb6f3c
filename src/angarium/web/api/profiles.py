"""Profiles, the people a mailing can reach, and their subscriptions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.errors import InvalidInput
from angarium.web.api.bodies import Body, Link, RowId
from angarium.web.api.caller import caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.directory import upsert
from angarium.web.directory.models import Profile, Subscription, SubscriptionStatus

router = rows_router("Profiles")
subscriptions = rows_router("Subscriptions")
BATCH = 1_000


class SubscriptionOut(Schema):
    id: int
    profile: Link
    resource: Link
    channel: str
    address: str
    status: SubscriptionStatus
    category: str
    provider: str
    fields: dict[str, Any]
    updated: datetime


class ProfileOut(Schema):
    id: int
    account: Link
    key: str
    attributes: dict[str, Any]
    created: datetime
    updated: datetime


class ProfileDetail(ProfileOut):
    subscriptions: list[SubscriptionOut]


class ProfileIn(Body):
    key: str = Field("", description="What the person is recognised by; empty: the e-mail address.")
    email: str = Field(
        "", description="Subscribed to the resource, unless the subscription is there already."
    )
    attributes: dict[str, Any] = Field(default={}, description="Merged into what is there; null removes.")


class ProfileBatch(Body):
    account: RowId | None = None
    resource: RowId | None = Field(None, description="What e-mail addresses are subscribed to.")
    into: RowId | None = Field(None, alias="list", description="The list all of them go into.")
    profiles: list[ProfileIn] = Field(min_length=1, max_length=BATCH)


class ItemOut(Schema):
    profile: int | None = Field(description="Null: refused.")
    created: bool = False
    error: str = ""


class Wanted(Schema):
    account: int | None = None
    key: str = Field("", description="Begins with.")
    email: str = Field("", description="Is exactly.")
    in_list: int | None = Field(None, alias="list", description="Is in that list.")


class StatusChange(Body):
    status: SubscriptionStatus


@router.get("", response=Page[ProfileOut], summary="Searches profiles")
def list_profiles(request: HttpRequest, paging: Query[Paging], wanted: Query[Wanted]) -> object:
    rows = caller(request).own(Profile.objects.select_related("account"), account=wanted.account)
    if wanted.key:
        rows = rows.filter(key__startswith=wanted.key)
    if wanted.email:
        found = Subscription.objects.filter(contact=upsert.contact(wanted.email), channel="email")
        rows = rows.filter(pk__in=found.values("profile"))
    if wanted.in_list is not None:
        rows = rows.filter(pk__in=upsert.members(wanted.in_list))
    return page(rows, paging)


@router.post("", response=list[ItemOut], summary="Creates or updates up to 1,000 profiles")
def upsert_profiles(request: HttpRequest, body: ProfileBatch) -> object:
    """The answers are aligned with the profiles; a refused one does not hold back the others."""
    me = caller(request)
    account = me.account_for_new(body.account)
    target = upsert.Target.of(account, resource=body.resource, into=body.into)
    results = []
    for item in body.profiles:
        try:
            profile, created = upsert.upsert(target, item.key, item.email, item.attributes)
            results.append(ItemOut(profile=profile.pk, created=created))
        except InvalidInput as error:
            results.append(ItemOut(profile=None, error=str(error)))
    return results


@router.get("/{int:profile}", response=ProfileDetail, summary="Shows a profile with its subscriptions")
def get_profile(request: HttpRequest, profile: int) -> object:
    return caller(request).find(Profile.objects.prefetch_related("subscriptions"), pk=profile)


@router.delete("/{int:profile}", response={204: None}, summary="Deletes a profile and its subscriptions")
def delete_profile(request: HttpRequest, profile: int) -> object:
    me = caller(request)
    row = me.find(Profile.objects.all(), pk=profile)
    me.must_edit(row.account_id)
    row.delete()
    return Status(204, None)


@subscriptions.get("", response=Page[SubscriptionOut], summary="Searches subscriptions")
def list_subscriptions(
    request: HttpRequest, paging: Query[Paging], account: int | None = None, profile: int | None = None,
    resource: int | None = None, email: str = "", status: SubscriptionStatus | None = None,
) -> object:  # fmt: skip
    rows = caller(request).own(Subscription.objects.all(), account=account)
    wanted = {
        "profile": profile, "resource": resource, "status": status,
        "contact": upsert.contact(email) if email else None,
    }  # fmt: skip
    rows = rows.filter(**{name: value for name, value in wanted.items() if value is not None})
    return page(rows.select_related("profile", "resource"), paging)


@subscriptions.patch(
    "/{int:subscription}", response=SubscriptionOut, summary="Changes a subscription's status"
)
def change_subscription(request: HttpRequest, subscription: int, body: StatusChange) -> object:
    me = caller(request)
    row = me.find(Subscription.objects.select_related("profile", "resource"), pk=subscription)
    me.must_edit(row.account_id)
    row.status = body.status
    row.save()
    return row
