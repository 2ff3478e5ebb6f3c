"""Strategies: sending speed of one sender from one IP to one ISP."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from angarium.domain import sending, strategy
from angarium.domain.sending import HeloType
from angarium.web.api.bodies import Answer, Body, Flag, Partial, Whole, given, save
from angarium.web.api.caller import caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.api.transactions import rows_router
from angarium.web.sending import usage
from angarium.web.sending.models import Strategy

router = rows_router("Strategies")


class StrategyIn(Body):
    name: str
    connections: Whole = Field(1, description="Concurrent connections.")
    messages_per_connection: Whole = 60
    attempts: Whole = Field(1, description="Rounds of concurrent connections an interval.")
    interval: Whole = Field(60, description="Seconds.")
    helo: HeloType = Field(HeloType.PTR, description="The name to greet with.")
    try_tls: Flag = True
    drop: Flag = Field(False, description="Take and discard: nothing is sent.")


class StrategyChanges(StrategyIn, Partial):
    """Only what changes."""


class Speed(Schema):
    """Most messages one IP may begin for one ISP."""

    per_minute: float
    per_hour: float
    per_day: float


class StrategyOut(StrategyIn, Answer):
    id: int
    default: bool
    speed: Speed

    @staticmethod
    def resolve_speed(row: Any) -> dict[str, float]:
        numbers = {
            name: getattr(row, name) for name in ("connections", "messages_per_connection", "attempts")
        }
        return strategy.speed(sending.Strategy(id=0, name="", interval=row.interval, **numbers))._asdict()


@router.get("", response=Page[StrategyOut], summary="Lists strategies")
def list_strategies(request: HttpRequest, paging: Query[Paging], name: str = "") -> object:
    caller(request).must_see_platform()
    return page(Strategy.objects.filter(name__icontains=name), paging)


@router.post("", response={201: StrategyOut}, summary="Creates a strategy")
def create_strategy(request: HttpRequest, body: StrategyIn) -> object:
    caller(request).must_edit_platform()
    save(row := Strategy(), body.dict())
    return Status(201, row)


@router.get("/{int:strategy}", response=StrategyOut, summary="Shows a strategy and its speed")
def get_strategy(request: HttpRequest, strategy: int) -> object:
    caller(request).must_see_platform()
    return get_object_or_404(Strategy, pk=strategy)


@router.patch("/{int:strategy}", response=StrategyOut, summary="Changes a strategy")
def update_strategy(request: HttpRequest, strategy: int, body: StrategyChanges) -> object:
    caller(request).must_edit_platform()
    save(row := get_object_or_404(Strategy, pk=strategy), given(body))
    return row


@router.delete("/{int:strategy}", response={204: None}, summary="Deletes a strategy that nothing uses")
def delete_strategy(request: HttpRequest, strategy: int) -> object:
    """409 says where it is used."""
    caller(request).must_edit_platform()
    usage.delete(get_object_or_404(Strategy, pk=strategy))
    return Status(204, None)
