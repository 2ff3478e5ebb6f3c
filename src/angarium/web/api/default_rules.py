"""Default rules, in order: used where a sender has no retry rule of its own. The first match decides."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Status
from pydantic import Field

from angarium.domain.outcome import BounceType
from angarium.web.api.bodies import Answer, Body, Link, Partial, RowId, Whole, given, save
from angarium.web.api.caller import caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import usage
from angarium.web.sending.models import DefaultRule

router = rows_router("Default rules")


class DefaultRuleIn(Body):
    position: Whole = Field(100, description="The smaller is asked first.")
    isp: RowId | None = Field(None, description="Null: all.")
    bounce_type: BounceType | None = Field(None, description="Null: all.")
    pattern: RowId | None = Field(None, description="Bounce pattern; null: any.")
    retry_rule: RowId | None = Field(None, description="Null: undelivered at once.")


class DefaultRuleChanges(DefaultRuleIn, Partial):
    """Only what changes."""


class DefaultRuleOut(DefaultRuleIn, Answer):
    id: int
    isp: Link | None
    pattern: Link | None
    retry_rule: Link | None

    @staticmethod
    def resolve_bounce_type(row: Any) -> str | None:
        return row.bounce_type or None


@router.get("", response=Page[DefaultRuleOut], summary="Lists default rules")
def list_default_rules(request: HttpRequest, paging: Query[Paging]) -> object:
    """By id; the order in which they are asked is that of `position`, then id."""
    caller(request).must_see_platform()
    return page(DefaultRule.objects.select_related("isp", "pattern", "retry_rule"), paging)


@router.post("", response={201: DefaultRuleOut}, summary="Creates a default rule")
def create_default_rule(request: HttpRequest, body: DefaultRuleIn) -> object:
    caller(request).must_edit_platform()
    return Status(201, _write(DefaultRule(), body.dict()))


@router.get("/{int:rule}", response=DefaultRuleOut, summary="Shows a default rule")
def get_default_rule(request: HttpRequest, rule: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(DefaultRule, pk=rule)


@router.patch("/{int:rule}", response=DefaultRuleOut, summary="Changes a default rule")
def update_default_rule(request: HttpRequest, rule: int, body: DefaultRuleChanges) -> object:
    caller(request).must_edit_platform()
    return _write(get_object_or_404(DefaultRule, pk=rule), given(body))


@router.delete("/{int:rule}", response={204: None}, summary="Deletes a default rule")
def delete_default_rule(request: HttpRequest, rule: int) -> object:
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(DefaultRule, pk=rule))
    return Status(204, None)


def _write(row: DefaultRule, values: dict[str, Any]) -> DefaultRule:
    if "bounce_type" in values:
        values["bounce_type"] = values["bounce_type"] or ""
    save(row, values)
    return row
