"""Retry rules: when and from where a message is tried again after a temporary failure."""

from __future__ import annotations

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.domain import retry, sending
from angarium.domain.sending import RetryMode, RetryType
from angarium.web.api.bodies import Answer, Body, Number, Partial, Whole, given, save
from angarium.web.api.caller import caller
from angarium.web.api.errors import Invalid
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import usage
from angarium.web.sending.models import RetryRule

router = rows_router("Retry rules")


class RetryRuleIn(Body):
    name: str = Field(description="The more telling, the easier to choose.")
    mode: RetryMode = Field(
        RetryMode.SAME_IP,
        description="Where it leaves from: the same IP of the same node, any other IP of the same node,"
        " any other IP of any node.",
    )
    retries: Whole = Field(5, description="Attempts after the first; 0: none.")
    interval: Number = Field(15, description="Minutes, from the end of the failed attempt.")
    type: RetryType = Field(RetryType.FIXED, description="How the delay develops from retry to retry.")
    exponent: Number = Field(2, description="Geometric: the interval × exponent^(n−1) before retry n.")
    modifier: Number = Field(
        1, description="Random: at least the interval, at most the interval × (1 + modifier)."
    )


class RetryRuleChanges(RetryRuleIn, Partial):
    """Only what changes."""


class RetryRuleOut(RetryRuleIn, Answer):
    id: int
    default: bool = Field(description="Used where nothing else is named; it can be edited, not deleted.")


class AttemptTime(Schema):
    retry: int
    earliest: float = Field(description="Seconds after the first attempt, attempts taking no time.")
    latest: float


class Preview(Schema):
    attempts: list[AttemptTime]


@router.get("", response=Page[RetryRuleOut], summary="Lists retry rules")
def list_retry_rules(request: HttpRequest, paging: Query[Paging], name: str = "") -> object:
    caller(request).must_see_platform()
    return page(RetryRule.objects.filter(name__icontains=name), paging)


@router.post("", response={201: RetryRuleOut}, summary="Creates a retry rule")
def create_retry_rule(request: HttpRequest, body: RetryRuleIn) -> object:
    caller(request).must_edit_platform()
    save(row := RetryRule(), body.dict())
    return Status(201, row)


@router.post("/preview", response=Preview, summary="Shows when a rule would try again")
def preview_retry_rule(request: HttpRequest, body: RetryRuleIn, life: float | None = None) -> object:
    """`life`: seconds a message lives; retries beyond it are left out. Nothing is saved."""
    caller(request).must_see_platform()
    if found := retry.problems(body.dict()):
        raise Invalid(found)
    times = retry.attempt_times(sending.RetryRule(id=0, **body.dict()), *([life] if life else []))
    return {"attempts": [{"retry": n, "earliest": a, "latest": b} for n, (a, b) in enumerate(times, 1)]}


@router.get("/{int:rule}", response=RetryRuleOut, summary="Shows a retry rule")
def get_retry_rule(request: HttpRequest, rule: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(RetryRule, pk=rule)


@router.patch("/{int:rule}", response=RetryRuleOut, summary="Changes a retry rule")
def update_retry_rule(request: HttpRequest, rule: int, body: RetryRuleChanges) -> object:
    caller(request).must_edit_platform()
    save(row := get_object_or_404(RetryRule, pk=rule), given(body))
    return row


@router.delete("/{int:rule}", response={204: None}, summary="Deletes a retry rule that nothing uses")
def delete_retry_rule(request: HttpRequest, rule: int) -> object:
    """409 says where it is used."""
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(RetryRule, pk=rule))
    return Status(204, None)
