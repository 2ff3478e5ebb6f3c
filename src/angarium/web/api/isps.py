"""ISPs: mailbox providers, each a named set of recipient domains."""

from __future__ import annotations

from typing import Annotated, Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Status
from pydantic import Field

from angarium.domain.sending import Encoding
from angarium.web.api.bodies import Answer, Body, Partial, given, save
from angarium.web.api.caller import caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import usage
from angarium.web.sending.models import Isp, IspDomain
from angarium.web.sending.validation import domain_name

router = rows_router("ISPs")


Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class IspIn(Body):
    name: str
    domains: list[str] = Field(default=[], description="Recipient domains; each belongs to one ISP.")
    mx_suffixes: list[str] = Field(default=[], description='MX host suffixes such as ".google.com".')
    html_encoding: Encoding = "auto"
    text_encoding: Encoding = "auto"
    add_headers: list[Pair] = Field(default=[], description="Pairs of name and value.")
    remove_headers: list[str] = []


class IspChanges(IspIn, Partial):
    """Only what changes."""


class IspOut(IspIn, Answer):
    id: int
    builtin: bool
    edited: bool

    @staticmethod
    def resolve_domains(row: Any) -> list[str]:
        return sorted(domain.domain for domain in row.domains.all())


@router.get("", response=Page[IspOut], summary="Lists ISPs")
def list_isps(request: HttpRequest, paging: Query[Paging], name: str = "", domain: str = "") -> object:
    caller(request).must_see_platform()
    rows = Isp.objects.filter(name__icontains=name).prefetch_related("domains")
    return page(rows.filter(domains__domain=domain.lower()) if domain else rows, paging)


@router.post("", response={201: IspOut}, summary="Creates an ISP")
def create_isp(request: HttpRequest, body: IspIn) -> object:
    caller(request).must_edit_platform()
    return Status(201, write(Isp(), body.dict()))


@router.get("/{int:isp}", response=IspOut, summary="Shows an ISP")
def get_isp(request: HttpRequest, isp: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(Isp, pk=isp)


@router.patch("/{int:isp}", response=IspOut, summary="Changes an ISP")
def update_isp(request: HttpRequest, isp: int, body: IspChanges) -> object:
    """`domains`, where given, replaces all of them."""
    caller(request).must_edit_platform()
    return write(get_object_or_404(Isp, pk=isp), given(body))


@router.delete("/{int:isp}", response={204: None}, summary="Deletes an ISP that nothing uses")
def delete_isp(request: HttpRequest, isp: int) -> object:
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(Isp, pk=isp))
    return Status(204, None)


def write(row: Isp, values: dict[str, Any]) -> Isp:
    """Saves the values; `domains`, where named, replaces all of them. Raises `ValidationError`."""
    domains = values.pop("domains", None)
    save(row, values)
    if domains is not None:
        _replace_domains(row, domains)
    return row


def _replace_domains(row: Isp, domains: list[str]) -> None:
    try:
        wanted = {domain_name(domain) for domain in domains}
    except ValueError as error:
        raise ValidationError({"domains": str(error)}) from None
    if taken := IspDomain.objects.filter(domain__in=wanted).exclude(isp=row).select_related("isp").first():
        raise ValidationError({"domains": f"{taken.domain} belongs to the ISP {taken.isp}."})
    kept = set(row.domains.values_list("domain", flat=True))
    for gone in row.domains.exclude(domain__in=wanted):
        gone.delete()
    for domain in sorted(wanted - kept):
        IspDomain.objects.create(isp=row, domain=domain)
