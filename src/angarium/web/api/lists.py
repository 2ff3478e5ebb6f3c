"""Lists of profiles, the audiences, and resources, what people subscribe to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.web.api.bodies import Body, Link, RowId, save
from angarium.web.api.caller import Caller, caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.directory.models import ListEntry, Profile, ProfileList, Resource
from angarium.web.sending import usage

router = rows_router("Lists")
resources = rows_router("Resources")


class NamedIn(Body):
    account: RowId | None = Field(None, description="May be left out where the caller edits one account.")
    name: str


class Rename(Body):
    name: str


class ListOut(Schema):
    id: int
    account: Link
    name: str
    created: datetime
    size: int

    @staticmethod
    def resolve_size(row: Any) -> int:
        counted: int | None = getattr(row, "size", None)
        return ListEntry.objects.filter(list=row.id).count() if counted is None else counted


class ResourceOut(Schema):
    id: int
    account: Link
    name: str


class Members(Body):
    profiles: list[RowId] = Field(max_length=10_000)


class Changed(Schema):
    changed: int = Field(description="How many of them were not so before.")


@router.get("", response=Page[ListOut], summary="Lists the lists")
def list_lists(
    request: HttpRequest, paging: Query[Paging], account: int | None = None, name: str = ""
) -> object:
    rows = caller(request).own(ProfileList.objects.filter(name__icontains=name), account=account)
    return page(rows.select_related("account").annotate(size=Count("entries")), paging)


@router.post("", response={201: ListOut}, summary="Creates a list")
def create_list(request: HttpRequest, body: NamedIn) -> object:
    row = ProfileList(account=caller(request).account_for_new(body.account))
    save(row, {"name": body.name})
    return Status(201, row)


@router.get("/{int:number}", response=ListOut, summary="Shows a list")
def get_list(request: HttpRequest, number: int) -> object:
    return caller(request).find(ProfileList.objects.all(), pk=number)


@router.patch("/{int:number}", response=ListOut, summary="Renames a list")
def rename_list(request: HttpRequest, number: int, body: Rename) -> object:
    row = _own_list(caller(request), number)
    save(row, body.dict())
    return row


@router.delete("/{int:number}", response={204: None}, summary="Deletes a list that no mailing names")
def delete_list(request: HttpRequest, number: int) -> object:
    """The profiles stay."""
    usage.delete(_own_list(caller(request), number))
    return Status(204, None)


@router.post("/{int:number}/add", response=Changed, summary="Puts profiles into a list")
def add_to_list(request: HttpRequest, number: int, body: Members) -> object:
    """Profiles that are not the account's are passed over."""
    row = _own_list(caller(request), number)
    known = set(
        Profile.objects.filter(account=row.account_id, pk__in=body.profiles).values_list("pk", flat=True)
    )
    known -= set(row.entries.filter(profile__in=known).values_list("profile_id", flat=True))
    entries = [ListEntry(list=row, profile_id=profile) for profile in sorted(known)]
    ListEntry.objects.bulk_create(entries, ignore_conflicts=True)
    return {"changed": len(entries)}


@router.post("/{int:number}/remove", response=Changed, summary="Takes profiles out of a list")
def remove_from_list(request: HttpRequest, number: int, body: Members) -> object:
    row = _own_list(caller(request), number)
    return {"changed": row.entries.filter(profile__in=body.profiles).delete()[0]}


def _own_list(me: Caller, number: int) -> ProfileList:
    row = me.find(ProfileList.objects.all(), pk=number)
    me.must_edit(row.account_id)
    return row


@resources.get("", response=Page[ResourceOut], summary="Lists resources")
def list_resources(request: HttpRequest, paging: Query[Paging], account: int | None = None) -> object:
    return page(caller(request).own(Resource.objects.select_related("account"), account=account), paging)


@resources.post("", response={201: ResourceOut}, summary="Creates a resource")
def create_resource(request: HttpRequest, body: NamedIn) -> object:
    row = Resource(account=caller(request).account_for_new(body.account))
    save(row, {"name": body.name})
    return Status(201, row)
