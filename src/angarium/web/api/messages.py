"""Messages: the story of one, and what happened in a launch."""

from __future__ import annotations

from base64 import b32decode
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from angarium.domain.message import ID_LENGTH, launch_of
from angarium.domain.token import LENGTH as TOKEN_LENGTH
from angarium.events import EventKind
from angarium.web.api.caller import Caller, caller
from angarium.web.api.paging import Page, Paging, page
from angarium.web.mailings.models import Launch
from angarium.web.reports.models import Event

router = Router(tags=["Messages"])
events = Router(tags=["Messages"])


class EventOut(Schema):
    """One thing that happened to a message."""

    id: int
    message: str = Field(description="The message's id, hexadecimal.")
    kind: EventKind
    time: datetime
    address: str
    profile: int
    subscription: int
    attempt: int = Field(description="Counts from 1; 0: not an attempt.")
    reason: str
    code: int
    enhanced: str
    text: str = Field(description="The provider's answer.")
    mx: str
    tls: str
    pattern: str = Field(description="The bounce pattern that decided.")
    sender: int
    isp: int
    node: int
    source: str = Field(description="The IP address it left from.")
    next_attempt: datetime | None


class Story(Schema):
    message: str
    account: int
    mailing: int
    launch: int
    channel: str
    address: str
    events: list[EventOut]


@router.get("/{message}", response=Story, summary="Tells one message's story")
def get_message(request: HttpRequest, message: str) -> object:
    """By its id, 32 hexadecimal digits; or by what stands left of the @ in Message-ID or envelope sender."""
    number = _message_id(message)
    rows = list(_seen(caller(request)).filter(message=number).order_by("time", "id"))
    if not rows:
        raise Http404
    first = rows[0]
    names = ("account", "mailing", "launch", "channel", "address")
    return {
        "message": number.hex(),
        **{name: getattr(first, name) for name in names},
        "events": [_shown(row) for row in rows],
    }


@events.get("/{int:number}/events", response=Page[EventOut], summary="Lists what happened in a launch")
def list_events(
    request: HttpRequest, number: int, paging: Query[Paging], kind: EventKind | None = None, address: str = ""
) -> object:
    """In the order in which it was recorded. `address`: is exactly."""
    row = caller(request).find(Launch.objects.all(), pk=number)
    rows = Event.objects.filter(launch=row.pk)
    wanted = {"kind": kind or "", "address": address}
    rows = rows.filter(**{name: value for name, value in wanted.items() if value})
    found = page(rows, paging)
    return {**found, "items": [_shown(event) for event in found["items"]]}


def _seen(me: Caller) -> QuerySet[Event]:
    return me.own(Event.objects.all())


def _message_id(text: str) -> bytes:
    """Raises `Http404` for what cannot be a message's id."""
    try:
        is_token = len(text) == TOKEN_LENGTH
        number = b32decode(text.upper())[:ID_LENGTH] if is_token else bytes.fromhex(text)
    except ValueError:
        raise Http404 from None
    if len(number) != ID_LENGTH or launch_of(number) >= 2**63:
        raise Http404
    return number


def _shown(row: Event) -> dict[str, Any]:
    plain = [name for name in EventOut.model_fields if name not in ("message", "time", "next_attempt")]
    return {
        **{name: getattr(row, name) for name in plain},
        "message": bytes(row.message).hex(),
        "time": datetime.fromtimestamp(row.time, UTC),
        "next_attempt": datetime.fromtimestamp(row.next_attempt, UTC) if row.next_attempt else None,
    }
