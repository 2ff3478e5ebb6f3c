"""What events do to addresses: subscription statuses and the global stop list. Nothing is ever upgraded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.db import connection

from angarium.domain.contact import email_address
from angarium.errors import InvalidInput
from angarium.events import Event, EventKind
from angarium.store.event_rows import moment, text

_GIVES_WAY: Final = {
    "hardbounced": ("subscribed", "unconfirmed", "suspended"),
    "unsubscribed": ("subscribed", "unconfirmed", "suspended", "hardbounced"),
    "complained": ("subscribed", "unconfirmed", "suspended", "hardbounced", "unsubscribed"),
}
"""Status → those it replaces."""
_STATUS_OF: Final = {
    EventKind.HARD_BOUNCE: "hardbounced",
    EventKind.UNSUBSCRIBE: "unsubscribed",
    EventKind.COMPLAIN: "complained",
}


def contact(channel: str, address: str) -> str:
    """The address as lists and subscriptions compare it."""
    if channel != "email":
        return address
    try:
        return email_address(address).contact
    except InvalidInput:
        return address.lower()


def follow(events: Iterable[Event]) -> None:
    """Applies events that were just stored."""
    for event in events:
        if status := _STATUS_OF.get(event.kind):
            _apply(event, status)


def _apply(event: Event, status: str) -> None:
    """Of a dead address every subscription ends, of an unsubscribed or annoyed person the one."""
    at = moment(event.time)
    _set("id = %s AND account_id = %s", [event.subscription, event.account], status, at)
    if event.kind is EventKind.HARD_BOUNCE:
        dead = contact(event.channel, text(event.address, 320))
        _set("channel = %s AND contact = %s", [event.channel, dead], status, at)
        _stop(event, dead, at)


def _set(condition: str, parameters: list[Any], status: str, at: Any) -> None:
    weaker = _GIVES_WAY[status]
    marks = ", ".join(["%s"] * len(weaker))
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE subscription SET status = %s, updated = %s WHERE {condition} AND status IN ({marks})",  # noqa: S608
            [status, at, *parameters, *weaker],
        )


def _stop(event: Event, dead: str, at: Any) -> None:
    reason = text(event.text or event.reason, 500)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stop_entry (channel, contact, reason, message, at) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (channel, contact) DO NOTHING",
            [event.channel, dead, reason, event.message, at],
        )
