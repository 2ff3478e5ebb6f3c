"""A message in the spool, as the engine holds it in memory while it is ready or being sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from angarium.domain.message import PacketHeader


class LaneKey(msgspec.Struct, frozen=True, array_like=True):
    """A lane: messages that the schedule may treat alike."""

    account: int
    sender: int
    mailing: int
    isp: int
    source: str = ""
    """The source IP the next attempt must use; empty: any."""
    priority: bool = False
    node: int = 0
    """The node the messages are moving to; 0: they are sent from here."""

    @property
    def rests(self) -> bool:
        """Whether the schedule leaves the lane alone."""
        return self.node != 0


class SpooledPacket(msgspec.Struct, frozen=True):
    """What the messages of a spooled packet share."""

    id: int
    """The spool's own number."""
    header: PacketHeader
    """Without recipients."""
    first_size: int
    """Octets of the first frame, which is the dictionary of the others."""


class Message:
    """One message. Mutable: the engine's working record; the spool's row is the truth."""

    __slots__ = (
        "address", "attempts", "begun", "domain", "due", "gone", "grant", "id", "lane", "packet", "place",
        "profile", "seq", "size", "start", "stored", "subscription", "tried",
    )  # fmt: skip

    def __init__(
        self, seq: int, lane: int, due: float, packet: SpooledPacket, place: int, start: int, size: int,
        attempts: int, tried: tuple[str, ...], id_: bytes, address: str, domain: str, profile: int,
        subscription: int, *, stored: bool = True,
    ) -> None:  # fmt: skip
        self.seq = seq
        self.lane = lane
        self.due = due
        self.packet = packet
        self.place = place
        self.start = start
        self.size = size
        self.attempts = attempts
        """Attempts made."""
        self.tried = tried
        """Source addresses of the attempts, the latest last, each once."""
        self.id = id_
        self.address = address
        self.domain = domain
        self.profile = profile
        self.subscription = subscription
        self.grant = 0
        """Number of the handing-over in force; 0: none."""
        self.begun = False
        self.gone = False
        """Ended or taken away while it stood in a queue in memory."""
        self.stored = stored
        """False: a priority message that is tried before it is written to disk."""

    @property
    def header(self) -> PacketHeader:
        return self.packet.header

    def row(self) -> tuple[Any, ...]:
        """As the index keeps it."""
        return (
            self.seq, self.lane, self.due, self.packet.id, self.place, self.start, self.size, self.attempts,
            ",".join(self.tried), self.id, self.address, self.domain, self.profile, self.subscription,
        )  # fmt: skip


def from_row(row: tuple[Any, ...], packets: Mapping[int, SpooledPacket]) -> Message:
    """The message of an index row."""
    seq, lane, due, packet, place, start, size, attempts, tried, *addressee = row
    addresses = tuple(tried.split(",")) if tried else ()
    return Message(seq, lane, due, packets[packet], place, start, size, attempts, addresses, *addressee)
