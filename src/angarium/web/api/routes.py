"""Routes: where mail for a domain goes instead of its MX."""

from __future__ import annotations

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.domain.sending import TlsPolicy
from angarium.web.api.bodies import Body, Link, Partial, RowId, Whole, given, save
from angarium.web.api.caller import caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import usage
from angarium.web.sending.models import Route

router = rows_router("Routes")


class RouteIn(Body):
    domain: str = Field(description="A recipient domain, or `*` for all.")
    sender: RowId | None = Field(None, description="Null: every sender.")
    host: str = Field(description="A name or an IP address.")
    port: Whole = 25
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    username: str = ""
    password: str = Field("", description="Kept encrypted and never shown.")


class RouteChanges(RouteIn, Partial):
    """Only what changes."""


class RouteOut(Schema):
    id: int
    domain: str
    sender: Link | None
    host: str
    port: int
    tls: TlsPolicy
    username: str


@router.get("", response=Page[RouteOut], summary="Lists routes")
def list_routes(request: HttpRequest, paging: Query[Paging], domain: str = "") -> object:
    caller(request).must_see_platform()
    return page(Route.objects.filter(domain__icontains=domain).select_related("sender"), paging)


@router.post("", response={201: RouteOut}, summary="Creates a route")
def create_route(request: HttpRequest, body: RouteIn) -> object:
    caller(request).must_edit_platform()
    save(row := Route(), body.dict())
    return Status(201, row)


@router.get("/{int:route}", response=RouteOut, summary="Shows a route")
def get_route(request: HttpRequest, route: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(Route, pk=route)


@router.patch("/{int:route}", response=RouteOut, summary="Changes a route")
def update_route(request: HttpRequest, route: int, body: RouteChanges) -> object:
    caller(request).must_edit_platform()
    save(row := get_object_or_404(Route, pk=route), given(body))
    return row


@router.delete("/{int:route}", response={204: None}, summary="Deletes a route")
def delete_route(request: HttpRequest, route: int) -> object:
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(Route, pk=route))
    return Status(204, None)
