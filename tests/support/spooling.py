"""Packets and spools for tests of the engine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from angarium.broker.topology import mta_queue
from angarium.domain.email import MailBody, MailContent
from angarium.domain.message import Packet, PacketHeader, Recipient, message_id, pack, unpack
from angarium.engine.spool import Spool

CONTENT = msgspec.Raw(msgspec.msgpack.encode(MailContent("news@example.org", "News")))


def wire_of(number: int, addresses: list[str], *, life: float = 86_400.0, **header: object) -> bytes:
    """A packet of launch 1 for these recipients, as it travels."""
    now = time.time()
    recipients = tuple(
        Recipient(
            message_id(1, "email", number * 1_000 + place), address, address.rpartition("@")[2], place, place
        )
        for place, address in enumerate(addresses)
    )
    fields = {"queue": mta_queue(1), "sender": 1, "mailing": 1, "isp": 0, **header}
    bodies = [
        msgspec.msgpack.encode(MailBody(f"To {a}", "", f"Hello {a} {os.urandom(500).hex()}", token=f"t{a}"))
        for a in addresses
    ]
    packet = PacketHeader(
        number=number, account=1, launch=1, channel="email", published=now, expires=now + life,
        recipients=recipients, content=CONTENT, **fields,
    )  # fmt: skip
    return pack(packet, bodies)


def packet_of(number: int, count: int, **header: object) -> Packet:
    return unpack(wire_of(number, [f"user{place}@example.com" for place in range(count)], **header))


def open_spool(folder: Path) -> Spool:
    return Spool(folder, node=1, tombstone_life=7 * 86_400.0)
