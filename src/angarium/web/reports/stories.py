"""The stories of messages: what happened to each, from the first attempt to the end.

Message ids are computed from launch and subscription, so that a person's messages are found by the index of
ids and events need none by address.
"""

from __future__ import annotations

from base64 import b32decode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from angarium.domain.message import ID_LENGTH, message_id
from angarium.events import EventKind
from angarium.web.directory.models import Subscription
from angarium.web.mailings.models import Launch
from angarium.web.reports.models import Event

LAUNCHES: Final = 300
"""The latest launches of an account that are looked through."""
AT_ONCE: Final = 500
WORDS: Final = {
    EventKind.SEND: "Attempt",
    EventKind.DELIVERED: "Delivered",
    EventKind.UNDELIVERED: "Undelivered",
    EventKind.SOFT_BOUNCE: "Soft bounce",
    EventKind.HARD_BOUNCE: "Hard bounce",
    EventKind.SUPPRESS: "Suppressed",
    EventKind.COMPLAIN: "Complaint",
    EventKind.OPEN: "Opened",
    EventKind.CLICK: "Clicked",
    EventKind.UNSUBSCRIBE: "Unsubscribed",
    EventKind.REPLY: "Replied",
    EventKind.DOUBT: "Doubtful",
}


class Story(NamedTuple):
    """One message and what happened to it, the oldest first."""

    message: str
    """Hexadecimal."""
    address: str
    launch: int
    mailing: int
    state: str
    events: list[dict[str, Any]]


def of_subscriptions(subscriptions: Sequence[Subscription]) -> list[Story]:
    """The messages to these subscriptions, the newest first."""
    if not subscriptions:
        return []
    launches = Launch.objects.filter(account=subscriptions[0].account_id).order_by("-pk")
    numbers = list(launches.values_list("pk", flat=True)[:LAUNCHES])
    ids = [message_id(launch, row.channel, row.pk) for launch in numbers for row in subscriptions]
    return of_messages(ids)


def of_messages(ids: Sequence[bytes]) -> list[Story]:
    found: dict[bytes, list[Event]] = {}
    for start in range(0, len(ids), AT_ONCE):
        rows = Event.objects.filter(message__in=ids[start : start + AT_ONCE])
        for event in rows.order_by("time", "pk"):
            found.setdefault(bytes(event.message), []).append(event)
    stories = [_story(message, events) for message, events in found.items()]
    return sorted(stories, key=lambda story: -story.launch)


def _story(message: bytes, events: list[Event]) -> Story:
    first = events[0]
    return Story(
        message.hex(), first.address, first.launch, first.mailing, _state(events), [_shown(e) for e in events]
    )


def _state(events: Iterable[Event]) -> str:
    """How the message stands now: its end, or the last thing that happened."""
    state = ""
    for event in events:
        words = WORDS.get(EventKind(event.kind), event.kind)
        if event.kind == EventKind.DELIVERED:
            return words
        if event.kind == EventKind.UNDELIVERED:
            state = f"{words}: {event.reason}"
        elif not state.startswith(WORDS[EventKind.UNDELIVERED]):
            state = words
    return state


def _shown(event: Event) -> dict[str, Any]:
    code = " ".join(part for part in (str(event.code or ""), event.enhanced) if part)
    return {
        "time": datetime.fromtimestamp(event.time, UTC),
        "kind": event.kind,
        "words": WORDS.get(EventKind(event.kind), event.kind),
        "attempt": event.attempt,
        "reason": event.reason,
        "answer": f"{code} {event.text}".strip(),
        "mx": event.mx,
        "source": event.source,
        "tls": event.tls,
        "pattern": event.pattern,
        "next_attempt": datetime.fromtimestamp(event.next_attempt, UTC) if event.next_attempt else None,
    }


def read_id(text: str) -> bytes | None:
    """A message id as a person gives it: hexadecimal, or the token of Message-ID; None: it is neither."""
    bare = text.strip().strip("<>").partition("@")[0]
    try:
        found = bytes.fromhex(bare) if len(bare) == 2 * ID_LENGTH else b32decode(bare.upper())[:ID_LENGTH]
    except ValueError:
        return None
    return found if len(found) == ID_LENGTH else None
