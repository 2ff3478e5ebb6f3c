"""The vocabulary of what happens to messages, and the batches events travel in.

Events of a group commit are one batch; its id is unique, and so are events by (message, slot).
A broker message carries one batch or several. The recorder stores a batch once, however often it arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from angarium.errors import CorruptPacket


class EventKind(StrEnum):
    SEND = "send"
    DELIVERED = "deliv"
    UNDELIVERED = "undeliv"
    SOFT_BOUNCE = "sbounce"
    HARD_BOUNCE = "hbounce"
    SUPPRESS = "suppress"
    COMPLAIN = "complain"
    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsub"
    REPLY = "reply"
    DOUBT = "doubt"


FINAL: Final = frozenset({EventKind.DELIVERED, EventKind.UNDELIVERED})
RANK: Final = {EventKind.UNDELIVERED: 1, EventKind.DELIVERED: 2}
"""Of two ends reported for one message the higher stays, whichever came first."""


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One thing that happened to one message."""

    kind: EventKind
    time: float
    """Wall clock, seconds."""
    account: int
    mailing: int
    launch: int
    message: bytes
    """16 bytes, `domain.message.message_id`."""
    channel: str
    profile: int
    subscription: int
    sender: int
    address: str
    """The recipient: e-mail address, phone, token."""
    isp: int = 0
    node: int = 0
    source: str = ""
    """Source IP address."""
    attempt: int = 0
    """Counts from 1."""
    reason: str = ""
    """Of `undeliv`: `domain.outcome.Reason`; of bounces: the category."""
    code: int = 0
    enhanced: str = ""
    text: str = ""
    """The provider's answer, at most 500 characters."""
    mx: str = ""
    tls: str = ""
    pattern: str = ""
    """Name of the bounce pattern that decided."""
    next_attempt: float = 0.0
    """Of `sbounce`: when the next attempt is due; 0: none."""
    key: str = ""
    """Provider's own key of the event, where it has one."""


class EventBatch(msgspec.Struct, frozen=True, array_like=True):
    id: str
    """Unique over the installation, for example `node:7:1a2b:42`."""
    events: tuple[Event, ...]


def slot(event: Event) -> str:
    """With the message id, what makes an event unique.

    One slot holds a message's end, so that a message can have but one.
    """
    if event.kind in FINAL:
        return "end"
    if event.key:
        return f"{event.kind}:{event.key}"
    if event.kind in (EventKind.SOFT_BOUNCE, EventKind.DOUBT):
        return f"{event.kind}:{event.attempt}"
    return str(event.kind)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[EventBatch, ...])
_apart = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode(*batches: EventBatch) -> bytes:
    """The body of a broker message."""
    return _encoder.encode(batches)


def join(bodies: Sequence[bytes]) -> bytes:
    """One body with the batches of all of them."""
    if len(bodies) == 1:
        return bodies[0]
    return _encoder.encode([batch for body in bodies for batch in _apart.decode(body)])


def decode(body: bytes) -> tuple[EventBatch, ...]:
    """Raises `CorruptPacket` when the bytes are not a body of event batches."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptPacket(f"not event batches: {error}") from error
