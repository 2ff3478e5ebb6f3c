"""The wire between the embedded broker and its clients.

A frame: header length and body length (4 bytes each, big endian), header (msgpack), body. The body
stands apart from the header so that a packet is neither copied into nor out of msgpack.

A client numbers what it wants answered (`request`); the broker answers in any order.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from angarium.domain.message import PACKET_BYTES

PREFIX: Final = struct.Struct(">II")
HEADER_BYTES: Final = 32 * 1024
"""More is not a header of ours."""
REQUESTS_PER_ANSWER: Final = 1000
BODY_BYTES: Final = PACKET_BYTES


class FrameError(ValueError):
    """The other side does not speak this protocol."""


class Header(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Base of all headers; on the wire the class name comes first."""


class Hello(Header, frozen=True):
    """First frame of a client: who it is, for the broker's log."""

    name: str


class Publish(Header, frozen=True):
    """The body is the packet. Answered by `Done` once it is on disk."""

    request: int
    queue: str


class Consume(Header, frozen=True):
    """`consumer` is the client's own number for the subscription."""

    request: int
    consumer: int
    queue: str
    prefetch: int


class Cancel(Header, frozen=True):
    """After its `Done` nothing more is delivered to the consumer."""

    request: int
    consumer: int


class Ack(Header, frozen=True):
    """Not answered: one lost in a crash means that the delivery comes again."""

    delivery: int


class Requeue(Header, frozen=True):
    delivery: int


class DeadLetter(Header, frozen=True):
    delivery: int


class Count(Header, frozen=True):
    """Answered by `Counted`."""

    request: int
    queue: str


class Ping(Header, frozen=True):
    """Answered by `Done`, or by `Failed` when the broker cannot take packets now."""

    request: int


class Announce(Header, frozen=True):
    """The body is the broadcast. Not answered."""

    topic: str


class Listen(Header, frozen=True):
    topic: str


class Done(Header, frozen=True):
    requests: list[int]


class Failed(Header, frozen=True):
    requests: list[int]
    reason: str


class Counted(Header, frozen=True):
    request: int
    ready: int
    unacknowledged: int


class Deliver(Header, frozen=True):
    """The body is the packet."""

    consumer: int
    delivery: int
    redelivered: bool


class Broadcast(Header, frozen=True):
    """The body is what was announced."""

    topic: str


FromClient = (
    Hello | Publish | Consume | Cancel | Ack | Requeue | DeadLetter | Count | Ping | Announce | Listen
)
FromBroker = Done | Failed | Counted | Deliver | Broadcast

from_client: Final[msgspec.msgpack.Decoder[FromClient]] = msgspec.msgpack.Decoder(FromClient)
from_broker: Final[msgspec.msgpack.Decoder[FromBroker]] = msgspec.msgpack.Decoder(FromBroker)
_encoder = msgspec.msgpack.Encoder()


def head(header: Header, body_length: int = 0) -> bytes:
    """Everything of a frame that comes before its body."""
    encoded = _encoder.encode(header)
    return PREFIX.pack(len(encoded), body_length) + encoded
