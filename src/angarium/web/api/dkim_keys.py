"""DKIM keys. The private half is made here and never leaves."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.web.api.bodies import Body
from angarium.web.api.caller import caller
from angarium.web.api.errors import Invalid
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import dkim, usage
from angarium.web.sending.models import DkimKey

router = rows_router("DKIM keys")


class KeyIn(Body):
    domain: str = Field(description="The domain that signs.")
    selector: str
    algorithm: Literal["rsa", "ed25519"] = Field("rsa", description="RSA-2048 or Ed25519.")


class DnsRecordOut(Schema):
    name: str
    value: str
    zone: str = Field(description="As a line of a zone file.")


class KeyOut(Schema):
    id: int
    domain: str
    selector: str
    algorithm: str
    created: datetime
    record: DnsRecordOut = Field(description="The TXT record to publish.")

    @staticmethod
    def resolve_record(row: Any) -> dict[str, str]:
        return dkim.dns_record(row)._asdict()


@router.get("", response=Page[KeyOut], summary="Lists DKIM keys")
def list_dkim_keys(request: HttpRequest, paging: Query[Paging], domain: str = "") -> object:
    caller(request).must_see_platform()
    return page(DkimKey.objects.filter(domain__icontains=domain), paging)


@router.post("", response={201: KeyOut}, summary="Makes a DKIM key")
def create_dkim_key(request: HttpRequest, body: KeyIn) -> object:
    caller(request).must_edit_platform()
    try:
        row = dkim.new_key(body.domain, body.selector, body.algorithm)
        row.full_clean()
    except ValueError as error:
        field = "selector" if "selector" in str(error) else "domain"
        raise Invalid({field: str(error)}) from None
    except ValidationError as error:
        if NON_FIELD_ERRORS in error.message_dict:
            raise Invalid({"selector": "There is a key with this domain and selector."}) from None
        raise
    row.save()
    return Status(201, row)


@router.get("/{int:key}", response=KeyOut, summary="Shows a DKIM key's DNS record")
def get_dkim_key(request: HttpRequest, key: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(DkimKey, pk=key)


@router.delete("/{int:key}", response={204: None}, summary="Deletes a DKIM key that no sender uses")
def delete_dkim_key(request: HttpRequest, key: int) -> object:
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(DkimKey, pk=key))
    return Status(204, None)
