"""Nodes, the sending servers, and their IP addresses."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.web.api.bodies import Answer, Body, Flag, Link, Partial, RowId, given, save
from angarium.web.api.caller import caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import usage
from angarium.web.sending.models import IpAddress, Node

router = rows_router("Nodes")
addresses = rows_router("IP addresses")


class NodeIn(Body):
    name: str = Field(description="As the server's setting `mta.node` says.")
    active: Flag = Field(True, description="False: it sends nothing.")


class NodeChanges(NodeIn, Partial):
    """Only what changes."""


class NodeAddress(Schema):
    id: int
    address: str
    hostname: str


class NodeOut(NodeIn, Answer):
    id: int
    seen: datetime | None = Field(description="Its last sign of life.")
    version: int = Field(description="The settings version it runs.")
    notice: str = Field(description="What a person should know about it; empty: all is well.")
    addresses: list[NodeAddress]


class AddressIn(Body):
    node: RowId
    address: str = Field(description="IPv4 or IPv6.")
    hostname: str = Field("", description="The name to greet with; empty: the address's reverse name.")


class AddressChanges(AddressIn, Partial):
    """Only what changes."""


class AddressOut(AddressIn, Answer):
    id: int
    node: Link


@router.get("", response=Page[NodeOut], summary="Lists nodes and their state")
def list_nodes(request: HttpRequest, paging: Query[Paging], name: str = "") -> object:
    caller(request).must_see_platform()
    return page(Node.objects.filter(name__icontains=name).prefetch_related("addresses"), paging)


@router.post("", response={201: NodeOut}, summary="Creates a node")
def create_node(request: HttpRequest, body: NodeIn) -> object:
    caller(request).must_edit_platform()
    save(row := Node(), body.dict())
    return Status(201, row)


@router.get("/{int:node}", response=NodeOut, summary="Shows a node and its state")
def get_node(request: HttpRequest, node: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(Node, pk=node)


@router.patch("/{int:node}", response=NodeOut, summary="Renames a node, stops or starts its sending")
def update_node(request: HttpRequest, node: int, body: NodeChanges) -> object:
    caller(request).must_edit_platform()
    save(row := get_object_or_404(Node, pk=node), given(body))
    return row


@router.delete("/{int:node}", response={204: None}, summary="Deletes a node without IP addresses")
def delete_node(request: HttpRequest, node: int) -> object:
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(Node, pk=node))
    return Status(204, None)


@addresses.get("", response=Page[AddressOut], summary="Lists IP addresses")
def list_addresses(request: HttpRequest, paging: Query[Paging], node: int | None = None) -> object:
    caller(request).must_see_platform()
    rows = IpAddress.objects.select_related("node")
    return page(rows.filter(node=node) if node is not None else rows, paging)


@addresses.post("", response={201: AddressOut}, summary="Gives a node an IP address")
def create_address(request: HttpRequest, body: AddressIn) -> object:
    caller(request).must_edit_platform()
    save(row := IpAddress(), body.dict())
    return Status(201, row)


@addresses.get("/{int:address}", response=AddressOut, summary="Shows an IP address")
def get_address(request: HttpRequest, address: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(IpAddress, pk=address)


@addresses.patch("/{int:address}", response=AddressOut, summary="Changes an IP address")
def update_address(request: HttpRequest, address: int, body: AddressChanges) -> object:
    caller(request).must_edit_platform()
    save(row := get_object_or_404(IpAddress, pk=address), given(body))
    return row


@addresses.delete("/{int:address}", response={204: None}, summary="Deletes an IP address that no sender uses")
def delete_address(request: HttpRequest, address: int) -> object:
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(IpAddress, pk=address))
    return Status(204, None)
